"""Where AMT's passwords come from, and that they show up nowhere."""

from pathlib import Path

import pytest

from bootserver.amt.access import NoPasswordError, access_to, find_password, host_of, read_password
from bootserver.amt.errors import AmtError
from bootserver.amt.types import AmtLogin
from bootserver.config import AmtConfig, Config, MachineAmtConfig, MachineConfig

HOST = "pc7.example.org"


def secret(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


def test_the_more_special_place_goes_first(tmp_path: Path):
    machine = MachineAmtConfig(host=HOST, password_file=secret(tmp_path / "own", "of the machine"))
    site = AmtConfig(password_file=secret(tmp_path / "all", "of the site"))
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    secret(credentials / f"amt-password-{HOST}", "credential of the machine")
    secret(credentials / "amt-password", "credential of all")
    environment = {
        "CREDENTIALS_DIRECTORY": str(credentials),
        "BOOTSERVER_AMT_PASSWORD": "of the environment",
    }

    found = [find_password(HOST, site, machine, environment)]
    found.append(find_password(HOST, site, None, environment))
    (credentials / f"amt-password-{HOST}").unlink()
    found.append(find_password(HOST, site, None, environment))
    del environment["BOOTSERVER_AMT_PASSWORD"]
    found.append(find_password(HOST, site, None, environment))
    (credentials / "amt-password").unlink()
    found.append(find_password(HOST, site, None, environment))

    assert found == [
        "of the machine",
        "credential of the machine",
        "of the environment",
        "credential of all",
        "of the site",
    ]


def test_no_password_anywhere_says_where_one_could_be():
    with pytest.raises(NoPasswordError) as told:
        find_password(HOST, AmtConfig(), None, {})

    assert HOST in told.value.message
    assert "BOOTSERVER_AMT_PASSWORD" in told.value.hint


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("P@ssw0rd", "P@ssw0rd"),
        ("P@ssw0rd\n", "P@ssw0rd"),
        ("P@ssw0rd\r\n", "P@ssw0rd"),
        (" with blanks \nand a second line\n", " with blanks "),
        ("pässwört\n", "pässwört"),
    ],
)
def test_the_password_is_the_first_line_of_its_file(tmp_path: Path, text: str, password: str):
    assert read_password(secret(tmp_path / "file", text)) == password


@pytest.mark.parametrize("content", [b"", b"\nsecond line", b"\xff\xfe", b"x" * 1025])
def test_a_file_without_a_password_is_one_sentence(tmp_path: Path, content: bytes):
    with pytest.raises(AmtError, match="has no password in its first line"):
        read_password(secret(tmp_path / "file", content))


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(AmtError, match="cannot be read: No such file"):
        read_password(tmp_path / "nowhere")


def test_what_is_given_goes_before_what_is_configured(tmp_path: Path):
    own = MachineAmtConfig(
        host=HOST, user="operator", tls=False, wsman_port=26992, redirection_port=26994
    )
    config = Config(machines=(MachineConfig(mac="525400123456", amt=own),))

    configured = access_to(HOST, config, login=AmtLogin(password="x"))
    given = access_to(HOST, config, login=AmtLogin("admin", "x", tls=True, legacy_tls=True))

    assert (configured.user, configured.tls, configured.wsman_port) == ("operator", None, 26992)
    assert configured.redirection_port == 26994
    assert given.user == "admin"
    assert given.tls is not None
    assert given.tls.legacy


def test_a_pin_counts_only_where_no_ca_decides(tmp_path: Path):
    pin = "ab" * 32
    with_ca = Config(amt=AmtConfig(ca=tmp_path / "ca.pem"))

    pinned = access_to(HOST, Config(), login=AmtLogin(password="x"), pin_sha256=pin)
    by_ca = access_to(HOST, with_ca, login=AmtLogin(password="x"), pin_sha256=pin)

    assert pinned.tls is not None
    assert pinned.tls.pin_sha256 == pin
    assert by_ca.tls is not None
    assert by_ca.tls.pin_sha256 is None
    assert by_ca.tls.ca_file == tmp_path / "ca.pem"


def test_a_password_is_in_no_repr():
    access = access_to(HOST, Config(), login=AmtLogin(password="P@ssw0rd"))

    assert "P@ssw0rd" not in repr(access)
    assert "P@ssw0rd" not in repr(AmtLogin(password="P@ssw0rd"))


def test_a_machine_of_config_toml_leads_to_its_amt_by_any_of_its_names():
    table = MachineConfig(mac="525400123456", asset="PC 7", amt=MachineAmtConfig(host=HOST))
    config = Config(machines=(MachineConfig(amt=MachineAmtConfig(host="other")), table))

    assert host_of(config, "52:54:00:12:34:56") == HOST
    assert host_of(config, "asset=PC 7") == HOST
    assert host_of(config, "52:54:00:12:34:57") is None
    assert host_of(config, "pc8") is None
