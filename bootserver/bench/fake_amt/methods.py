"""What a device does when it is asked to: the Puts and the methods of its classes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509

from bootserver.bench.fake_amt import event_log
from bootserver.bench.fake_amt.instances import BOOT_CONFIGURATION, MANAGED_SYSTEM
from bootserver.bench.fake_amt.soap import (
    FaultError,
    Properties,
    PropertyValue,
    Reference,
    schema_violation,
)
from bootserver.bench.fake_amt.spec import (
    OptInRequired,
    ProvisioningMode,
    RedirectionSetting,
    SystemState,
)
from bootserver.bench.fake_amt.state import BOOT_SERVICE_ALL, BOOT_SERVICE_NONE, DeviceState

OK = 0
NOT_SUPPORTED = 1
INVALID_REFERENCE = 4
INVALID_PARAMETER = 5
ACCESS_DENIED = 6
NOT_PERMITTED = 0x10
CONSENT_REQUIRED = 0x821
_RECORDS_LIMIT = 390


class Hardware(Protocol):
    """What methods change outside the device's memory."""

    async def request_power(self, power: int) -> int:
        """Do, or begin to do, a power action; CIM's return value."""

    async def listen(self, on: bool) -> None:
        """Open or close the redirection port."""


@dataclass(frozen=True, slots=True)
class Input:
    """A method's parameters; asking for one that is not as it must be raises FaultError."""

    values: Mapping[str, Sequence[PropertyValue]]

    def only(self, *names: str) -> None:
        """Refuse all parameters but these."""
        for name in self.values:
            if name not in names:
                raise schema_violation(f"{name} is no parameter")

    def text(self, name: str) -> str:
        """The one text of that name."""
        values = self.values.get(name, ())
        if len(values) != 1 or not isinstance(values[0], str) or not values[0]:
            raise schema_violation(f"{name} must be one value")
        return values[0]

    def number(self, name: str) -> int:
        """The one number of that name."""
        text = self.text(name)
        if not text.isdecimal():
            raise schema_violation(f"{name} must be a number")
        return int(text)

    def references(self, name: str, class_name: str) -> list[Reference]:
        """All references of that name, to instances of that class."""
        references = []
        for value in self.values.get(name, ()):
            # An empty element is none: CSME 16.1 calls it a violation of the schema, too.
            if not isinstance(value, Reference) or value.class_name != class_name:
                raise schema_violation(f"{name} must refer to a {class_name}")
            references.append(value)
        return references


async def invoke(
    state: DeviceState, hardware: Hardware, class_name: str, method: str, inputs: Input
) -> Properties:
    """What the method returns, its ReturnValue included; raises FaultError when there is none."""
    if (class_name, method) == ("CIM_PowerManagementService", "RequestPowerStateChange"):
        return _returned(await _request_power(hardware, inputs))
    try:
        act = _METHODS[class_name, method]
    except KeyError:
        raise FaultError("wsa:ActionNotSupported", f"{class_name} has no {method}") from None
    returned = act(state, inputs)
    if class_name == "AMT_RedirectionService":
        await hardware.listen(state.listener)
    return _returned(returned)


async def put(state: DeviceState, hardware: Hardware, class_name: str, inputs: Input) -> None:
    """Change an instance; raises FaultError for a change that the device refuses."""
    try:
        change = _PUTS[class_name]
    except KeyError:
        raise FaultError("wsa:ActionNotSupported", f"{class_name} cannot be put") from None
    change(state, inputs)
    if class_name == "AMT_RedirectionService":
        await hardware.listen(state.listener)


def _returned(returned: Properties | int) -> Properties:
    return {"ReturnValue": str(returned)} if isinstance(returned, int) else returned


async def _request_power(hardware: Hardware, inputs: Input) -> int:
    inputs.only("PowerState", "ManagedElement", "Time", "TimeoutPeriod")
    elements = inputs.references("ManagedElement", "CIM_ComputerSystem")
    # By its Name alone, too: so PyPI's amt has it.
    named = [{"CreationClassName": "CIM_ComputerSystem", **one.selectors} for one in elements]
    if named != [MANAGED_SYSTEM]:
        return INVALID_PARAMETER
    return await hardware.request_power(inputs.number("PowerState"))


def _without_consent(state: DeviceState) -> int:
    """What is returned instead of doing what needs consent; 0 when there is no such need."""
    if not state.consent.is_missing:
        return OK
    return ACCESS_DENIED if state.consent.mode is ProvisioningMode.CLIENT else CONSENT_REQUIRED


def _change_boot_order(state: DeviceState, inputs: Input) -> int:
    inputs.only("Source")
    sources = inputs.references("Source", "CIM_BootSourceSetting")
    if refused := _without_consent(state):
        return refused
    if len(sources) > 1:
        return INVALID_PARAMETER
    name = sources[0].selectors.get("InstanceID", "?") if sources else ""
    return state.boot.change_order(name, has_recovery=state.recovery_is_on)


def _set_boot_config_role(state: DeviceState, inputs: Input) -> int:
    inputs.only("BootConfigSetting", "Role")
    settings = inputs.references("BootConfigSetting", "CIM_BootConfigSetting")
    if refused := _without_consent(state):
        return refused
    if [setting.selectors for setting in settings] != [{"InstanceID": BOOT_CONFIGURATION}]:
        return INVALID_REFERENCE
    return state.boot.set_role(inputs.number("Role"))


def _boot_service_state(state: DeviceState, inputs: Input) -> int:
    inputs.only("RequestedState", "TimeoutPeriod")
    requested = inputs.number("RequestedState")
    if not BOOT_SERVICE_NONE <= requested <= BOOT_SERVICE_ALL:
        return INVALID_PARAMETER
    if not state.has_recovery:
        return NOT_SUPPORTED
    state.boot_service = requested
    return OK


def _redirection_state(state: DeviceState, inputs: Input) -> int:
    inputs.only("RequestedState", "TimeoutPeriod")
    try:
        requested = RedirectionSetting(inputs.number("RequestedState"))
    except ValueError:
        return INVALID_PARAMETER
    # By which value firmware says so, is not known: this is our guess.
    if requested & ~state.spec.mebx:
        return NOT_PERMITTED
    state.redirection = requested
    if state.spec.wsman_manners.listener_follows_state:
        state.listener = state.redirection is not RedirectionSetting.NONE
    return OK


def _os_power(state: DeviceState, inputs: Input) -> int:
    inputs.only("OSPowerSavingState", "ManagedElement", "Time", "TimeoutPeriod")
    requested = inputs.number("OSPowerSavingState")
    if requested not in (2, 3):
        return INVALID_PARAMETER
    if requested == 2 and state.power is SystemState.MODERN_STANDBY:
        state.power = SystemState.S0
    return OK


def _start_opt_in(state: DeviceState, inputs: Input) -> int:
    inputs.only()
    return state.consent.start(powered_on=state.is_on)


def _send_opt_in(state: DeviceState, inputs: Input) -> int:
    inputs.only("OptInCode")
    return state.consent.send(inputs.text("OptInCode"))


def _cancel_opt_in(state: DeviceState, inputs: Input) -> int:
    inputs.only()
    state.boot.clear()  # what was set up under the consent lapses with it
    return state.consent.cancel()


def _kvm_state(state: DeviceState, inputs: Input) -> int:
    inputs.only("RequestedState", "TimeoutPeriod")
    requested = inputs.number("RequestedState")
    if requested not in (2, 3):
        return INVALID_PARAMETER
    state.kvm_enabled = requested == 2
    return OK


def _first_record(state: DeviceState, inputs: Input) -> Properties:
    inputs.only()
    return {"IterationIdentifier": "1", "ReturnValue": "0" if state.events else "2"}


def _records(state: DeviceState, inputs: Input) -> Properties:
    inputs.only("IterationIdentifier", "MaxReadRecords")
    first, most = inputs.number("IterationIdentifier"), inputs.number("MaxReadRecords")
    if not 1 <= most <= _RECORDS_LIMIT or not 1 <= first <= len(state.events):
        return {"ReturnValue": "2"}
    newest_first = state.events[::-1]
    given_out = newest_first[first - 1 : first - 1 + most]
    after = first + len(given_out)
    return {
        "IterationIdentifier": str(after),
        "NoMoreRecords": "true" if after > len(state.events) else "false",
        "RecordArray": [base64.b64encode(event.record()).decode() for event in given_out],
        "ReturnValue": "0",
    }


def _add_root(state: DeviceState, inputs: Input) -> Properties | int:
    inputs.only("CertificateBlob")
    try:
        der = base64.b64decode(inputs.text("CertificateBlob"), validate=True)
        x509.load_der_x509_certificate(der)
    except (binascii.Error, ValueError):
        return 36  # AMT status 0x24: invalid parameter
    if der in state.roots:
        return 2058  # AMT status 0x80A: it has that already
    state.roots.append(der)
    handle = f"Intel(r) AMT Certificate: Handle: {len(state.roots) - 1}"
    created = Reference("AMT_PublicKeyCertificate", {"InstanceID": handle})
    return {"CreatedCertificate": created, "ReturnValue": "0"}


def _put_boot_settings(state: DeviceState, inputs: Input) -> None:
    if state.consent.is_missing:
        raise FaultError("wsman:AccessDenied", "user consent is required")
    texts: dict[str, list[str]] = {}
    for name, values in inputs.values.items():
        texts[name] = [value for value in values if isinstance(value, str)]
        if len(texts[name]) != len(values):
            raise schema_violation(f"{name} is no reference")
    if "InstanceID" not in texts:
        raise schema_violation("no InstanceID")
    if (
        state.consent.mode is ProvisioningMode.CLIENT
        and texts.get("EnforceSecureBoot") == ["false"]
        and state.has_recovery
    ):
        raise FaultError("wsman:AccessDenied", "Secure Boot is enforced in client control mode")
    state.boot.put(texts)


def _put_redirection(state: DeviceState, inputs: Input) -> None:
    if state.spec.wsman_manners.listener_follows_state:
        raise schema_violation("AMT_RedirectionService cannot be put")
    listener, enabled = inputs.text("ListenerEnabled"), inputs.number("EnabledState")
    if listener not in ("true", "false") or enabled not in list(RedirectionSetting):
        raise schema_violation(f"ListenerEnabled {listener}, EnabledState {enabled}")
    if enabled & ~state.spec.mebx:
        raise FaultError("wsman:AccessDenied", "that is off in MEBx")
    state.listener = listener == "true"
    state.redirection = RedirectionSetting(enabled)


def _put_opt_in(state: DeviceState, inputs: Input) -> None:
    if state.consent.mode is ProvisioningMode.CLIENT:
        raise FaultError("wsman:AccessDenied", "client control mode always asks for consent")
    try:
        state.consent.policy = OptInRequired(inputs.number("OptInRequired"))
    except ValueError as err:
        raise schema_violation(str(err)) from err


def _put_kvm_settings(state: DeviceState, inputs: Input) -> None:
    password = inputs.values.get("RFBPassword", ())
    if password and (len(password) != 1 or len(str(password[0])) != 8):
        raise FaultError("wsman:InvalidParameter", "RFBPassword has exactly 8 characters")
    if inputs.values.get("Is5900PortEnabled") == ["true"] and state.spec.major >= 12:
        raise FaultError("wsman:InvalidParameter", "there is no port 5900 any more")
    if password:
        state.kvm_password = str(password[0])


def login_failed(state: DeviceState) -> None:
    """Remember in the event log that a console had the wrong password."""
    state.events.append(event_log.login_failed(state.now_s()))


_METHODS: dict[tuple[str, str], Callable[[DeviceState, Input], Properties | int]] = {
    ("AMT_MessageLog", "GetRecords"): _records,
    ("AMT_MessageLog", "PositionToFirstRecord"): _first_record,
    ("AMT_PublicKeyManagementService", "AddTrustedRootCertificate"): _add_root,
    ("AMT_RedirectionService", "RequestStateChange"): _redirection_state,
    ("CIM_BootConfigSetting", "ChangeBootOrder"): _change_boot_order,
    ("CIM_BootService", "RequestStateChange"): _boot_service_state,
    ("CIM_BootService", "SetBootConfigRole"): _set_boot_config_role,
    ("CIM_KVMRedirectionSAP", "RequestStateChange"): _kvm_state,
    ("IPS_OptInService", "CancelOptIn"): _cancel_opt_in,
    ("IPS_OptInService", "SendOptInCode"): _send_opt_in,
    ("IPS_OptInService", "StartOptIn"): _start_opt_in,
    ("IPS_PowerManagementService", "RequestOSPowerSavingStateChange"): _os_power,
}
_PUTS: dict[str, Callable[[DeviceState, Input], None]] = {
    "AMT_BootSettingData": _put_boot_settings,
    "AMT_RedirectionService": _put_redirection,
    "IPS_KVMRedirectionSettingData": _put_kvm_settings,
    "IPS_OptInService": _put_opt_in,
}
