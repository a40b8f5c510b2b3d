"""Pushing a root certificate: once, also where another program has pushed it first."""

import pytest

from bootserver.amt.control.trust_anchor import push_root_certificate
from bootserver.amt.errors import AmtInDoubtError, AmtRefusedError
from tests.fakes.scripted_amt import LOST, ScriptedAmt, fault, returns, scripted

LIST = "Enumerate AMT_PublicKeyCertificate"
ADD = "AMT_PublicKeyManagementService.AddTrustedRootCertificate"
DER = b"\x30\x03\x02\x01\x07"
OTHERS = "<g:InstanceID>Intel(r) AMT Certificate: Handle: 0</g:InstanceID><g:X509Certificate/>"
OURS = "<g:X509Certificate>MAMC\nAQc=</g:X509Certificate>"


class Growing(ScriptedAmt):
    """Has the certificate as soon as a client has asked for it to be added."""

    def _pulled(self, name: str) -> str:
        if ADD in self.asked:
            self.answers[LIST] = [OTHERS, OURS]
        return super()._pulled(name)


async def test_a_certificate_that_amt_has_is_not_pushed() -> None:
    amt = ScriptedAmt({LIST: [OTHERS, OURS]})

    async with scripted(amt) as client:
        assert await push_root_certificate(client, DER) is False

    assert amt.changes == []


@pytest.mark.parametrize("has", [[], [OTHERS]])
async def test_a_certificate_that_amt_lacks_is_pushed(has: list[str]) -> None:
    amt = ScriptedAmt({LIST: has})

    async with scripted(amt) as client:
        assert await push_root_certificate(client, DER) is True

    assert amt.changes == [
        (
            ADD,
            "<r:AddTrustedRootCertificate_INPUT><r:CertificateBlob>MAMCAQc=</r:CertificateBlob>"
            "</r:AddTrustedRootCertificate_INPUT>",
        )
    ]


async def test_a_lost_push_is_seen_in_what_amt_has() -> None:
    amt = Growing({LIST: [OTHERS], ADD: LOST})

    async with scripted(amt) as client:
        assert await push_root_certificate(client, DER) is True

    assert amt.asked == [LIST, ADD, LIST]


async def test_amt_that_lists_nothing_tells_of_a_duplicate() -> None:
    amt = ScriptedAmt({LIST: fault("ActionNotSupported"), ADD: returns(0x80A)})

    async with scripted(amt) as client:
        assert await push_root_certificate(client, DER) is False


@pytest.mark.parametrize(
    ("answer", "error", "sentence"),
    [
        (LOST, AmtInDoubtError, "AddTrustedRootCertificate was sent"),
        (returns(0x80F), AmtRefusedError, "invalid certificate"),
        (returns(0x17), AmtRefusedError, "no space for more"),
    ],
)
async def test_what_amt_does_not_have_in_the_end_is_an_error(
    answer: str, error: type[Exception], sentence: str
) -> None:
    async with scripted(ScriptedAmt({LIST: [OTHERS], ADD: answer})) as client:
        with pytest.raises(error, match=sentence):
            await push_root_certificate(client, DER)


async def test_nonsense_among_the_certificates_is_passed_over() -> None:
    nonsense = "<g:X509Certificate>ä</g:X509Certificate>"

    async with scripted(ScriptedAmt({LIST: [nonsense, OURS]})) as client:
        assert await push_root_certificate(client, DER) is False
