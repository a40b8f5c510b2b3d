"""Ask a machine's AMT for all that a technician wants to know. Nothing is changed by it."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Sequence

from bootserver.amt.control.facts import (
    CONSENT_POLICIES,
    CONSENT_STATES,
    AmtFacts,
    BootCapabilities,
    ConsentPolicy,
    ConsentState,
    ControlMode,
    Kvm,
    Recovery,
    Redirection,
    WiredNetwork,
)
from bootserver.amt.control.power import power_state
from bootserver.amt.errors import AmtAnswerError, AmtFaultError
from bootserver.amt.types import PowerState
from bootserver.amt.wsman.client import WsmanClient
from bootserver.amt.wsman.values import (
    Instance,
    meaning,
    optional,
    optional_flag,
    optional_number,
    optional_text,
)

WIRED_PORT = {"InstanceID": "Intel(r) AMT Ethernet Port Settings 0"}
HTTPS_BOOT_SOURCE = "Intel(r) AMT: Force OCR UEFI HTTPS Boot"
RECOVERY_ON = (32769, 32771)  # CIM_BootService.EnabledState: this alone, or platform erase as well

_CONTROL_MODES = {0: ControlMode.NONE, 1: ControlMode.ADMIN, 4: ControlMode.CLIENT}


async def probe(client: WsmanClient) -> AmtFacts:
    """What AMT says about its machine, in some 15 requests.

    What an old AMT does not have, or says in an unknown way, is None. Raises AmtError when nothing
    answers, the password is wrong, or the answer is not AMT's.
    """
    # All AMT has this. What cannot answer it is no AMT, and everything would be None.
    power = await _power(client)
    software = await optional(client.enumerate("CIM_SoftwareIdentity")) or []
    setup = await optional(client.get("AMT_SetupAndConfigurationService"))
    consent = await optional(client.get("IPS_OptInService"))
    capabilities = await optional(client.get("AMT_BootCapabilities"))
    settings = await optional(client.get("AMT_BootSettingData"))
    return AmtFacts(
        amt_version=_software(software, "AMT") or client.firmware_version,
        sku=_sku(_software(software, "Sku")),
        uuid=_uuid(await optional(client.get("CIM_ComputerSystemPackage"))),
        host_name=optional_text(await optional(client.get("AMT_GeneralSettings")), "HostName"),
        control_mode=meaning(_CONTROL_MODES, optional_number(setup, "ProvisioningMode")),
        consent_policy=consent_policy_of(consent),
        consent_state=consent_state_of(consent),
        redirection=redirection_of(await optional(client.get("AMT_RedirectionService"))),
        kvm=_kvm(
            await optional(client.get("CIM_KVMRedirectionSAP")),
            await optional(client.get("IPS_KVMRedirectionSettingData")),
        ),
        boot=_boot_capabilities(capabilities),
        recovery=_recovery(
            capabilities,
            settings,
            await optional(client.enumerate("CIM_BootSourceSetting")) or [],
            await optional(client.get("CIM_BootService")),
            encrypted=client.encrypted,
        ),
        secure_boot_control=optional_flag(settings, "SecureBootControlEnabled"),
        power=power,
        network=_wired_network(await optional(client.get("AMT_EthernetPortSettings", WIRED_PORT))),
    )


def redirection_of(service: Instance | None) -> Redirection | None:
    """What an AMT_RedirectionService says; 32768 is all off, bit 0 IDE-R, bit 1 serial."""
    state = optional_number(service, "EnabledState")
    if state is None:
        return None
    known = 32768 <= state <= 32771
    return Redirection(
        ider_enabled=known and bool(state & 1),
        sol_enabled=known and bool(state & 2),
        listener_enabled=optional_flag(service, "ListenerEnabled"),
    )


def consent_state_of(service: Instance | None) -> ConsentState | None:
    """How far the consent is, by an IPS_OptInService."""
    return meaning(CONSENT_STATES, optional_number(service, "OptInState"))


def consent_policy_of(service: Instance | None) -> ConsentPolicy | None:
    """What takes a consent, by an IPS_OptInService."""
    return meaning(CONSENT_POLICIES, optional_number(service, "OptInRequired"))


async def _power(client: WsmanClient) -> PowerState:
    try:
        return await power_state(client)
    except AmtFaultError:
        return PowerState.UNKNOWN  # a fault is AMT's, all the same
    except AmtAnswerError:
        if client.firmware_version is None:
            raise
        return PowerState.UNKNOWN


def _software(software: Sequence[Instance], name: str) -> str | None:
    for identity in software:
        if optional_text(identity, "InstanceID") == name:
            return optional_text(identity, "VersionString")
    return None


def _sku(bits: str | None) -> str | None:
    """The product's name, by the bits of the software identity `Sku`."""
    try:
        number = int(bits or "")
    except ValueError:
        return bits
    if number & 0x08:
        return "Intel AMT"
    if number & 0x10:
        return "Intel Standard Manageability"
    return f"unknown ({number})"


def _uuid(package: Instance | None) -> str | None:
    """The machine's UUID of PlatformGUID, which is SMBIOS's 16 bytes in hex, as they lie there.

    SMBIOS 2.6 and later store the first three fields little-endian, and Linux and iPXE show them
    turned. A Dell with 44454C4C4B0010428033B6C04F504633 is 4c4c4544-004b-4210-8033-b6c04f504633.
    """
    digits = (optional_text(package, "PlatformGUID") or "").replace("-", "")
    if not re.fullmatch("[0-9A-Fa-f]{32}", digits):
        return None
    return str(uuid.UUID(bytes_le=bytes.fromhex(digits)))


def _kvm(port: Instance | None, settings: Instance | None) -> Kvm:
    available = port is not None and optional_flag(settings, "EnabledByMEBx") is not False
    return Kvm(available, enabled=available and optional_number(port, "EnabledState") in (2, 6))


def _boot_capabilities(capabilities: Instance | None) -> BootCapabilities | None:
    if capabilities is None:
        return None

    def has(name: str) -> bool | None:
        return optional_flag(capabilities, name)

    return BootCapabilities(
        ider=has("IDER"),
        sol=has("SOL"),
        pxe=has("ForcePXEBoot"),
        hard_drive=has("ForceHardDriveBoot"),
        cd=has("ForceCDorDVDBoot"),
        https=has("ForceUEFIHTTPSBoot"),
        bios_setup=has("BIOSSetup"),
    )


def _recovery(
    capabilities: Instance | None,
    settings: Instance | None,
    sources: Sequence[Instance],
    service: Instance | None,
    *,
    encrypted: bool,
) -> Recovery:
    obstacles: list[str] = []
    if capabilities is None:
        obstacles.append("AMT does not say what it can boot")
    elif not optional_flag(capabilities, "ForceUEFIHTTPSBoot"):  # older AMT lacks the property
        obstacles.append("this AMT or its BIOS knows no boot from HTTPS (AMT 15 and later may)")
    else:
        if not (enabled := optional_flag(settings, "UEFIHTTPSBootEnabled")):
            off = "HTTPS boot is switched off in the BIOS"
            obstacles.append(
                "AMT does not say whether the BIOS has HTTPS boot on" if enabled is None else off
            )
        if not any(optional_text(source, "InstanceID") == HTTPS_BOOT_SOURCE for source in sources):
            obstacles.append("the BIOS offers no boot source for HTTPS")
    if not encrypted:
        obstacles.append("AMT is spoken to without TLS")
    return Recovery(tuple(obstacles), optional_number(service, "EnabledState") in RECOVERY_ON)


def _wired_network(port: Instance | None) -> WiredNetwork | None:
    mac = (optional_text(port, "MACAddress") or "").replace("-", ":").lower()
    if not re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac) or mac == "00:00:00:00:00:00":
        return None  # a machine with nothing but Wi-Fi says zeroes
    servers = (_address(port, "PrimaryDNS"), _address(port, "SecondaryDNS"))
    return WiredNetwork(
        mac=mac,
        link_up=optional_flag(port, "LinkIsUp"),
        dhcp=optional_flag(port, "DHCPEnabled"),
        address=_address(port, "IPAddress"),
        netmask=_address(port, "SubnetMask"),
        gateway=_address(port, "DefaultGateway"),
        dns=tuple(server for server in servers if server),
    )


def _address(port: Instance | None, name: str) -> str | None:
    try:
        address = ipaddress.IPv4Address(optional_text(port, name) or "")
    except ValueError:
        return None
    return None if address.is_unspecified else str(address)
