"""config.toml: every key explained, every mistake reported."""

import re
import tomllib
from pathlib import Path

import pytest

from bootserver.config import PROJECT, Config, MachineAmtConfig, MachineConfig
from bootserver.configfile import in_force, load_config
from bootserver.errors import ConfigError
from bootserver.fields import ARGUMENTS_LIMIT, parse_kernel_arguments, parse_mac, parse_uuid
from bootserver.images.sidecar import RULES, read_sidecar
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


def test_the_shipped_file_shows_every_key_of_a_machine_in_a_comment():
    text = (PROJECT / "config.toml").read_text().partition("# [[machines]]\n")[2]
    commented = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line)

    assert set(tomllib.loads(commented)) == set(MachineConfig.model_fields)
    machine = MachineConfig(**tomllib.loads(commented))
    assert machine.mac
    assert machine.amt
    assert set(tomllib.loads(commented)["amt"]) == set(MachineAmtConfig.model_fields)


def documented(heading: str) -> str:
    """The part of docs/configuration.md under that heading."""
    text = (PROJECT / "docs" / "configuration.md").read_text()
    rest = text.partition(f"\n{heading}\n")[2]
    assert rest, heading
    return re.split(r"^#{2,3} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def test_the_document_has_every_key_with_its_default():
    defaults = Config().model_dump(mode="json")
    del defaults["machines"]
    inner = [("server", "tls"), ("stub", "signing"), ("stub", "loaders")]
    tables = defaults | {f"{outer}.{name}": defaults[outer].pop(name) for outer, name in inner}

    for name, table in tables.items():
        rows = re.findall(r"^\| `(.*?)` \|", documented(f"### [{name}]"), re.MULTILINE)
        assert tomllib.loads("\n".join(rows)) == table, name


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        ("## Machines", set(MachineConfig.model_fields)),
        ("### A machine's AMT", set(MachineAmtConfig.model_fields)),
        ("## Side-cars", set(RULES)),
    ],
)
def test_the_document_has_every_key_of_machines_and_side_cars(heading: str, keys: set[str]):
    table = re.findall(r"^\| (`.*?`) \|", documented(heading), re.MULTILINE)

    assert set(re.findall(r"`(\w+)`", " ".join(table))) == keys


def test_the_side_car_of_the_document_is_one(tmp_path: Path):
    [text] = re.findall(r"^```toml\n(.*?)^```", documented("## Side-cars"), re.M | re.S)
    (tmp_path / "rescue").mkdir()
    for name in ("preseed.cfg", "grub.cfg"):
        (tmp_path / "rescue" / name).touch()
    (tmp_path / "a.toml").write_text(text)

    sidecar = read_sidecar(tmp_path / "a.iso")

    assert set(tomllib.loads(text)) == set(RULES)
    assert list(sidecar.settings.inject) == ["preseed.cfg"]


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


def test_a_machine_is_known_by_its_asset_tag_and_uuid_however_written(tmp_path: Path):
    config = load_config(
        write(
            tmp_path,
            '[[machines]]\nasset = " PC 7 "\nuuid = "{00112233-4455-6677-8899-AABBCCDDEEFF}"\n'
            'image = "rescue"\narguments = "quiet"\n',
        )
    )
    uuid = "00112233-4455-6677-8899-aabbccddeeff"

    assert config.machine(Machine(uuid=uuid, asset="pc 7")) == config.machines[0]
    assert config.machine(Machine(uuid=uuid, asset="PC 8")) is None


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ('[[machines]]\nuuid = "1234"', "machines.0.uuid"),
        ('[[machines]]\nserial = "two\\nlines"', "machines.0.serial"),
        (f'[[machines]]\nasset = "{"x" * 81}"', "machines.0.asset"),
        ('[[machines]]\nserial = "S"\nimage = "../rescue"', "machines.0.image"),
        ('[[machines]]\nserial = "S"\narguments = "a ${b}"', "machines.0.arguments"),
        ('[[machines]]\nserial = "S"\nmemdisk = "iso; reboot"', "machines.0.memdisk"),
        ("[boot]\nmenu_timeout_s = -1", "boot.menu_timeout_s"),
        ("[boot]\nmenu_timeout_s = 3601", "boot.menu_timeout_s"),
        ("[boot]\nmenu_timeout_s = 1.5", "boot.menu_timeout_s"),
        ('[boot]\nmenu_default = "a//b"', "boot.menu_default"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake(tmp_path: Path, table: str, key: str):
    with pytest.raises(ConfigError, match=f"1 mistake:\n  {key} = "):
        load_config(write(tmp_path, table))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "console=ttyS0,115200n8 quiet --- splash",
        "ds=nocloud-net;s=http://192.0.2.1/x/?a=b&c=d",
        "rd.break=pre-mount#1 root=LABEL=A|B $x {y}",
        'a || b && c ; #d "e  f" ${ g }',
    ],
)
def test_kernel_arguments_that_ipxe_passes_on_are_kept(text: str):
    assert parse_kernel_arguments(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a ${net0/mac}",
        "a\nshell",
        "a\tb",
        "caf\u00e9",
        "x" * (ARGUMENTS_LIMIT + 1),
    ],
)
def test_kernel_arguments_that_ipxe_cannot_pass_on_are_refused(text: str):
    with pytest.raises(ValueError, match="has"):
        parse_kernel_arguments(text)


def test_kernel_arguments_have_no_blanks_around_them():
    assert parse_kernel_arguments("  quiet   splash ") == "quiet   splash"
    assert len(parse_kernel_arguments("x" * ARGUMENTS_LIMIT)) == ARGUMENTS_LIMIT


def test_uuids_are_written_one_way():
    assert parse_uuid("{00112233445566778899AABBCCDDEEFF}") == (
        "00112233-4455-6677-8899-aabbccddeeff"
    )
    assert parse_uuid("") == ""


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


def test_the_paths_of_tls_start_at_the_file_and_none_stay_none(tmp_path: Path):
    config = load_config(
        write(tmp_path, '[server.tls]\nkey = "tls/s.key"\ncertificate = "/etc/s.crt"\n')
    )

    assert config.server.tls.pair == (tmp_path / "tls" / "s.key", Path("/etc/s.crt"))
    assert load_config(write(tmp_path, "[server]\n")).server.tls.pair is None


def test_a_certificate_without_its_key_is_a_mistake(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"server\.tls = .*the key is missing: give"):
        load_config(write(tmp_path, '[server.tls]\ncertificate = "s.crt"\n'))


@pytest.mark.parametrize("name", ["BOOTX64.EFI", "../grubx64.efi", "EFI/grub.efi", "grubx64", ""])
def test_what_shim_loads_is_another_program_beside_it(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match=r"stub\.shim_loads"):
        load_config(write(tmp_path, f'[stub]\nshim_loads = "{name}"\n'))


def test_a_table_with_nothing_but_an_amt_host_matches_no_machine_that_boots(tmp_path: Path):
    config = load_config(write(tmp_path, '[[machines]]\namt.host = "PC7.example.org"\n'))

    assert config.machines[0].amt.host == "pc7.example.org"
    assert config.machine(Machine(mac="52:54:00:12:34:56")) is None


def test_a_table_with_an_amt_host_and_an_image_needs_a_name_that_the_machine_tells(tmp_path: Path):
    text = '[[machines]]\namt.host = "192.0.2.20"\nimage = "rescue"\n'

    with pytest.raises(ConfigError, match="give a mac, uuid, serial or asset"):
        load_config(write(tmp_path, text))


def test_a_wrong_key_of_a_machines_amt_is_named_with_what_was_meant(tmp_path: Path):
    text = '[[machines]]\namt.host = "192.0.2.20"\namt.legacy_tsl = true\n'

    with pytest.raises(ConfigError, match=r"legacy_tsl: no such key \(did you mean legacy_tls\?\)"):
        load_config(write(tmp_path, text))


def test_a_password_in_the_file_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"amt.password: no such key"):
        load_config(write(tmp_path, '[amt]\npassword = "P@ssw0rd"\n'))


def test_the_files_of_amt_are_relative_to_config_toml(tmp_path: Path):
    text = """
    [amt]
    ca = "amt/ca.pem"
    [[machines]]
    amt.host = "192.0.2.20"
    amt.password_file = "amt/pc7"
    """

    config = load_config(write(tmp_path, text))

    assert config.amt.ca == tmp_path / "amt" / "ca.pem"
    assert config.machines[0].amt.password_file == tmp_path / "amt" / "pc7"
    assert in_force(config)["machines"][0]["amt"]["password_file"] == str(tmp_path / "amt" / "pc7")


def test_amts_password_in_the_environment_is_no_unknown_key(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("BOOTSERVER_AMT_PASSWORD", "P@ssw0rd")

    assert "P@ssw0rd" not in str(in_force(load_config(write(tmp_path, ""))))


def test_machines_table_that_many_machines_match_is_warned_of(tmp_path: Path):
    path = tmp_path / "config.toml"
    path.write_text(
        '[[machines]]\nserial = "To Be Filled By O.E.M."\nimage = "rescue"\n'
        '[[machines]]\nserial = "S1"\nimage = "rescue"\n'
    )

    [warning] = load_config(path).warnings

    assert warning.startswith("[[machines]]: many machines have the serial To Be Filled By O.E.M.")
