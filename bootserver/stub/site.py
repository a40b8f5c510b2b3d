"""The loaders as this site wants them: its own in place of ours, and signed with its key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from bootserver.config import Config
from bootserver.errors import LoaderMissingError
from bootserver.files.atomic import write_atomically
from bootserver.model import Content, FileVersion, StubFormat
from bootserver.stub.efi_file import embed
from bootserver.stub.loaders import OPTIONAL, find_loader, read_loader, sha256_of
from bootserver.stub.pack import MAGIC, pack
from bootserver.stub.plan import SHIM, StubPlan, plan_program, plan_stub
from bootserver.stub.registry import IssuedStub
from bootserver.stub.sign import sign_program, signed, signed_file


def site_loader(config: Config) -> Callable[[str], bytes]:
    """A loader's bytes by name, for plan_stub.

    What it gives out raises LoaderMissingError, StubError or CertificateError.
    """

    def read(name: str) -> bytes:
        return _shim(config.stub.shim) if name == SHIM else read_loader(config.stub, name)

    return signed(read, config.stub.signing, _signed_cache(config))


def plan_for_site(
    config: Config, stub: IssuedStub, format: StubFormat = StubFormat.ISO
) -> StubPlan:
    """What an issued stub consists of here; raises as site_loader's do. Blocks."""

    def sign(program: bytes) -> bytes:
        return sign_program(program, config.stub.signing, _signed_cache(config))

    loader = site_loader(config)
    if format is not StubFormat.EFI:
        return plan_stub(
            stub.spec, stub.token, loader, format=format, pack=partial(_packed, config)
        )
    # Signed as one, with all that it carries.
    unsigned = read_loader(config.stub, "efi-loader.efi")
    return plan_program(
        stub.spec,
        stub.token,
        loader,
        lambda parts: sign(embed(unsigned, parts)),
        pack=partial(_packed, config),
    )


def served_loader(config: Config, name: str) -> Content:
    """A loader's file as machines fetch it; raises as site_loader's do. Blocks."""
    path = find_loader(config.stub, name)
    if name not in OPTIONAL:  # what a site supplies beside ours goes out as it is
        path = signed_file(path, config.stub.signing, _signed_cache(config))
    version = FileVersion.of(path.stat())
    return Content(str(path), version, sha256_of(path))


def _packed(config: Config, program: bytes) -> bytes:
    """The packed program, kept on disk: packing takes a third of the time that a stub takes.

    A cache that cannot be written costs that time, and no stub.
    """
    cache = config.state.path / "packed"
    path = cache / f"{hashlib.sha256(MAGIC + program).hexdigest()}.bin"
    with suppress(OSError):
        return path.read_bytes()
    packed = pack(program)
    with suppress(OSError):
        cache.mkdir(0o700, parents=True, exist_ok=True)
        write_atomically(path, packed)
    return packed


def _signed_cache(config: Config) -> Path:
    return config.state.path / "signed"


def _shim(path: Path | None) -> bytes:
    """The site's shim, which has another signer's signature and is never signed again."""
    try:
        return path.read_bytes() if path else b""
    except OSError as err:
        raise LoaderMissingError(
            f"the shim {path} cannot be read: {err.strerror}", hint="check [stub] shim"
        ) from err
