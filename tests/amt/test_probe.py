"""What AMT says about a machine: new firmware, old firmware, and one that talks nonsense."""

import json

import pytest

from bootserver.amt.control.facts import (
    BootCapabilities,
    ConsentPolicy,
    ConsentState,
    ControlMode,
    Kvm,
    Recovery,
    Redirection,
    WiredNetwork,
)
from bootserver.amt.control.probe import probe
from bootserver.amt.errors import AmtAnswerError, AmtUnreachableError
from bootserver.amt.types import PowerState
from bootserver.json_values import to_json
from tests.fakes.scripted_amt import LOST, ScriptedAmt, fault, scripted

POWER = "Get CIM_AssociatedPowerManagementService"
SETTINGS = "Get AMT_BootSettingData"
SOURCES = "Enumerate CIM_BootSourceSetting"


def modern(**changes: str | list[str]) -> ScriptedAmt:
    """CSME 16.1 in admin mode, on, all switched on."""
    answers: dict[str, str | list[str]] = {
        POWER: "<g:PowerState>2</g:PowerState>",
        "Enumerate CIM_SoftwareIdentity": [
            "<g:InstanceID>Flash</g:InstanceID><g:VersionString>16.1.30</g:VersionString>",
            "<g:InstanceID>AMT</g:InstanceID><g:VersionString>16.1.30</g:VersionString>",
            "<g:InstanceID>Sku</g:InstanceID><g:VersionString>16392</g:VersionString>",
        ],
        "Get CIM_ComputerSystemPackage": (
            "<g:PlatformGUID>44454C4C4B0010428033B6C04F504633</g:PlatformGUID>"
        ),
        "Get AMT_GeneralSettings": "<g:HostName>pc-17</g:HostName>",
        "Get AMT_SetupAndConfigurationService": "<g:ProvisioningMode>1</g:ProvisioningMode>",
        "Get IPS_OptInService": (
            "<g:OptInRequired>0</g:OptInRequired><g:OptInState>0</g:OptInState>"
        ),
        "Get AMT_RedirectionService": (
            "<g:EnabledState>32771</g:EnabledState><g:ListenerEnabled>true</g:ListenerEnabled>"
        ),
        "Get CIM_KVMRedirectionSAP": "<g:EnabledState>6</g:EnabledState>",
        "Get IPS_KVMRedirectionSettingData": "<g:EnabledByMEBx>true</g:EnabledByMEBx>",
        "Get AMT_BootCapabilities": (
            "<g:BIOSSetup>true</g:BIOSSetup><g:ForceCDorDVDBoot>true</g:ForceCDorDVDBoot>"
            "<g:ForceHardDriveBoot>true</g:ForceHardDriveBoot><g:ForcePXEBoot>true</g:ForcePXEBoot>"
            "<g:ForceUEFIHTTPSBoot>true</g:ForceUEFIHTTPSBoot><g:IDER>true</g:IDER>"
            "<g:SOL>true</g:SOL>"
        ),
        SETTINGS: (
            "<g:SecureBootControlEnabled>true</g:SecureBootControlEnabled>"
            "<g:UEFIHTTPSBootEnabled>true</g:UEFIHTTPSBootEnabled>"
        ),
        SOURCES: [
            "<g:InstanceID>Intel(r) AMT: Force PXE Boot</g:InstanceID>",
            "<g:InstanceID>Intel(r) AMT: Force OCR UEFI HTTPS Boot</g:InstanceID>",
        ],
        "Get CIM_BootService": "<g:EnabledState>32769</g:EnabledState>",
        "Get AMT_EthernetPortSettings": (
            "<g:DHCPEnabled>true</g:DHCPEnabled><g:DefaultGateway>192.0.2.1</g:DefaultGateway>"
            "<g:IPAddress>192.0.2.17</g:IPAddress><g:LinkIsUp>true</g:LinkIsUp>"
            "<g:LinkPolicy>1</g:LinkPolicy><g:LinkPolicy>14</g:LinkPolicy>"
            "<g:MACAddress>A4-AE-11-1C-02-4D</g:MACAddress><g:PrimaryDNS>192.0.2.2</g:PrimaryDNS>"
            "<g:SecondaryDNS>0.0.0.0</g:SecondaryDNS><g:SubnetMask>255.255.255.0</g:SubnetMask>"
        ),
    }
    return ScriptedAmt({**answers, **changes})


async def test_everything_a_modern_machine_tells_is_read() -> None:
    amt = modern()

    async with scripted(amt) as client:
        facts = await probe(client)

    assert facts.amt_version == "16.1.30"
    assert facts.major_version == 16
    assert facts.sku == "Intel AMT"
    assert facts.host_name == "pc-17"
    assert facts.control_mode is ControlMode.ADMIN
    assert facts.consent_policy is ConsentPolicy.NONE
    assert facts.consent_state is ConsentState.NOT_STARTED
    assert facts.redirection == Redirection(
        ider_enabled=True, sol_enabled=True, listener_enabled=True
    )
    assert facts.kvm == Kvm(available=True, enabled=True)
    assert facts.boot == BootCapabilities(
        ider=True, sol=True, pxe=True, hard_drive=True, cd=True, https=True, bios_setup=True
    )
    assert facts.recovery == Recovery(("AMT is spoken to without TLS",), switched_on=True)
    assert facts.secure_boot_control is True
    assert facts.power is PowerState.ON
    assert facts.network == WiredNetwork(
        mac="a4:ae:11:1c:02:4d",
        link_up=True,
        dhcp=True,
        address="192.0.2.17",
        netmask="255.255.255.0",
        gateway="192.0.2.1",
        dns=("192.0.2.2",),
    )


async def test_probing_changes_nothing_and_asks_for_the_wired_port() -> None:
    amt = modern()

    async with scripted(amt) as client:
        await probe(client)

    assert amt.changes == []
    assert amt.selectors["Get AMT_EthernetPortSettings"] == (
        '<w:Selector Name="InstanceID">Intel(r) AMT Ethernet Port Settings 0</w:Selector>'
    )


async def test_the_uuid_is_the_one_that_linux_and_ipxe_show() -> None:
    async with scripted(modern()) as client:
        facts = await probe(client)

    # A Dell's: 4c4c4544 is DELL, and 10, 80 and c04f stand where they do in all of theirs.
    assert facts.uuid == "4c4c4544-004b-4210-8033-b6c04f504633"


async def test_an_old_machine_that_knows_little_is_read() -> None:
    amt = ScriptedAmt({POWER: "<g:PowerState>8</g:PowerState>"})

    async with scripted(amt) as client:
        facts = await probe(client)

    assert facts.power is PowerState.OFF
    assert facts.amt_version is None
    assert facts.major_version is None
    assert facts.control_mode is None
    assert facts.consent_policy is None
    assert facts.redirection is None
    assert facts.kvm == Kvm(available=False, enabled=False)
    assert facts.boot is None
    assert not facts.recovery.ready
    assert facts.network is None
    assert facts.consent_needed is False


async def test_nonsense_is_none_and_no_crash() -> None:
    properties = [
        "EnabledState", "ListenerEnabled", "OptInRequired", "OptInState", "ProvisioningMode",
        "IDER", "PlatformGUID", "MACAddress", "LinkIsUp", "IPAddress", "SecureBootControlEnabled",
        "EnabledByMEBx",
    ]  # fmt: skip
    nonsense = "<g:Odd/>" + "".join(f"<g:{name}>?</g:{name}>" for name in properties)
    names = [name for name in modern().answers if name != POWER]
    amt = ScriptedAmt(dict.fromkeys(names, nonsense))
    amt.answers[POWER] = "<g:PowerState>2</g:PowerState>"
    amt.answers["Enumerate CIM_SoftwareIdentity"] = [nonsense]
    amt.answers[SOURCES] = [nonsense]

    async with scripted(amt) as client:
        facts = await probe(client)

    assert (facts.uuid, facts.control_mode, facts.consent_state) == (None, None, None)
    assert (facts.redirection, facts.network, facts.secure_boot_control) == (None, None, None)
    assert facts.kvm == Kvm(available=True, enabled=False)
    assert facts.boot is not None
    assert not facts.boot.ider


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("0.0.0.0", None),
        ("", None),
        ("one", None),
        ("192.0.2.300", None),
        ("192.0.2.3", "192.0.2.3"),
    ],
)
async def test_an_address_is_an_address_or_nothing(address: str, kept: str | None) -> None:
    amt = modern()
    amt.answers["Get AMT_EthernetPortSettings"] = (
        f"<g:MACAddress>a4-ae-11-1c-02-4d</g:MACAddress><g:IPAddress>{address}</g:IPAddress>"
    )

    async with scripted(amt) as client:
        facts = await probe(client)

    assert facts.network is not None
    assert facts.network.address == kept
    assert facts.network.dhcp is None


async def test_a_machine_without_wired_port_has_no_wired_network() -> None:
    amt = modern()
    amt.answers["Get AMT_EthernetPortSettings"] = "<g:MACAddress>00-00-00-00-00-00</g:MACAddress>"

    async with scripted(amt) as client:
        assert (await probe(client)).network is None


@pytest.mark.parametrize(
    ("mode", "policy", "state", "needed"),
    [
        (1, 0, 0, False),
        (1, 1, 0, False),
        (1, 0xFFFFFFFF, 0, True),
        (1, 0xFFFFFFFF, 2, True),
        (1, 0xFFFFFFFF, 3, False),
        (1, 0xFFFFFFFF, 4, False),
        (4, 0, 0, True),
        (4, 0xFFFFFFFF, 3, False),
    ],
)
async def test_whether_consent_is_needed(mode: int, policy: int, state: int, needed: bool) -> None:
    amt = modern()
    amt.answers["Get AMT_SetupAndConfigurationService"] = (
        f"<g:ProvisioningMode>{mode}</g:ProvisioningMode>"
    )
    amt.answers["Get IPS_OptInService"] = (
        f"<g:OptInRequired>{policy}</g:OptInRequired><g:OptInState>{state}</g:OptInState>"
    )

    async with scripted(amt) as client:
        assert (await probe(client)).consent_needed is needed


@pytest.mark.parametrize(
    ("what", "answer", "obstacle"),
    [
        ("Get AMT_BootCapabilities", "<g:IDER>true</g:IDER>", "knows no boot from HTTPS"),
        (
            SETTINGS,
            "<g:UEFIHTTPSBootEnabled>false</g:UEFIHTTPSBootEnabled>",
            "HTTPS boot is switched off in the BIOS",
        ),
        (SOURCES, [], "offers no boot source for HTTPS"),
    ],
)
async def test_what_stands_in_the_way_of_recovery_is_told_in_words(
    what: str, answer: str | list[str], obstacle: str
) -> None:
    amt = modern()
    amt.answers[what] = answer

    async with scripted(amt) as client:
        recovery = (await probe(client)).recovery

    assert len(recovery.obstacles) == 2  # and that there is no TLS
    assert obstacle in recovery.obstacles[0]


async def test_recovery_that_is_switched_off_is_no_obstacle() -> None:
    amt = modern()
    amt.answers["Get CIM_BootService"] = "<g:EnabledState>32768</g:EnabledState>"

    async with scripted(amt) as client:
        recovery = (await probe(client)).recovery

    assert recovery.switched_on is False
    assert recovery.obstacles == ("AMT is spoken to without TLS",)


async def test_kvm_that_mebx_forbids_is_not_available() -> None:
    amt = modern()
    amt.answers["Get IPS_KVMRedirectionSettingData"] = "<g:EnabledByMEBx>false</g:EnabledByMEBx>"

    async with scripted(amt) as client:
        assert (await probe(client)).kvm == Kvm(available=False, enabled=False)


async def test_a_power_state_that_amt_faults_on_is_unknown() -> None:
    amt = modern()
    amt.answers[POWER] = fault("InternalError")

    async with scripted(amt) as client:
        assert (await probe(client)).power is PowerState.UNKNOWN


async def test_what_answers_otherwise_than_amt_is_an_error() -> None:
    amt = modern()
    amt.answers[POWER] = "<g:Other>1</g:Other>"

    async with scripted(amt) as client:
        with pytest.raises(AmtAnswerError, match="PowerState"):
            await probe(client)


async def test_amt_that_stops_answering_is_an_error() -> None:
    amt = modern()
    amt.answers["Get AMT_BootCapabilities"] = LOST

    async with scripted(amt) as client:
        with pytest.raises(AmtUnreachableError):
            await probe(client)


async def test_facts_are_told_as_json() -> None:
    async with scripted(modern()) as client:
        shape = json.loads(json.dumps(to_json(await probe(client))))

    assert shape["control_mode"] == "admin"
    assert shape["power"] == "on"
    assert shape["consent_needed"] is False
    assert shape["recovery"] == {
        "ready": False,
        "obstacles": ["AMT is spoken to without TLS"],
        "switched_on": True,
    }
    assert shape["network"]["dns"] == ["192.0.2.2"]
    assert shape["redirection"] == {
        "ider_enabled": True,
        "sol_enabled": True,
        "listener_enabled": True,
    }
