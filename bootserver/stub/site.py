"""The loaders as this site wants them: its own in place of ours, and signed with its key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bootserver.config import Config
from bootserver.errors import LoaderMissingError
from bootserver.model import Content, FileVersion
from bootserver.stub.loaders import find_loader, read_loader, sha256_of
from bootserver.stub.plan import SHIM
from bootserver.stub.sign import signed, signed_file


def site_loader(config: Config) -> Callable[[str], bytes]:
    """A loader's bytes by name, for plan_stub; raises LoaderMissingError or StubError."""

    def read(name: str) -> bytes:
        return _shim(config.stub.shim) if name == SHIM else read_loader(config.stub, name)

    return signed(read, config.stub.signing, _signed_cache(config))


def served_loader(config: Config, name: str) -> Content:
    """A loader's file as machines fetch it; raises LoaderMissingError or StubError. Blocks."""
    path = signed_file(find_loader(config.stub, name), config.stub.signing, _signed_cache(config))
    version = FileVersion.of(path.stat())
    return Content(str(path), version, sha256_of(path))


def _signed_cache(config: Config) -> Path:
    return config.state.path / "signed"


def _shim(path: Path | None) -> bytes:
    """The site's shim, which bears somebody else's signature and is never signed again."""
    try:
        return path.read_bytes() if path else b""
    except OSError as err:
        raise LoaderMissingError(
            f"the shim {path} cannot be read: {err.strerror}", hint="check [stub] shim"
        ) from err
