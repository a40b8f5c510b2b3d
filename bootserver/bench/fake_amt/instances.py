"""The CIM instances that a device shows: a table of classes, and their properties.

A property is a text, or a function of the device's state. One that is None is left out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence

from bootserver.bench.fake_amt.boot import SOURCES
from bootserver.bench.fake_amt.soap import (
    FaultError,
    Properties,
    PropertyValue,
    Reference,
    flag_text,
)
from bootserver.bench.fake_amt.spec import ProvisioningMode, SystemState
from bootserver.bench.fake_amt.state import DeviceState

Shown = PropertyValue | Sequence[PropertyValue] | None
Template = Mapping[str, Shown | Callable[[DeviceState], Shown]]

_SYSTEM = {"SystemCreationClassName": "CIM_ComputerSystem", "SystemName": "Intel(r) AMT"}
MANAGED_SYSTEM = {"CreationClassName": "CIM_ComputerSystem", "Name": "ManagedSystem"}
BOOT_CONFIGURATION = "Intel(r) AMT: Boot Configuration 0"
_POWER_SERVICE = {
    "CreationClassName": "CIM_PowerManagementService",
    "Name": "Intel(r) AMT Power Management Service",
    **_SYSTEM,
}
_CHASSIS = {"CreationClassName": "CIM_Chassis", "Tag": "CIM_Chassis"}
_RECOVERY_SOURCE = "Intel(r) AMT: Force OCR UEFI HTTPS Boot"
_SAVING = {SystemState.S0: "2", SystemState.MODERN_STANDBY: "3"}
# AMT 10 and older: Enumerate is refused for these (field experience), Get is not.
_GET_ONLY_UNTIL_10 = "AMT_"


def _version(state: DeviceState) -> str:
    return state.spec.version


def _dns(state: DeviceState, number: int) -> str | None:
    servers = state.spec.network.dns
    return servers[number] if number < len(servers) else None


def _from_15_on(state: DeviceState, value: bool) -> str | None:
    return flag_text(value) if state.spec.major >= 15 else None


def _offered_powers(state: DeviceState) -> list[str]:
    if not state.spec.wsman_manners.power_capabilities:
        return []
    return ["8", "2", "5", "10"] if state.power.counts_as_on else ["2"]


_SOFTWARE: Template = {
    "Flash": _version,
    "Netstack": _version,
    "AMTApps": _version,
    "AMT": _version,
    "Sku": lambda state: state.spec.sku,
    "VendorID": "8086",
    "Build Number": "1000",
    "Recovery Version": _version,
    "Recovery Build Num": "1000",
    "Legacy Mode": "False",
}
_INSTANCES: Mapping[str, Sequence[Template]] = {
    "AMT_BootCapabilities": [
        {
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
            "IDER": lambda state: flag_text(state.spec.wsman_manners.ider),
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
            "ForceUEFIHTTPSBoot": lambda state: _from_15_on(state, state.has_recovery),
            "ForceUEFILocalPBABoot": lambda state: _from_15_on(state, False),
            "ForceWinREBoot": lambda state: _from_15_on(state, False),
        }
    ],
    "AMT_EthernetPortSettings": [
        {
            "DHCPEnabled": lambda state: flag_text(state.spec.network.dhcp),
            "DefaultGateway": lambda state: state.spec.network.gateway or None,
            "ElementName": "Intel(r) AMT Ethernet Port Settings",
            "IPAddress": lambda state: state.spec.network.address or None,
            "InstanceID": "Intel(r) AMT Ethernet Port Settings 0",
            "IpSyncEnabled": "true",
            "LinkIsUp": lambda state: flag_text(state.spec.network.link_up),
            "LinkPolicy": "14",
            "MACAddress": lambda state: state.spec.network.mac.replace(":", "-") or None,
            "PhysicalConnectionType": "0",
            "SharedDynamicIP": "true",
            "SharedMAC": "true",
            "SharedStaticIp": "false",
            "SubnetMask": lambda state: state.spec.network.netmask or None,
            "PrimaryDNS": lambda state: _dns(state, 0),
            "SecondaryDNS": lambda state: _dns(state, 1),
        }
    ],
    "AMT_GeneralSettings": [
        {
            "AMTNetworkEnabled": "1",
            "DDNSUpdateEnabled": "false",
            "DHCPSyncRequiresHostname": "1",
            "DigestRealm": lambda state: state.realm,
            "DomainName": lambda state: state.spec.domain_name,
            "ElementName": "Intel(r) AMT: General Settings",
            "HostName": lambda state: state.spec.host_name,
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
    ],
    "AMT_MessageLog": [
        {
            "CreationClassName": "AMT_MessageLog",
            "CurrentNumberOfRecords": lambda state: str(len(state.events)),
            "ElementName": "Intel(r) AMT:MessageLog 1",
            "EnabledState": "2",
            "IsFrozen": "false",
            "MaxNumberOfRecords": "390",
            "Name": "Intel(r) AMT:MessageLog 1",
            "OverwritePolicy": "2",
        }
    ],
    "AMT_PublicKeyManagementService": [
        {
            "CreationClassName": "AMT_PublicKeyManagementService",
            "ElementName": "Intel(r) AMT Certificate Store Service",
            "EnabledState": "5",
            "Name": "Intel(r) AMT Public Key Management Service",
            **_SYSTEM,
        }
    ],
    "AMT_RedirectionService": [
        {
            "CreationClassName": "AMT_RedirectionService",
            "ElementName": "Intel(r) AMT Redirection Service",
            "EnabledState": lambda state: str(state.redirection.value),
            "ListenerEnabled": lambda state: flag_text(state.listener),
            "Name": "Intel(r) AMT Redirection Service",
            **_SYSTEM,
        }
    ],
    "AMT_SetupAndConfigurationService": [
        {
            "CreationClassName": "AMT_SetupAndConfigurationService",
            "ElementName": "Intel(r) AMT Setup and Configuration Service",
            "EnabledState": "5",
            "Name": "Intel(r) AMT Setup and Configuration Service",
            "PasswordModel": "1",
            "ProvisioningMode": lambda state: str(state.consent.mode.value),
            "ProvisioningServerOTP": "AAAAAAAAAAA=",
            "ProvisioningState": "2",
            "RequestedState": "12",
            "ZeroTouchConfigurationEnabled": "true",
            **_SYSTEM,
        }
    ],
    "AMT_TLSSettingData": [
        {
            "AcceptNonSecureConnections": lambda state: flag_text(not state.spec.tls),
            "ElementName": f"Intel(r) AMT {where} TLS Settings",
            "Enabled": lambda state: flag_text(state.spec.tls),
            "InstanceID": f"Intel(r) AMT {where} TLS Settings",
            "MutualAuthentication": lambda state: flag_text(state.spec.mutual_tls),
        }
        for where in ("802.3", "LMS")
    ],
    "CIM_AssociatedPowerManagementService": [
        {
            "AvailableRequestedPowerStates": _offered_powers,
            "PowerState": lambda state: str(state.power.cim),
            "RequestedPowerState": lambda state: str(state.power.cim),
            "ServiceProvided": Reference("CIM_PowerManagementService", _POWER_SERVICE),
            "UserOfService": Reference("CIM_ComputerSystem", MANAGED_SYSTEM),
        }
    ],
    "CIM_BootConfigSetting": [
        {"ElementName": "Intel(r) AMT: Boot Configuration", "InstanceID": BOOT_CONFIGURATION}
    ],
    "CIM_BootService": [
        {
            "CreationClassName": "CIM_BootService",
            "ElementName": "Intel(r) AMT Boot Service",
            "EnabledState": lambda state: str(state.boot_service),
            "Name": "Intel(r) AMT Boot Service",
            "OperationalStatus": "0",
            "RequestedState": "12",
            **_SYSTEM,
        }
    ],
    "CIM_BootSourceSetting": [
        {
            "ElementName": name.partition(": ")[2],
            "FailThroughSupported": "2",
            "InstanceID": name,
            "StructuredBootString": f"CIM:{name.partition('Force ')[2]}:1",
        }
        for name in sorted(SOURCES)
    ],
    "CIM_Chassis": [
        {
            "ChassisPackageType": "0",
            "ElementName": "Managed System Chassis",
            "Manufacturer": lambda state: state.spec.manufacturer,
            "Model": lambda state: state.spec.product,
            "OperationalStatus": "0",
            "PackageType": "3",
            "SerialNumber": lambda state: state.spec.serial,
            "Version": "1.0",
            **_CHASSIS,
        }
    ],
    "CIM_ComputerSystem": [
        {**MANAGED_SYSTEM, "ElementName": "Managed System", "EnabledState": "2"},
        {
            "CreationClassName": "CIM_ComputerSystem",
            "ElementName": "Intel(r) AMT Subsystem",
            "EnabledState": "2",
            "Name": "Intel(r) AMT",
        },
    ],
    "CIM_ComputerSystemPackage": [
        {
            "Antecedent": Reference("CIM_Chassis", _CHASSIS),
            "Dependent": Reference("CIM_ComputerSystem", MANAGED_SYSTEM),
            # As SMBIOS has it in memory
            "PlatformGUID": lambda state: uuid.UUID(state.spec.uuid).bytes_le.hex().upper(),
        }
    ],
    "CIM_KVMRedirectionSAP": [
        {
            "CreationClassName": "CIM_KVMRedirectionSAP",
            "ElementName": "KVM Redirection Service Access Point",
            "EnabledState": lambda state: "2" if state.kvm_enabled else "3",
            "KVMProtocol": "4",
            "Name": "KVM Redirection Service Access Point",
            "RequestedState": lambda state: "2" if state.kvm_enabled else "3",
            "SystemCreationClassName": "CIM_ComputerSystem",
            "SystemName": "ManagedSystem",
        }
    ],
    "CIM_PowerManagementService": [
        {
            "ElementName": "Intel(r) AMT Power Management Service",
            "EnabledState": "5",
            **_POWER_SERVICE,
        }
    ],
    "CIM_SoftwareIdentity": [
        {"InstanceID": name, "IsEntity": "true", "VersionString": version}
        for name, version in _SOFTWARE.items()
    ],
    "IPS_HostBasedSetupService": [
        {
            "AllowedControlModes": ["2", "1"],
            "ConfigurationNonce": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "CreationClassName": "IPS_HostBasedSetupService",
            "CurrentControlMode": (
                lambda state: "2" if state.consent.mode is ProvisioningMode.ADMIN else "1"
            ),
            "ElementName": "Intel(r) AMT Host Based Setup Service",
            "Name": "Intel(r) AMT Host Based Setup Service",
            **_SYSTEM,
        }
    ],
    "IPS_KVMRedirectionSettingData": [
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
    ],
    "IPS_OptInService": [
        {
            "CanModifyOptInPolicy": (
                lambda state: "1" if state.consent.mode is ProvisioningMode.ADMIN else "0"
            ),
            "CreationClassName": "IPS_OptInService",
            "ElementName": "Intel(r) AMT OptIn Service",
            "Name": "Intel(r) AMT OptIn Service",
            "OptInCodeTimeout": "120",
            "OptInDisplayTimeout": "300",
            "OptInRequired": lambda state: str(state.consent.policy.value),
            "OptInState": lambda state: str(state.consent.state.value),
            **_SYSTEM,
        }
    ],
    "IPS_PowerManagementService": [
        {
            "CreationClassName": "IPS_PowerManagementService",
            "ElementName": "Intel(r) AMT Power Management Service",
            "EnabledState": "5",
            "Name": "Intel(r) AMT Power Management Service",
            "OSPowerSavingState": lambda state: _SAVING.get(state.power, "0"),
            **_SYSTEM,
        }
    ],
}


def instances_of(state: DeviceState, class_name: str) -> list[Properties]:
    """All instances of that class; raises FaultError when this device has no such class."""
    if class_name.startswith(("CIM_KVM", "IPS_KVM")) and not state.spec.wsman_manners.kvm:
        raise FaultError("wsa:DestinationUnreachable", "no KVM on this SKU")
    if class_name == "AMT_BootSettingData":
        return [state.boot.properties()]
    if class_name not in _INSTANCES:
        raise FaultError("wsa:DestinationUnreachable", f"no {class_name} here")
    instances: list[Properties] = []
    for template in _INSTANCES[class_name]:
        if template.get("InstanceID") == _RECOVERY_SOURCE and not state.has_recovery:
            continue
        shown = {
            name: value(state) if callable(value) else value for name, value in template.items()
        }
        instances.append({name: value for name, value in shown.items() if value is not None})
    return instances


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
