"""Signing with a site's own key: equal input gives equal bytes, every mistake is a sentence."""

from __future__ import annotations

import shutil
import struct
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from bootserver.config import SigningConfig, StubConfig
from bootserver.errors import BootServerError, CertificateError
from bootserver.keypair import read_certificates
from bootserver.stub.sign import (
    secure_boot_advice,
    sign_program,
    signed,
    signed_file,
    signing_problem,
)
from tests.fixtures.secure_boot import KeyPair, make_key_pair, run


def tiny_program(code: bytes = b"\xc3") -> bytes:
    """A UEFI program for x86-64 of one section: PE32+ (Microsoft's PE format), headers by hand."""
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 112 + 16 * 8, 0x22)
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII",
        *(0x20B, 0, 0, 512, 0, 0, 4096, 4096),  # PE32+; sizes; entry point; base of code
        *(0, 4096, 512),  # image base; alignment in memory and in the file
        *(0, 0, 0, 0, 2, 0, 0),  # versions
        *(8192, 512, 0, 10, 0),  # size of image and headers; subsystem: EFI application
        *(0, 0, 0, 0, 0, 16),  # stack, heap; so many data directories
    )
    section = struct.pack(
        "<8sIIIIIIHHI", b".text", len(code), 4096, 512, 512, 0, 0, 0, 0, 0x60000020
    )
    headers = dos + coff + optional + bytes(16 * 8) + section
    return headers.ljust(512, b"\0") + code.ljust(512, b"\0")


PROGRAM = tiny_program()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return make_key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def signing(pair: KeyPair) -> SigningConfig:
    return SigningConfig(key=pair.key, certificate=pair.certificate)


def refusal(signing: SigningConfig, cache: Path, program: bytes = PROGRAM) -> BootServerError:
    with pytest.raises(BootServerError) as caught:
        sign_program(program, signing, cache)
    return caught.value


@pytest.mark.slow
@pytest.mark.interop
def test_sbverify_accepts_what_was_signed_and_with_no_other_certificate(
    tmp_path: Path, signing: SigningConfig, pair: KeyPair
):
    made = tmp_path / "made.efi"
    made.write_bytes(sign_program(PROGRAM, signing, tmp_path / "cache"))

    run("sbverify", "--cert", pair.certificate, made)
    with pytest.raises(AssertionError, match="sbverify"):
        run("sbverify", "--cert", make_key_pair(tmp_path, "other").certificate, made)


def test_the_same_program_gives_the_same_bytes_though_signatures_carry_the_time(
    tmp_path: Path, signing: SigningConfig, pair: KeyPair, monkeypatch: pytest.MonkeyPatch
):
    first = sign_program(PROGRAM, signing, tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")  # the second time needs no sbsign

    assert sign_program(PROGRAM, signing, tmp_path) == first
    assert first != PROGRAM
    assert len(list(tmp_path.iterdir())) == 1


def test_each_program_and_each_certificate_has_its_own_signature(
    tmp_path: Path, signing: SigningConfig
):
    other_pair = make_key_pair(tmp_path, "other")
    other = SigningConfig(key=other_pair.key, certificate=other_pair.certificate)
    cache = tmp_path / "cache"

    made = {
        sign_program(PROGRAM, signing, cache),
        sign_program(tiny_program(b"\x90\xc3"), signing, cache),
        sign_program(PROGRAM, other, cache),
    }

    assert len(made) == 3


def test_of_two_who_sign_at_the_same_time_both_get_the_same_bytes(
    tmp_path: Path, signing: SigningConfig, monkeypatch: pytest.MonkeyPatch
):
    # An sbsign that waits for the other one, and whose signatures are never the same.
    slow = tmp_path / "bin" / "sbsign"
    slow.parent.mkdir()
    (tmp_path / "running").mkdir()
    slow.write_text(
        f'#!/bin/sh\n{shutil.which("sbsign")} "$@" || exit\n'
        f"while [ $# -gt 2 ]; do shift; done; echo $$ >>$1\ntouch {tmp_path}/running/$$\n"
        f"until [ $(ls {tmp_path}/running | wc -l) = 2 ]; do sleep 0.01; done\n"
    )
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(slow.parent), prepend=":")
    made: list[bytes] = []

    def sign() -> None:
        made.append(sign_program(PROGRAM, signing, tmp_path / "cache"))

    threads = [Thread(target=sign) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (kept,) = (tmp_path / "cache").iterdir()
    assert made == [kept.read_bytes()] * 2


def test_a_program_that_bears_the_signature_already_is_left_as_it_is(
    tmp_path: Path, signing: SigningConfig
):
    once = sign_program(PROGRAM, signing, tmp_path)

    assert sign_program(once, signing, tmp_path) == once


@pytest.mark.interop
def test_somebody_elses_signature_is_kept_beside_ours(
    tmp_path: Path, signing: SigningConfig, pair: KeyPair
):
    theirs = make_key_pair(tmp_path, "theirs")
    program = sign_program(
        PROGRAM, SigningConfig(key=theirs.key, certificate=theirs.certificate), tmp_path / "a"
    )
    made = tmp_path / "made.efi"
    made.write_bytes(sign_program(program, signing, tmp_path / "b"))

    run("sbverify", "--cert", pair.certificate, made)
    run("sbverify", "--cert", theirs.certificate, made)


def test_only_uefi_programs_among_the_loaders_are_signed(tmp_path: Path, signing: SigningConfig):
    loaders = {"isolinux.bin": b"BIOS", "ipxe-amd64.efi": PROGRAM}

    loader = signed(loaders.__getitem__, signing, tmp_path)

    assert loader("isolinux.bin") == b"BIOS"
    assert loader("ipxe-amd64.efi") == sign_program(PROGRAM, signing, tmp_path)


def test_a_file_to_be_served_is_signed_beside_the_original(tmp_path: Path, signing: SigningConfig):
    program, memdisk = tmp_path / "our-own-ramdisk", tmp_path / "memdisk"
    program.write_bytes(PROGRAM)
    memdisk.write_bytes(b"BIOS")
    cache = tmp_path / "cache"

    file = signed_file(program, signing, cache)

    assert file.read_bytes() == sign_program(PROGRAM, signing, cache)
    assert program.read_bytes() == PROGRAM
    assert signed_file(memdisk, signing, cache) == memdisk


def test_without_a_key_nothing_changes(tmp_path: Path):
    none, loaders = SigningConfig(), {"ipxe-amd64.efi": b"MZ"}
    cache = tmp_path / "cache"

    assert signed(loaders.__getitem__, none, cache)("ipxe-amd64.efi") == b"MZ"
    assert signed_file(tmp_path / "ramdisk.efi", none, cache) == tmp_path / "ramdisk.efi"
    assert sign_program(b"MZ", none, cache) == b"MZ"
    assert signing_problem(none) is None
    assert not cache.exists()


def test_sbsign_that_is_missing_comes_with_the_command_that_installs_it(
    tmp_path: Path, signing: SigningConfig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "/nowhere")

    error = refusal(signing, tmp_path)

    assert "sbsign is not installed" in error.message
    assert error.hint == "apt install sbsigntool"
    assert str(signing_problem(signing)) == error.message


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, signing: SigningConfig):
    other = make_key_pair(tmp_path, "other")
    mixed = signing.model_copy(update={"key": other.key})

    error = refusal(mixed, tmp_path)

    assert f"{other.key} does not belong to the certificate" in error.message
    assert str(signing_problem(mixed)) == error.message


def test_a_key_with_a_passphrase_is_refused_before_anybody_is_asked(
    tmp_path: Path, signing: SigningConfig
):
    locked = tmp_path / "locked.key"
    run("openssl", "pkey", "-aes128", "-passout", "pass:x", "-in", signing.key, "-out", locked)

    error = refusal(signing.model_copy(update={"key": locked}), tmp_path)

    assert "has a passphrase" in error.message


def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, signing: SigningConfig):
    junk = tmp_path / "junk.key"
    junk.write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")

    error = refusal(signing.model_copy(update={"key": junk}), tmp_path)

    assert f"{junk} is not a private key" in error.message
    assert "hunter2" not in error.message + error.hint


def test_a_missing_key_is_one_sentence(tmp_path: Path, signing: SigningConfig):
    error = refusal(signing.model_copy(update={"key": tmp_path / "none.key"}), tmp_path)

    assert "none.key cannot be read: No such file" in error.message


def test_a_certificate_that_has_expired_is_refused(tmp_path: Path, signing: SigningConfig):
    expired = tmp_path / "expired.crt"
    request = tmp_path / "request.csr"
    run("openssl", "req", "-new", "-key", signing.key, "-subj", "/CN=old", "-out", request)
    (tmp_path / "index.txt").write_text("")
    (tmp_path / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=x\n[x]\ndatabase={tmp_path}/index.txt\nnew_certs_dir={tmp_path}\n"
        "default_md=sha256\npolicy=p\nrand_serial=yes\n[p]\ncommonName=supplied\n"
    )
    run(
        *("openssl", "ca", "-batch", "-selfsign", "-config", tmp_path / "ca.cnf"),
        *("-startdate", "20100101000000Z", "-enddate", "20110203000000Z"),
        *("-keyfile", signing.key, "-in", request, "-out", expired),
    )

    error = refusal(signing.model_copy(update={"certificate": expired}), tmp_path)

    assert f"{expired} expired on 2011-02-03" in error.message


@pytest.mark.parametrize(("days", "year"), [(365, 1), (36500, 100)])  # both of X.509's calendars
def test_the_day_a_certificate_expires_is_read_from_it(tmp_path: Path, days: int, year: int):
    pair = make_key_pair(tmp_path, days=days)

    shown = run("openssl", "x509", "-noout", "-enddate", "-in", pair.certificate).decode()
    told = datetime.strptime(shown.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)

    [certificate] = read_certificates(pair.certificate, "stub.signing")
    assert certificate.not_valid_after_utc == told
    assert told.year >= datetime.now(UTC).year + year - 1


def test_a_certificate_in_der_is_told_from_one_in_pem(tmp_path: Path, signing: SigningConfig):
    der = tmp_path / "site.der"
    run("openssl", "x509", "-in", signing.certificate, "-outform", "der", "-out", der)

    error = refusal(signing.model_copy(update={"certificate": der}), tmp_path)

    assert f"{der} holds no certificate in PEM" in error.message


@pytest.mark.parametrize("keep", [0, 1, 30, 100, 200])
def test_a_certificate_that_is_cut_off_is_none(tmp_path: Path, signing: SigningConfig, keep: int):
    der = run("openssl", "x509", "-in", signing.certificate, "-outform", "der")[:keep]
    cut = tmp_path / "cut.crt"
    body = b64encode(der).decode()
    cut.write_text(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")

    with pytest.raises(CertificateError, match="holds no certificate"):
        read_certificates(cut, "stub.signing")


def test_a_loader_that_is_no_program_is_told_in_sbsigns_words(
    tmp_path: Path, signing: SigningConfig
):
    error = refusal(signing, tmp_path, b"no program at all")

    assert "cannot sign this loader: file is too small for DOS header" in error.message
    assert not list(tmp_path.glob("*.efi"))


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, signing: SigningConfig):
    (tmp_path / "file").write_text("in the way")

    error = refusal(signing, tmp_path / "file" / "cache")

    assert "cannot take signed loaders: Not a directory" in error.message


def test_the_advice_says_which_of_the_three_ways_is_taken(signing: SigningConfig):
    plain = StubConfig()
    own_keys = plain.model_copy(update={"signing": signing})
    behind_shim = plain.model_copy(update={"shim": Path("/srv/shimx64.efi")})

    assert "machines with Secure Boot on refuse these stubs" in secure_boot_advice(plain)
    assert f"signed with {signing.certificate}" in secure_boot_advice(own_keys)
    assert "start with shimx64.efi, which loads grubx64.efi" in secure_boot_advice(behind_shim)
    for stub in (plain, own_keys, behind_shim):
        assert "docs/secure-boot.md" in secure_boot_advice(stub)
