"""The loaders as a site wants them: its own, packed once, with its shim."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootserver.config import Config
from bootserver.configfile import load_config
from bootserver.errors import LoaderMissingError, StubError
from bootserver.model import StubFormat
from bootserver.stub import site as site_module
from bootserver.stub.pack import pack
from bootserver.stub.registry import IssuedStub
from bootserver.stub.site import plan_for_site, served_loader
from bootserver.stub.spec import stub_spec


@pytest.fixture
def packed_programs(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The programs that were packed, in order."""
    programs: list[bytes] = []

    def counted(program: bytes) -> bytes:
        programs.append(program)
        return pack(program)

    monkeypatch.setattr(site_module, "pack", counted)
    return programs


def stub_for(config: Config) -> IssuedStub:
    return IssuedStub("ab" * 16, stub_spec(config, "rescue"))


def test_a_loader_is_packed_once_and_again_when_it_changes(
    config: Config, packed_programs: list[bytes]
):
    first = plan_for_site(config, stub_for(config))
    again = plan_for_site(config, stub_for(config))
    assert len(packed_programs) == 2  # the small iPXE and the full one
    (config.stub.build / "snponly.efi").write_bytes(b"MZ another")
    changed = plan_for_site(config, stub_for(config))

    assert first == again
    assert packed_programs[2:] == [b"MZ another"]
    assert changed.digest != first.digest


def test_what_is_kept_packed_is_what_packing_gives(config: Config):
    plan = plan_for_site(config, stub_for(config))

    full = pack((config.stub.build / "ipxe-amd64.efi").read_bytes())
    assert full in plan.file("/EFI.IMG").data


def test_a_cache_that_cannot_be_written_costs_time_and_no_stub(
    config: Config, packed_programs: list[bytes]
):
    config.state.path.mkdir()
    (config.state.path / "packed").write_text("in the way")

    first = plan_for_site(config, stub_for(config))

    assert plan_for_site(config, stub_for(config)) == first
    assert len(packed_programs) == 4


def test_a_shim_goes_first_and_loads_the_plain_ipxe(site: Path):
    (site / "shim.bin").write_bytes(b"MZ the shim")
    with (site / "config.toml").open("a") as file:
        file.write('[stub]\nshim = "shim.bin"\nshim_loads = "grubx64.efi"\n')
    config = load_config()

    esp = plan_for_site(config, stub_for(config)).file("/EFI.IMG").data

    assert b"MZ the shim" in esp
    assert "grubx".encode("utf-16-le") in esp  # the beginning of its long name
    assert b"IPXE    BIN" not in esp


def test_a_missing_shim_is_one_sentence(site: Path):
    with (site / "config.toml").open("a") as file:
        file.write('[stub]\nshim = "none.bin"\n')
    config = load_config()

    with pytest.raises(LoaderMissingError, match=r"the shim .* cannot be read"):
        plan_for_site(config, stub_for(config))


def test_a_served_loader_is_known_by_its_digest(config: Config):
    memdisk = served_loader(config, "memdisk")

    assert Path(memdisk.path) == config.stub.build / "memdisk"
    assert len(memdisk.sha256) == 64


def test_a_loader_that_only_the_site_has_goes_out_unsigned(
    site: Path, monkeypatch: pytest.MonkeyPatch
):
    def forbidden(*_: object) -> Path:
        raise AssertionError("signed")

    (site / "wimboot").write_bytes(b"MZ signed by Microsoft")
    with (site / "config.toml").open("a") as file:
        file.write('[stub.loaders]\nwimboot = "wimboot"\n')
    monkeypatch.setattr(site_module, "signed_file", forbidden)

    assert served_loader(load_config(), "wimboot").path == str(site / "wimboot")


def test_one_program_needs_x64_machines(config: Config):
    bios = config.model_copy(
        update={"stub": config.stub.model_copy(update={"architectures": ("bios",)})}
    )

    with pytest.raises(StubError, match="for x64 machines"):
        plan_for_site(bios, stub_for(bios), StubFormat.EFI)
