"""config.toml: every key explained, every mistake reported."""

import tomllib
from pathlib import Path

import pytest

from bootserver.config import PROJECT, Config, in_force, load_config, parse_mac
from bootserver.errors import ConfigError
from bootserver.model import Machine


def write(directory: Path, text: str) -> Path:
    path = directory / "config.toml"
    path.write_text(text)
    return path


def test_the_shipped_file_shows_every_key_with_its_default():
    shipped = tomllib.loads((PROJECT / "config.toml").read_text())
    defaults = Config().model_dump(mode="json")

    del defaults["machines"]  # shown as a comment: there is no default machine

    assert shipped == defaults


def test_every_key_of_the_shipped_file_is_explained():
    previous = ""
    explained = False
    for line in (PROJECT / "config.toml").read_text().splitlines():
        if line.startswith("#"):
            explained = True
        elif not line or line.startswith("["):
            explained = explained and bool(line)
        else:
            assert explained or previous.startswith(("admin", "timeout", "max_")), line
            explained = True
            previous = line


def test_all_mistakes_are_reported_at_once_by_key(tmp_path: Path):
    path = write(
        tmp_path,
        '[server]\nadress = "1"\nboot_port = 99999\nadmin_address = "0.0.0.0"\n'
        '[boo]\n[[machines]]\nmac = "52:54"\n[[machines]]\nmemdisk = "iso"\n',
    )

    with pytest.raises(ConfigError) as caught:
        load_config(path)

    message = caught.value.message
    assert "6 mistakes" in message
    assert "server.adress: no such key (did you mean address?)" in message
    assert "server.boot_port = 99999" in message
    assert "server.admin_address = '0.0.0.0'" in message
    assert "no login yet" in message
    assert "boo: no such key (did you mean boot?)" in message
    assert "machines.0.mac = '52:54'" in message
    assert "names the machine" in message


def test_broken_toml_is_one_sentence(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"not valid TOML: .*line 2"):
        load_config(write(tmp_path, "[server]\nboot_port 80\n"))


def test_a_missing_file_is_one_sentence(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.toml")


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BOOTSERVER_SERVER__BOOT_PORT", "9090")

    config = load_config(write(tmp_path, "[server]\nboot_port = 80\ngrace_s = 3\n"))

    assert (config.server.boot_port, config.server.grace_s) == (9090, 3)


def test_an_unknown_variable_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BOOTSERVER_SERVR__BOOT_PORT", "9090")
    monkeypatch.setenv("BOOTSERVER_SERVER__PORT", "9090")

    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, ""))

    assert "BOOTSERVER_SERVR__BOOT_PORT (environment): no such table" in caught.value.message
    assert "server.port: no such key" in caught.value.message


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BOOTSERVER_STATE__PATH", "state")

    config = load_config(
        write(tmp_path, '[images]\npath = "isos"\n[stub.loaders]\n"memdisk" = "m"')
    )

    assert config.images.path == tmp_path / "isos"
    assert config.state.path == tmp_path / "state"
    assert config.stub.loaders == {"memdisk": tmp_path / "m"}


def test_a_password_in_the_database_url_is_masked(tmp_path: Path):
    url = "postgresql+asyncpg://boot:hunter2@db/ledger"

    shown = in_force(load_config(write(tmp_path, f'[state]\ndatabase = "{url}"')))

    assert shown["state"]["database"] == "postgresql+asyncpg://boot:***@db/ledger"


@pytest.mark.parametrize("text", ["52:54:00:AB:cd:01", "52-54-00-ab-cd-01", "5254.00ab.cd01"])
def test_macs_are_written_one_way(text: str):
    assert parse_mac(text) == "52:54:00:ab:cd:01"


def test_a_machine_is_known_by_all_the_names_given(tmp_path: Path):
    config = load_config(
        write(
            tmp_path,
            '[[machines]]\nmac = "52:54:00:00:00:01"\nserial = "A"\nmemdisk = "iso"\n'
            '[[machines]]\nserial = "B"\nmemdisk = "iso safeint"\n',
        )
    )

    assert config.machine(Machine(mac="52:54:00:00:00:01", serial="A")) == config.machines[0]
    assert config.machine(Machine(mac="52:54:00:00:00:01", serial="b")) == config.machines[1]
    assert config.machine(Machine(mac="52:54:00:00:00:01")) is None


def test_signing_paths_start_at_the_file_and_none_stay_none(tmp_path: Path):
    config = load_config(
        write(
            tmp_path,
            '[stub]\nshim = "shimx64.efi"\n[stub.signing]\nkey = "s.key"\ncertificate = "s.crt"\n',
        )
    )

    assert config.stub.shim == tmp_path / "shimx64.efi"
    assert config.stub.signing.pair == (tmp_path / "s.key", tmp_path / "s.crt")
    plain = load_config(write(tmp_path, '[stub]\nshim = ""\n')).stub
    assert (plain.shim, plain.signing.pair) == (None, None)


def test_a_key_without_its_certificate_is_a_mistake(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"stub\.signing = .*the certificate is missing: give"):
        load_config(write(tmp_path, '[stub.signing]\nkey = "s.key"\n'))


def test_a_mistyped_key_of_an_inner_table_is_told_by_that_tables_names(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"stub\.signing\.certificat: .* mean certificate\?"):
        load_config(write(tmp_path, '[stub.signing]\ncertificat = "s.crt"\n'))


@pytest.mark.parametrize("name", ["BOOTX64.EFI", "../grubx64.efi", "EFI/grub.efi", "grubx64", ""])
def test_what_shim_loads_is_another_program_beside_it(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match=r"stub\.shim_loads"):
        load_config(write(tmp_path, f'[stub]\nshim_loads = "{name}"\n'))
