"""The CIM instances that a device shows: their properties, as its state and its spec have them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from bootserver.bench.fake_amt.boot import SOURCES
from bootserver.bench.fake_amt.consent import OptInState
from bootserver.bench.fake_amt.soap import FaultError, Properties, Reference
from bootserver.bench.fake_amt.spec import ProvisioningMode, SystemState
from bootserver.bench.fake_amt.state import DeviceState

_SYSTEM = {"SystemCreationClassName": "CIM_ComputerSystem", "SystemName": "Intel(r) AMT"}
MANAGED_SYSTEM = {"CreationClassName": "CIM_ComputerSystem", "Name": "ManagedSystem"}
BOOT_CONFIGURATION = "Intel(r) AMT: Boot Configuration 0"
_POWER_SERVICE = {
    "CreationClassName": "CIM_PowerManagementService",
    "Name": "Intel(r) AMT Power Management Service",
    **_SYSTEM,
}
_RECOVERY_SOURCE = "Intel(r) AMT: Force OCR UEFI HTTPS Boot"
# AMT 10 and older: Enumerate is refused for these (field experience), Get is not.
_GET_ONLY_UNTIL_10 = "AMT_"


def instances_of(state: DeviceState, class_name: str) -> list[Properties]:
    """All instances of that class; raises FaultError when this device has no such class."""
    if class_name.startswith(("CIM_KVM", "IPS_KVM")) and not state.spec.wsman_manners.kvm:
        raise FaultError("wsa:DestinationUnreachable", "no KVM on this SKU")
    try:
        make = _CLASSES[class_name]
    except KeyError:
        raise FaultError("wsa:DestinationUnreachable", f"no {class_name} here") from None
    return make(state)


def instance_of(state: DeviceState, class_name: str, selectors: Mapping[str, str]) -> Properties:
    """The one instance that the selectors name; raises FaultError when they name none, or many."""
    found = [
        properties
        for properties in instances_of(state, class_name)
        if all(properties.get(name) in (text, [text]) for name, text in selectors.items())
    ]
    if len(found) != 1:
        raise FaultError("wsman:InvalidSelectors", f"{len(found)} instances of {class_name}")
    return found[0]


def can_enumerate(state: DeviceState, class_name: str) -> bool:
    """Whether Enumerate works for that class on a device of this age."""
    return state.spec.major > 10 or not class_name.startswith(_GET_ONLY_UNTIL_10)


def _software(state: DeviceState) -> list[Properties]:
    versions = {
        "Flash": state.spec.version,
        "Netstack": state.spec.version,
        "AMTApps": state.spec.version,
        "AMT": state.spec.version,
        "Sku": state.spec.sku,
        "VendorID": "8086",
        "Build Number": "1000",
        "Recovery Version": state.spec.version,
        "Recovery Build Num": "1000",
        "Legacy Mode": "False",
    }
    return [
        {"InstanceID": name, "IsEntity": "true", "VersionString": version}
        for name, version in versions.items()
    ]


def _package(state: DeviceState) -> list[Properties]:
    guid = uuid.UUID(state.spec.uuid).bytes_le.hex().upper()  # as SMBIOS has it in memory
    chassis = {"CreationClassName": "CIM_Chassis", "Tag": "CIM_Chassis"}
    return [
        {
            "Antecedent": Reference("CIM_Chassis", chassis),
            "Dependent": Reference("CIM_ComputerSystem", MANAGED_SYSTEM),
            "PlatformGUID": guid,
        }
    ]


def _chassis(state: DeviceState) -> list[Properties]:
    return [
        {
            "ChassisPackageType": "0",
            "CreationClassName": "CIM_Chassis",
            "ElementName": "Managed System Chassis",
            "Manufacturer": state.spec.manufacturer,
            "Model": state.spec.product,
            "OperationalStatus": "0",
            "PackageType": "3",
            "SerialNumber": state.spec.serial,
            "Tag": "CIM_Chassis",
            "Version": "1.0",
        }
    ]


def _computers(state: DeviceState) -> list[Properties]:
    return [
        {**MANAGED_SYSTEM, "ElementName": "Managed System", "EnabledState": "2"},
        {
            "CreationClassName": "CIM_ComputerSystem",
            "ElementName": "Intel(r) AMT Subsystem",
            "EnabledState": "2",
            "Name": "Intel(r) AMT",
        },
    ]


def _general(state: DeviceState) -> list[Properties]:
    return [
        {
            "AMTNetworkEnabled": "1",
            "DDNSUpdateEnabled": "false",
            "DHCPSyncRequiresHostname": "1",
            "DigestRealm": state.realm,
            "DomainName": state.spec.domain_name,
            "ElementName": "Intel(r) AMT: General Settings",
            "HostName": state.spec.host_name,
            "HostOSFQDN": "",
            "IdleWakeTimeout": "65535",
            "InstanceID": "Intel(r) AMT: General Settings",
            "NetworkInterfaceEnabled": "true",
            "PingResponseEnabled": "true",
            "PowerSource": "0",
            "PrivacyLevel": "0",
            "RmcpPingResponseEnabled": "true",
            "SharedFQDN": "true",
        }
    ]


def _ethernet(state: DeviceState) -> list[Properties]:
    network = state.spec.network
    settings: dict[str, str] = {
        "DHCPEnabled": _text(network.dhcp),
        "DefaultGateway": network.gateway,
        "ElementName": "Intel(r) AMT Ethernet Port Settings",
        "IPAddress": network.address,
        "InstanceID": "Intel(r) AMT Ethernet Port Settings 0",
        "IpSyncEnabled": "true",
        "LinkIsUp": _text(network.link_up),
        "LinkPolicy": "14",
        "MACAddress": network.mac.replace(":", "-"),
        "PhysicalConnectionType": "0",
        "SharedDynamicIP": "true",
        "SharedMAC": "true",
        "SharedStaticIp": "false",
        "SubnetMask": network.netmask,
    }
    for name, address in zip(("PrimaryDNS", "SecondaryDNS"), network.dns, strict=False):
        settings[name] = address
    return [{name: text for name, text in settings.items() if text}]


def _setup(state: DeviceState) -> list[Properties]:
    return [
        {
            "CreationClassName": "AMT_SetupAndConfigurationService",
            "ElementName": "Intel(r) AMT Setup and Configuration Service",
            "EnabledState": "5",
            "Name": "Intel(r) AMT Setup and Configuration Service",
            "PasswordModel": "1",
            "ProvisioningMode": str(state.consent.mode.value),
            "ProvisioningServerOTP": "AAAAAAAAAAA=",
            "ProvisioningState": "2",
            "RequestedState": "12",
            "ZeroTouchConfigurationEnabled": "true",
            **_SYSTEM,
        }
    ]


def _host_based_setup(state: DeviceState) -> list[Properties]:
    is_admin = state.consent.mode is ProvisioningMode.ADMIN
    return [
        {
            "AllowedControlModes": ["2", "1"],
            "ConfigurationNonce": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "CreationClassName": "IPS_HostBasedSetupService",
            "CurrentControlMode": "2" if is_admin else "1",
            "ElementName": "Intel(r) AMT Host Based Setup Service",
            "Name": "Intel(r) AMT Host Based Setup Service",
            **_SYSTEM,
        }
    ]


def _redirection(state: DeviceState) -> list[Properties]:
    return [
        {
            "CreationClassName": "AMT_RedirectionService",
            "ElementName": "Intel(r) AMT Redirection Service",
            "EnabledState": str(state.redirection.value),
            "ListenerEnabled": _text(state.listener),
            "Name": "Intel(r) AMT Redirection Service",
            **_SYSTEM,
        }
    ]


def _capabilities(state: DeviceState) -> list[Properties]:
    manners = state.spec.wsman_manners
    capabilities = {
        "BIOSPause": "false",
        "BIOSReflash": "false",
        "BIOSSecureBoot": "true",
        "BIOSSetup": "true",
        "ConfigurationDataReset": "false",
        "ElementName": "Intel(r) AMT: Boot Capabilities",
        "ForceCDorDVDBoot": "true",
        "ForceDiagnosticBoot": "false",
        "ForceHardDriveBoot": "true",
        "ForcePXEBoot": "true",
        "ForcedProgressEvents": "true",
        "IDER": _text(manners.ider),
        "InstanceID": "Intel(r) AMT:BootCapabilities 0",
        "KeyboardLock": "true",
        "PlatformErase": "0",
        "PowerButtonLock": "false",
        "ResetButtonLock": "false",
        "SOL": "true",
        "SleepButtonLock": "false",
        "UserPasswordBypass": "true",
        "VerbosityQuiet": "false",
        "VerbosityScreenBlank": "false",
        "VerbosityVerbose": "false",
    }
    if state.spec.major >= 15:
        capabilities["ForceUEFIHTTPSBoot"] = _text(state.has_recovery)
        capabilities["ForceUEFILocalPBABoot"] = "false"
        capabilities["ForceWinREBoot"] = "false"
    return [capabilities]


def _boot_settings(state: DeviceState) -> list[Properties]:
    return [state.boot.properties()]


def _boot_configuration(state: DeviceState) -> list[Properties]:
    return [{"ElementName": "Intel(r) AMT: Boot Configuration", "InstanceID": BOOT_CONFIGURATION}]


def _boot_service(state: DeviceState) -> list[Properties]:
    return [
        {
            "CreationClassName": "CIM_BootService",
            "ElementName": "Intel(r) AMT Boot Service",
            "EnabledState": str(state.boot_service),
            "Name": "Intel(r) AMT Boot Service",
            "OperationalStatus": "0",
            "RequestedState": "12",
            **_SYSTEM,
        }
    ]


def _boot_sources(state: DeviceState) -> list[Properties]:
    names = sorted(SOURCES if state.has_recovery else SOURCES - {_RECOVERY_SOURCE})
    return [
        {
            "ElementName": name.partition(": ")[2],
            "FailThroughSupported": "2",
            "InstanceID": name,
            "StructuredBootString": f"CIM:{name.partition('Force ')[2]}:1",
        }
        for name in names
    ]


def _power(state: DeviceState) -> list[Properties]:
    cim = state.power.cim
    possible = ("8", "2", "5", "10") if state.power.counts_as_on else ("2",)
    known = state.spec.wsman_manners.power_capabilities
    return [
        {
            "AvailableRequestedPowerStates": list(possible) if known else [],
            "PowerState": str(cim),
            "RequestedPowerState": str(cim),
            "ServiceProvided": Reference("CIM_PowerManagementService", _POWER_SERVICE),
            "UserOfService": Reference("CIM_ComputerSystem", MANAGED_SYSTEM),
        }
    ]


def _power_service(state: DeviceState) -> list[Properties]:
    element = "Intel(r) AMT Power Management Service"
    return [{"ElementName": element, "EnabledState": "5", **_POWER_SERVICE}]


def _os_power_service(state: DeviceState) -> list[Properties]:
    saving = {SystemState.S0: "2", SystemState.MODERN_STANDBY: "3"}
    return [
        {
            "CreationClassName": "IPS_PowerManagementService",
            "ElementName": "Intel(r) AMT Power Management Service",
            "EnabledState": "5",
            "Name": "Intel(r) AMT Power Management Service",
            "OSPowerSavingState": saving.get(state.power, "0"),
            **_SYSTEM,
        }
    ]


def _opt_in(state: DeviceState) -> list[Properties]:
    may_change = state.consent.mode is ProvisioningMode.ADMIN
    return [
        {
            "CanModifyOptInPolicy": "1" if may_change else "0",
            "CreationClassName": "IPS_OptInService",
            "ElementName": "Intel(r) AMT OptIn Service",
            "Name": "Intel(r) AMT OptIn Service",
            "OptInCodeTimeout": "120",
            "OptInDisplayTimeout": "300",
            "OptInRequired": str(state.consent.policy.value),
            "OptInState": str(OptInState(state.consent.state).value),
            **_SYSTEM,
        }
    ]


def _kvm(state: DeviceState) -> list[Properties]:
    return [
        {
            "CreationClassName": "CIM_KVMRedirectionSAP",
            "ElementName": "KVM Redirection Service Access Point",
            "EnabledState": "2" if state.kvm_enabled else "3",
            "KVMProtocol": "4",
            "Name": "KVM Redirection Service Access Point",
            "RequestedState": "2" if state.kvm_enabled else "3",
            "SystemCreationClassName": "CIM_ComputerSystem",
            "SystemName": "ManagedSystem",
        }
    ]


def _kvm_settings(state: DeviceState) -> list[Properties]:
    return [
        {
            "BackToBackFbMode": "false",
            "ElementName": "Intel(r) KVM Redirection Settings",
            "EnabledByMEBx": "true",
            "InstanceID": "Intel(r) KVM Redirection Settings",
            "Is5900PortEnabled": "false",
            "OptInPolicy": "false",
            "OptInPolicyTimeout": "0",
            "SessionTimeout": "3",
        }
    ]


def _message_log(state: DeviceState) -> list[Properties]:
    return [
        {
            "CreationClassName": "AMT_MessageLog",
            "CurrentNumberOfRecords": str(len(state.events)),
            "ElementName": "Intel(r) AMT:MessageLog 1",
            "EnabledState": "2",
            "IsFrozen": "false",
            "MaxNumberOfRecords": "390",
            "Name": "Intel(r) AMT:MessageLog 1",
            "OverwritePolicy": "2",
        }
    ]


def _keys(state: DeviceState) -> list[Properties]:
    return [
        {
            "CreationClassName": "AMT_PublicKeyManagementService",
            "ElementName": "Intel(r) AMT Certificate Store Service",
            "EnabledState": "5",
            "Name": "Intel(r) AMT Public Key Management Service",
            **_SYSTEM,
        }
    ]


def _tls(state: DeviceState) -> list[Properties]:
    return [
        {
            "AcceptNonSecureConnections": _text(not state.spec.tls),
            "ElementName": f"Intel(r) AMT {where} TLS Settings",
            "Enabled": _text(state.spec.tls),
            "InstanceID": f"Intel(r) AMT {where} TLS Settings",
            "MutualAuthentication": _text(state.spec.mutual_tls),
        }
        for where in ("802.3", "LMS")
    ]


def _text(flag: bool) -> str:
    return "true" if flag else "false"


_CLASSES: dict[str, Callable[[DeviceState], list[Properties]]] = {
    "AMT_BootCapabilities": _capabilities,
    "AMT_BootSettingData": _boot_settings,
    "AMT_EthernetPortSettings": _ethernet,
    "AMT_GeneralSettings": _general,
    "AMT_MessageLog": _message_log,
    "AMT_PublicKeyManagementService": _keys,
    "AMT_RedirectionService": _redirection,
    "AMT_SetupAndConfigurationService": _setup,
    "AMT_TLSSettingData": _tls,
    "CIM_AssociatedPowerManagementService": _power,
    "CIM_BootConfigSetting": _boot_configuration,
    "CIM_BootService": _boot_service,
    "CIM_BootSourceSetting": _boot_sources,
    "CIM_Chassis": _chassis,
    "CIM_ComputerSystem": _computers,
    "CIM_ComputerSystemPackage": _package,
    "CIM_KVMRedirectionSAP": _kvm,
    "CIM_PowerManagementService": _power_service,
    "CIM_SoftwareIdentity": _software,
    "IPS_HostBasedSetupService": _host_based_setup,
    "IPS_KVMRedirectionSettingData": _kvm_settings,
    "IPS_OptInService": _opt_in,
    "IPS_PowerManagementService": _os_power_service,
}
