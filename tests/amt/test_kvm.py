"""Switching the remote screen on, with a password that AMT takes."""

import pytest

from bootserver.amt.control.kvm import KvmAddress, enable_kvm
from bootserver.amt.errors import AmtFaultError, AmtRefusedError
from tests.fakes.scripted_amt import LOST, ScriptedAmt, fault, scripted

PORT = "Get CIM_KVMRedirectionSAP"
ENABLE = "CIM_KVMRedirectionSAP.RequestStateChange"
SETTINGS = "Get IPS_KVMRedirectionSettingData"
PUT = "Put IPS_KVMRedirectionSettingData"
PASSWORD = "Abcd12<!"


def port(state: int) -> str:
    return f"<g:EnabledState>{state}</g:EnabledState>"


def settings(vnc: str, mebx: str = "true") -> str:
    return (
        f"<g:EnabledByMEBx>{mebx}</g:EnabledByMEBx><g:Is5900PortEnabled>{vnc}</g:Is5900PortEnabled>"
        "<g:OptInPolicy>true</g:OptInPolicy><g:RFBPassword></g:RFBPassword>"
        "<g:SessionTimeout>3</g:SessionTimeout>"
    )


async def test_kvm_is_switched_on_with_its_password_and_port() -> None:
    amt = ScriptedAmt({PORT: port(3), SETTINGS: [settings("false"), settings("true")]})

    async with scripted(amt) as client:
        address = await enable_kvm(client, PASSWORD)

    assert address == KvmAddress("127.0.0.1", 5900, vnc=True)
    assert amt.changes == [
        (
            ENABLE,
            "<r:RequestStateChange_INPUT><r:RequestedState>2</r:RequestedState>"
            "</r:RequestStateChange_INPUT>",
        ),
        (
            PUT,
            "<r:IPS_KVMRedirectionSettingData><r:EnabledByMEBx>true</r:EnabledByMEBx>"
            "<r:Is5900PortEnabled>true</r:Is5900PortEnabled><r:OptInPolicy>true</r:OptInPolicy>"
            "<r:RFBPassword>Abcd12&lt;!</r:RFBPassword><r:SessionTimeout>3</r:SessionTimeout>"
            "</r:IPS_KVMRedirectionSettingData>",
        ),
    ]


@pytest.mark.parametrize("state", [2, 6])
async def test_kvm_that_is_on_gets_the_password_only(state: int) -> None:
    amt = ScriptedAmt({PORT: port(state), SETTINGS: settings("true")})

    async with scripted(amt) as client:
        await enable_kvm(client, PASSWORD)

    assert [what for what, _ in amt.changes] == [PUT]


async def test_new_firmware_without_vnc_port_is_found_on_the_redirection_port() -> None:
    amt = ScriptedAmt(
        {PORT: port(2), SETTINGS: settings("false"), PUT: [fault("InvalidRepresentation"), ""]}
    )

    async with scripted(amt) as client:
        address = await enable_kvm(client, PASSWORD)

    assert address == KvmAddress("127.0.0.1", 16994, vnc=False)
    assert "<r:Is5900PortEnabled>false<" in amt.heard[-2][1]


async def test_a_lost_request_is_seen_in_the_state() -> None:
    amt = ScriptedAmt({PORT: [port(3), port(2)], ENABLE: LOST, SETTINGS: settings("true")})

    async with scripted(amt) as client:
        await enable_kvm(client, PASSWORD)

    assert amt.asked.count(ENABLE) == 1


async def test_a_machine_without_kvm_says_so() -> None:
    async with scripted(ScriptedAmt()) as client:
        with pytest.raises(AmtRefusedError, match="this machine has no KVM"):
            await enable_kvm(client, PASSWORD)


async def test_another_fault_is_not_taken_for_no_kvm() -> None:
    async with scripted(ScriptedAmt({PORT: fault("InternalError")})) as client:
        with pytest.raises(AmtFaultError, match="error of its own"):
            await enable_kvm(client, PASSWORD)


async def test_kvm_that_mebx_forbids_says_so() -> None:
    amt = ScriptedAmt({PORT: port(2), SETTINGS: settings("false", mebx="false")})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="switched off in MEBx"):
            await enable_kvm(client, PASSWORD)

    assert amt.changes == []


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("Abc12!", "exactly 8 printable ASCII"),
        ("Abcdef12!", "exactly 8 printable ASCII"),
        ("Abcde1!é", "exactly 8 printable ASCII"),
        ("Abcde1!\t", "exactly 8 printable ASCII"),
        ("Abcd:12!", "no colon"),
        ('Abcd"12!', "no colon"),
        ("Abcd,12!", "no colon"),
        ("abcdef1!", "a small and a capital letter"),
        ("ABCDEF1!", "a small and a capital letter"),
        ("Abcdefg!", "a digit"),
        ("Abcdefg1", "a special character"),
        ("Abcdef_1", "a special character"),
    ],
)
async def test_a_password_that_amt_would_not_take_is_refused_unsent_and_unshown(
    password: str, sentence: str
) -> None:
    amt = ScriptedAmt()

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match=sentence) as raised:
            await enable_kvm(client, password)

    assert amt.heard == []
    assert password not in str(raised.value) + raised.value.hint
