"""What the next boot is told, word for word and in the order that real firmware takes."""

import asyncio
import re
from dataclasses import replace

import pytest

from bootserver.amt.control.boot_options import (
    boot_from_https,
    boot_from_redirected_cd,
    boot_target,
    clear_boot_options,
)
from bootserver.amt.control.facts import (
    AmtFacts,
    BootCapabilities,
    ConsentPolicy,
    ControlMode,
    Kvm,
    Recovery,
)
from bootserver.amt.errors import (
    AmtConsentRequiredError,
    AmtError,
    AmtFaultError,
    AmtInDoubtError,
    AmtRefusedError,
    AmtUnreachableError,
)
from bootserver.amt.types import BootTarget, PowerState
from tests.fakes.scripted_amt import HANGS, LOST, ScriptedAmt, fault, returns, scripted

GET = "Get AMT_BootSettingData"
ORDER = "CIM_BootConfigSetting.ChangeBootOrder"
PUT = "Put AMT_BootSettingData"
ROLE = "CIM_BootService.SetBootConfigRole"
CAPABILITIES = "Get AMT_BootCapabilities"
ANONYMOUS = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"
NO_SOURCE = "<r:ChangeBootOrder_INPUT></r:ChangeBootOrder_INPUT>"

# As CSME 16.1 has them, with something set in every one that is to be unset.
SETTINGS = """
<g:BIOSLastStatus>2</g:BIOSLastStatus><g:BIOSLastStatus>0</g:BIOSLastStatus>
<g:BIOSPause>true</g:BIOSPause><g:BIOSSetup>true</g:BIOSSetup>
<g:BootMediaIndex>3</g:BootMediaIndex><g:BootguardStatus>127</g:BootguardStatus>
<g:ConfigurationDataReset>true</g:ConfigurationDataReset>
<g:ElementName>Intel(r) AMT Boot Configuration Settings</g:ElementName>
<g:EnforceSecureBoot>true</g:EnforceSecureBoot><g:FirmwareVerbosity>1</g:FirmwareVerbosity>
<g:ForcedProgressEvents>true</g:ForcedProgressEvents><g:IDERBootDevice>0</g:IDERBootDevice>
<g:InstanceID>Intel(r) AMT:BootSettingData 0</g:InstanceID>
<g:LockKeyboard>true</g:LockKeyboard><g:LockPowerButton>true</g:LockPowerButton>
<g:LockResetButton>true</g:LockResetButton><g:LockSleepButton>true</g:LockSleepButton>
<g:OptionsCleared>true</g:OptionsCleared>
<g:OwningEntity>Intel(r) AMT</g:OwningEntity><g:PlatformErase>true</g:PlatformErase>
<g:RPEEnabled>false</g:RPEEnabled><g:RSEPassword></g:RSEPassword>
<g:ReflashBIOS>true</g:ReflashBIOS><g:SecureBootControlEnabled>true</g:SecureBootControlEnabled>
<g:SecureErase>true</g:SecureErase>
<g:UEFIHTTPSBootEnabled>true</g:UEFIHTTPSBootEnabled>
<g:UEFILocalPBABootEnabled>false</g:UEFILocalPBABootEnabled>
<g:UefiBootNumberOfParams>3</g:UefiBootNumberOfParams>
<g:UefiBootParametersArray>hoCAAA==</g:UefiBootParametersArray>
<g:UseIDER>false</g:UseIDER><g:UseSOL>true</g:UseSOL><g:UseSafeMode>true</g:UseSafeMode>
<g:UserPasswordBypass>true</g:UserPasswordBypass>
<g:WinREBootEnabled>false</g:WinREBootEnabled>
"""


def written(
    *,
    ider: str = "false",
    device: int = 0,
    sol: str = "false",
    secure_boot: str = "true",
    events: str = "false",
    setup: str = "false",
    parameters: str = "<r:UefiBootNumberOfParams>0</r:UefiBootNumberOfParams>",
) -> str:
    return (
        "<r:AMT_BootSettingData>"
        f"<r:BIOSPause>false</r:BIOSPause><r:BIOSSetup>{setup}</r:BIOSSetup>"
        "<r:BootMediaIndex>0</r:BootMediaIndex>"
        "<r:ConfigurationDataReset>false</r:ConfigurationDataReset>"
        "<r:ElementName>Intel(r) AMT Boot Configuration Settings</r:ElementName>"
        f"<r:EnforceSecureBoot>{secure_boot}</r:EnforceSecureBoot>"
        "<r:FirmwareVerbosity>0</r:FirmwareVerbosity>"
        f"<r:ForcedProgressEvents>{events}</r:ForcedProgressEvents>"
        f"<r:IDERBootDevice>{device}</r:IDERBootDevice>"
        "<r:InstanceID>Intel(r) AMT:BootSettingData 0</r:InstanceID>"
        "<r:LockKeyboard>false</r:LockKeyboard><r:LockPowerButton>false</r:LockPowerButton>"
        "<r:LockResetButton>false</r:LockResetButton><r:LockSleepButton>false</r:LockSleepButton>"
        "<r:OwningEntity>Intel(r) AMT</r:OwningEntity><r:PlatformErase>false</r:PlatformErase>"
        "<r:ReflashBIOS>false</r:ReflashBIOS><r:SecureErase>false</r:SecureErase>"
        f"{parameters}"
        f"<r:UseIDER>{ider}</r:UseIDER><r:UseSOL>{sol}</r:UseSOL>"
        "<r:UseSafeMode>false</r:UseSafeMode>"
        "<r:UserPasswordBypass>false</r:UserPasswordBypass></r:AMT_BootSettingData>"
    )


def role(number: int) -> str:
    return (
        f"<r:SetBootConfigRole_INPUT><r:BootConfigSetting><a:Address>{ANONYMOUS}</a:Address>"
        "<a:ReferenceParameters><w:ResourceURI>"
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_BootConfigSetting</w:ResourceURI>"
        '<w:SelectorSet><w:Selector Name="InstanceID">Intel(r) AMT: Boot Configuration 0'
        "</w:Selector></w:SelectorSet></a:ReferenceParameters></r:BootConfigSetting>"
        f"<r:Role>{number}</r:Role></r:SetBootConfigRole_INPUT>"
    )


def source(name: str) -> str:
    return (
        f"<r:ChangeBootOrder_INPUT><r:Source><a:Address>{ANONYMOUS}</a:Address>"
        "<a:ReferenceParameters><w:ResourceURI>"
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_BootSourceSetting</w:ResourceURI>"
        f'<w:SelectorSet><w:Selector Name="InstanceID">{name}</w:Selector></w:SelectorSet>'
        "</a:ReferenceParameters></r:Source></r:ChangeBootOrder_INPUT>"
    )


CLEARED = [GET, ORDER, PUT, ROLE]

FACTS = AmtFacts(
    amt_version="16.1.30",
    sku="Intel AMT",
    uuid=None,
    host_name=None,
    control_mode=ControlMode.ADMIN,
    consent_policy=ConsentPolicy.NONE,
    consent_state=None,
    redirection=None,
    kvm=Kvm(available=True, enabled=False),
    boot=BootCapabilities(
        ider=True, sol=True, pxe=True, hard_drive=True, cd=True, https=True, bios_setup=True
    ),
    recovery=Recovery((), switched_on=True),
    secure_boot_control=True,
    power=PowerState.ON,
    network=None,
)
URL = "https://a/b"


async def test_a_redirected_cd_is_armed_in_the_proven_order() -> None:
    amt = ScriptedAmt({GET: SETTINGS})

    async with scripted(amt) as client:
        enforced = await boot_from_redirected_cd(client, FACTS, enforce_secure_boot=False)

    assert enforced is False
    assert amt.heard == [
        (GET, ""),
        (ORDER, NO_SOURCE),
        (PUT, written(ider="true", device=1, secure_boot="false")),
        (ROLE, role(1)),
        (ORDER, NO_SOURCE),
    ]


async def test_old_firmware_is_written_nothing_that_it_did_not_tell() -> None:
    amt = ScriptedAmt(
        {
            GET: "<g:BIOSPause>false</g:BIOSPause><g:IDERBootDevice>0</g:IDERBootDevice>"
            "<g:UseIDER>false</g:UseIDER><g:UseSOL>false</g:UseSOL>"
        }
    )

    async with scripted(amt) as client:
        await boot_from_redirected_cd(client, FACTS, enforce_secure_boot=False)

    assert amt.body(PUT) == (
        "<r:AMT_BootSettingData><r:BIOSPause>false</r:BIOSPause>"
        "<r:IDERBootDevice>1</r:IDERBootDevice><r:UseIDER>true</r:UseIDER>"
        "<r:UseSOL>false</r:UseSOL></r:AMT_BootSettingData>"
    )


@pytest.mark.parametrize(
    ("mode", "control", "enforced"),
    [
        (ControlMode.ADMIN, True, False),
        (ControlMode.ADMIN, None, False),
        (ControlMode.ADMIN, False, True),
        (ControlMode.CLIENT, True, True),
    ],
)
async def test_secure_boot_is_left_out_only_where_amt_may(
    mode: ControlMode, control: bool | None, enforced: bool
) -> None:
    amt = ScriptedAmt({GET: SETTINGS})
    facts = replace(FACTS, control_mode=mode, secure_boot_control=control)

    async with scripted(amt) as client:
        is_enforced = await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)

    assert is_enforced is enforced
    word = "true" if enforced else "false"
    assert f"<r:EnforceSecureBoot>{word}</r:EnforceSecureBoot>" in amt.body(PUT)


async def test_a_machine_that_cannot_boot_a_redirected_cd_is_not_asked() -> None:
    amt = ScriptedAmt()
    assert FACTS.boot is not None
    facts = replace(FACTS, boot=replace(FACTS.boot, ider=False))

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="cannot boot from a redirected CD"):
            await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)

    assert amt.heard == []


async def test_a_redirected_boot_left_over_is_taken_back_first() -> None:
    left_over = SETTINGS.replace("<g:UseIDER>false", "<g:UseIDER>true")
    amt = ScriptedAmt({GET: [left_over, left_over, SETTINGS]})

    async with scripted(amt) as client:
        await boot_from_redirected_cd(client, FACTS, enforce_secure_boot=False)

    assert amt.asked == [GET, *CLEARED, GET, ORDER, PUT, ROLE, ORDER]
    assert [body for what, body in amt.heard if what == ROLE] == [role(32768), role(1)]


@pytest.mark.parametrize(
    ("step", "answers", "before"),
    [
        (PUT, [fault("SchemaValidationError"), ""], [GET, ORDER, PUT]),
        (ROLE, [returns(5), returns(0)], [GET, ORDER, PUT, ROLE]),
        (ORDER, [returns(0), returns(5), returns(0)], [GET, ORDER, PUT, ROLE, ORDER]),
    ],
)
async def test_a_step_that_fails_takes_the_others_back(
    step: str, answers: list[str], before: list[str]
) -> None:
    amt = ScriptedAmt({GET: SETTINGS, step: answers})

    async with scripted(amt) as client:
        with pytest.raises((AmtRefusedError, AmtFaultError)):
            await boot_from_redirected_cd(client, FACTS, enforce_secure_boot=False)

    assert amt.asked == [*before, *CLEARED]
    assert amt.heard[-2:] == [(PUT, written()), (ROLE, role(32768))]


async def test_a_first_step_that_fails_leaves_nothing_to_take_back() -> None:
    amt = ScriptedAmt({GET: SETTINGS, ORDER: returns(3)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="ChangeBootOrder: busy"):
            await boot_from_redirected_cd(client, FACTS, enforce_secure_boot=False)

    assert amt.asked == [GET, ORDER]


async def test_a_step_in_doubt_takes_the_others_back_and_tells_the_doubt() -> None:
    amt = ScriptedAmt({GET: SETTINGS, PUT: LOST})

    async with scripted(amt) as client:
        with pytest.raises(AmtInDoubtError, match="Put AMT_BootSettingData"):
            await boot_from_redirected_cd(client, FACTS, enforce_secure_boot=False)

    assert amt.asked == [GET, ORDER, PUT, *CLEARED]


async def test_a_cancelled_step_takes_the_others_back() -> None:
    amt = ScriptedAmt({GET: SETTINGS, ROLE: [HANGS, returns(0)]})

    async with scripted(amt) as client:
        arming = asyncio.create_task(
            boot_from_redirected_cd(client, FACTS, enforce_secure_boot=False)
        )
        await amt.hanging.wait()
        arming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await arming

    assert amt.asked == [GET, ORDER, PUT, ROLE, *CLEARED]
    assert amt.heard[-2:] == [(PUT, written()), (ROLE, role(32768))]


@pytest.mark.parametrize(
    "facts",
    [
        replace(FACTS, control_mode=ControlMode.CLIENT),
        replace(FACTS, consent_policy=ConsentPolicy.ALL),
    ],
)
@pytest.mark.parametrize(
    ("step", "answer"), [(ORDER, returns(6)), (PUT, fault("AccessDenied")), (ROLE, returns(0x821))]
)
async def test_access_denied_means_consent_where_consent_is_demanded(
    facts: AmtFacts, step: str, answer: str
) -> None:
    amt = ScriptedAmt({GET: SETTINGS, step: answer})

    async with scripted(amt) as client:
        with pytest.raises(AmtConsentRequiredError, match="consent") as raised:
            await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)

    assert "code" in raised.value.hint


async def test_access_denied_is_no_matter_of_consent_elsewhere() -> None:
    amt = ScriptedAmt({GET: SETTINGS, ORDER: returns(6)})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="access denied") as raised:
            await boot_from_redirected_cd(client, FACTS, enforce_secure_boot=False)

    assert not isinstance(raised.value, AmtConsentRequiredError)


@pytest.mark.parametrize(
    ("target", "put", "boot_source"),
    [
        (BootTarget.PXE, written(), "Intel(r) AMT: Force PXE Boot"),
        (BootTarget.DISK, written(), "Intel(r) AMT: Force Hard-drive Boot"),
        (BootTarget.CD, written(), "Intel(r) AMT: Force CD/DVD Boot"),
        (BootTarget.BIOS_SETUP, written(setup="true"), ""),
    ],
)
async def test_a_target_is_armed_by_its_boot_source_or_its_setting(
    target: BootTarget, put: str, boot_source: str
) -> None:
    amt = ScriptedAmt({GET: SETTINGS})

    async with scripted(amt) as client:
        await boot_target(client, target)

    assert amt.heard == [
        (CAPABILITIES, ""),
        (GET, ""),
        (ORDER, NO_SOURCE),
        (PUT, put),
        (ROLE, role(1)),
        (ORDER, source(boot_source) if boot_source else NO_SOURCE),
    ]


async def test_a_target_that_the_machine_does_not_have_is_refused_before_anything_changes() -> None:
    amt = ScriptedAmt({GET: SETTINGS, CAPABILITIES: "<g:BIOSSetup>false</g:BIOSSetup>"})

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="cannot boot this machine to bios-setup"):
            await boot_target(client, BootTarget.BIOS_SETUP)

    assert amt.changes == []


async def test_https_is_armed_with_its_parameters_and_boot_source() -> None:
    amt = ScriptedAmt(
        {GET: SETTINGS, "Get CIM_BootService": "<g:EnabledState>32769</g:EnabledState>"}
    )

    async with scripted(amt) as client:
        enforced = await boot_from_https(client, FACTS, URL, enforce_secure_boot=False)

    assert enforced is False
    assert amt.heard[1:] == [
        (GET, ""),
        (ORDER, NO_SOURCE),
        (
            PUT,
            written(
                secure_boot="false",
                events="true",
                # 8680 0100 0b000000 https://a/b, 8680 1400 01000000 01, 8680 1e00 02000000 0000
                parameters="<r:UefiBootNumberOfParams>3</r:UefiBootNumberOfParams>"
                "<r:UefiBootParametersArray>hoABAAsAAABodHRwczovL2EvYoaAFAABAAAAAYaAHgACAAAAAAA="
                "</r:UefiBootParametersArray>",
            ),
        ),
        (ROLE, role(1)),
        (ORDER, source("Intel(r) AMT: Force OCR UEFI HTTPS Boot")),
    ]


@pytest.mark.parametrize(("before", "wanted"), [(32768, 32769), (32770, 32771)])
async def test_https_switches_recovery_on_and_leaves_erasing_as_it_was(
    before: int, wanted: int
) -> None:
    amt = ScriptedAmt(
        {GET: SETTINGS, "Get CIM_BootService": f"<g:EnabledState>{before}</g:EnabledState>"}
    )

    async with scripted(amt) as client:
        await boot_from_https(client, FACTS, URL, enforce_secure_boot=True)

    assert amt.heard[:3] == [
        ("Get CIM_BootService", ""),
        (
            "CIM_BootService.RequestStateChange",
            f"<r:RequestStateChange_INPUT><r:RequestedState>{wanted}</r:RequestedState>"
            "</r:RequestStateChange_INPUT>",
        ),
        (GET, ""),
    ]


async def test_https_is_armed_with_secure_boot_where_amt_takes_none_without() -> None:
    sources = [returns(0), returns(2), returns(0)]
    amt = ScriptedAmt(
        {
            GET: SETTINGS,
            "Get CIM_BootService": "<g:EnabledState>32769</g:EnabledState>",
            ORDER: sources,
        }
    )

    async with scripted(amt) as client:
        enforced = await boot_from_https(client, FACTS, URL, enforce_secure_boot=False)

    assert enforced is True
    tried = [
        re.findall("EnforceSecureBoot>(true|false)<", b) for what, b in amt.heard if what == PUT
    ]
    assert [tried[0], tried[-1]] == [["false"], ["true"]]
    assert amt.asked[-5:] == [GET, ORDER, PUT, ROLE, ORDER]


async def test_https_that_is_refused_otherwise_is_not_tried_again() -> None:
    amt = ScriptedAmt(
        {
            GET: SETTINGS,
            "Get CIM_BootService": "<g:EnabledState>32769</g:EnabledState>",
            ORDER: [returns(0), returns(5), returns(0)],
        }
    )

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="invalid parameter"):
            await boot_from_https(client, FACTS, URL, enforce_secure_boot=False)

    assert amt.asked[-4:] == CLEARED


async def test_https_that_is_not_ready_says_why_and_asks_nothing() -> None:
    amt = ScriptedAmt()
    facts = replace(FACTS, recovery=Recovery(("HTTPS boot is switched off in the BIOS",), True))

    async with scripted(amt) as client:
        with pytest.raises(AmtRefusedError, match="not ready: HTTPS boot is switched off"):
            await boot_from_https(client, facts, URL, enforce_secure_boot=False)

    assert amt.heard == []


async def test_clearing_makes_the_next_boot_an_ordinary_one() -> None:
    amt = ScriptedAmt({GET: SETTINGS})

    async with scripted(amt) as client:
        await clear_boot_options(client)

    assert amt.heard == [
        (GET, ""),
        (ORDER, NO_SOURCE),
        (PUT, written()),
        (ROLE, role(32768)),
    ]


@pytest.mark.parametrize(
    ("step", "answer"),
    [(ORDER, returns(3)), (PUT, fault("SchemaValidationError")), (ORDER, LOST), (PUT, LOST)],
)
async def test_clearing_tries_all_steps_and_tells_the_first_that_failed(
    step: str, answer: str
) -> None:
    amt = ScriptedAmt({GET: SETTINGS, step: answer, ROLE: returns(2)})

    async with scripted(amt) as client:
        with pytest.raises(AmtError) as raised:
            await clear_boot_options(client)

    assert amt.asked == CLEARED
    assert "SetBootConfigRole" not in raised.value.message


async def test_clearing_stops_where_nobody_answers_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    amt = ScriptedAmt({GET: SETTINGS}, closes_after=GET)
    tried: list[object] = []

    async def put(settings: object) -> None:
        tried.append(settings)

    async with scripted(amt) as client:
        monkeypatch.setattr(client, "put", put)
        with pytest.raises(AmtUnreachableError):
            await clear_boot_options(client)

    assert amt.asked == [GET]
    assert tried == []
