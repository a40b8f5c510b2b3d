"""Tell AMT what the machine boots next, once. The power is the caller's; nothing resets here.

The order of the steps is the one that real firmware takes:

1. read the settings, and drop the boot order;
2. write the settings;
3. mark the configuration for the next boot only;
4. give the boot order.

Options that are set and not used stay for the next boot of any kind. So when a step fails they are
taken back (`clear_boot_options`). `AmtHosts.arming` does that for a boot that is given up.
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Awaitable, Callable, Collection, Mapping

from bootserver.amt.control.facts import AmtFacts, ControlMode
from bootserver.amt.control.probe import HTTPS_BOOT_SOURCE, RECOVERY_ON
from bootserver.amt.errors import (
    AmtConsentRequiredError,
    AmtError,
    AmtFaultError,
    AmtInDoubtError,
    AmtRefusedError,
)
from bootserver.amt.types import BootTarget
from bootserver.amt.wsman.client import WsmanClient
from bootserver.amt.wsman.envelopes import pointer
from bootserver.amt.wsman.values import Instance, Plain, optional, optional_flag, optional_number

_CONFIGURATION = pointer("CIM_BootConfigSetting", InstanceID="Intel(r) AMT: Boot Configuration 0")
_NEXT_BOOT_ONLY, _NOT_NEXT = 1, 32768  # SetBootConfigRole.Role
_UNKNOWN_ERROR, _ACCESS_DENIED = 2, 6
_RECOVERY_ONLY, _ERASE_ONLY, _BOTH = 32769, 32770, 32771  # CIM_BootService.EnabledState
_REDIRECTED_CD = 1  # IDERBootDevice; 0 is the floppy

# An ordinary boot. What a machine's settings lack, AMT does not know and would refuse.
_ORDINARY: Mapping[str, Plain] = {
    "BIOSPause": False,
    "BIOSSetup": False,
    "BootMediaIndex": 0,
    "ConfigurationDataReset": False,
    "FirmwareVerbosity": 0,
    "ForcedProgressEvents": False,
    "IDERBootDevice": 0,
    "LockKeyboard": False,
    "LockPowerButton": False,
    "LockResetButton": False,
    "LockSleepButton": False,
    "PlatformErase": False,
    "ReflashBIOS": False,
    "SecureErase": False,
    "UefiBootNumberOfParams": 0,
    "UseIDER": False,
    "UseSOL": False,
    "UseSafeMode": False,
    "UserPasswordBypass": False,
}
# Each target's capability, its boot source if it has one, and what differs from an ordinary boot.
_TARGETS: Mapping[BootTarget, tuple[str, str | None, Mapping[str, Plain]]] = {
    BootTarget.BIOS_SETUP: ("BIOSSetup", None, {"BIOSSetup": True}),
    BootTarget.DISK: ("ForceHardDriveBoot", "Intel(r) AMT: Force Hard-drive Boot", {}),
    BootTarget.CD: ("ForceCDorDVDBoot", "Intel(r) AMT: Force CD/DVD Boot", {}),
    BootTarget.PXE: ("ForcePXEBoot", "Intel(r) AMT: Force PXE Boot", {}),
}
# What can be read and not written.
_READ_ONLY = (
    "BIOSLastStatus",
    "BootguardStatus",
    "OptionsCleared",
    "RPEEnabled",
    "RSEPassword",
    "SecureBootControlEnabled",
    "UEFIHTTPSBootEnabled",
    "UEFILocalPBABootEnabled",
    "UefiBootParametersArray",
    "WinREBootEnabled",
)


async def boot_from_redirected_cd(
    client: WsmanClient, facts: AmtFacts, *, enforce_secure_boot: bool
) -> bool:
    """Boot next from the CD of our redirection session, which is open already.

    Returns whether Secure Boot is enforced: it stays so where AMT may not switch it off. Raises
    AmtConsentRequiredError, or AmtRefusedError with a sentence.
    """
    if facts.boot is not None and facts.boot.ider is False:
        raise AmtRefusedError("this machine's AMT cannot boot from a redirected CD")
    enforced = _enforced(facts, enforce_secure_boot)
    changes: dict[str, Plain] = {
        "UseIDER": True,
        "IDERBootDevice": _REDIRECTED_CD,
        "EnforceSecureBoot": enforced,
    }
    # No boot source: AMT refuses one beside redirection.
    await _arm(client, changes, source=None, facts=facts, adds={"UseIDER", "IDERBootDevice"})
    return enforced


async def boot_target(client: WsmanClient, target: BootTarget) -> None:
    """The next boot is into that: the BIOS's setup, or from its own disk, CD drive or network.

    Raises AmtRefusedError with a sentence where this machine cannot.
    """
    capability, source, changes = _TARGETS[target]
    if optional_flag(await optional(client.get("AMT_BootCapabilities")), capability) is False:
        raise AmtRefusedError(
            f"AMT cannot boot this machine to {target}",
            hint="choose it in the machine's own boot menu",
        )
    await _arm(client, changes, source=source, adds=changes.keys())


async def boot_from_https(
    client: WsmanClient, facts: AmtFacts, url: str, *, enforce_secure_boot: bool
) -> bool:
    """Boot next from an HTTPS URL, by One-Click Recovery, which is switched on if need be.

    The BIOS trusts the server by the root certificates in AMT. Returns and raises as
    `boot_from_redirected_cd` does. Secure Boot stays enforced also where AMT refuses to switch it
    off for this. Raises AmtError where AMT cannot carry the URL.
    """
    parameters = recovery_parameters(url)
    if not facts.recovery.ready:
        raise AmtRefusedError(
            f"One-Click Recovery is not ready: {'; '.join(facts.recovery.obstacles)}",
            hint="boot from the redirected CD instead",
        )
    await _switch_recovery_on(client)
    recovery: dict[str, Plain] = {
        "ForcedProgressEvents": True,  # else the event log does not say how far it came
        "UefiBootNumberOfParams": len(parameters),
        "UefiBootParametersArray": base64.b64encode(b"".join(parameters)).decode(),
    }

    async def arm(enforced: bool) -> bool:
        changes = recovery | {"EnforceSecureBoot": enforced}
        adds = {"UefiBootParametersArray"}
        await _arm(client, changes, source=HTTPS_BOOT_SOURCE, facts=facts, adds=adds)
        return enforced

    enforced = _enforced(facts, enforce_secure_boot)
    try:
        return await arm(enforced)
    except AmtRefusedError as refused:
        # AMT 16.1 takes no recovery without Secure Boot (device-management-toolkit/deployment#466).
        if enforced or refused.return_value != _UNKNOWN_ERROR:
            raise
        return await arm(True)


# A parameter of One-Click Recovery, little-endian; a list of them goes out in base64
# | offset | size | meaning |
# | 0      | 2    | vendor, 8086h |
# | 2      | 2    | type |
# | 4      | 4    | length of the value |
# | 8      | …    | value |
_PARAMETER = struct.Struct("<HHI")
_INTEL = 0x8086
_URL, _TRUST_ROOTS_OF_AMT, _TIMEOUT_S = 1, 20, 30
_URL_BYTES_MAX = 300


def recovery_parameters(url: str) -> list[bytes]:
    """What goes to the BIOS: where to fetch, to trust AMT's roots, and its own timeout.

    Raises AmtError where AMT cannot carry the URL.
    """
    if not url.startswith("https://"):
        raise AmtError(
            f"{url[:80]!r} is no HTTPS URL, and One-Click Recovery takes nothing else",
            hint="serve the image over HTTPS",
        )
    if not url.isascii() or not url.isprintable():
        raise AmtError("the URL is to be printable ASCII for One-Click Recovery")
    if len(url) > _URL_BYTES_MAX:
        raise AmtError(f"the URL has {len(url)} bytes; One-Click Recovery carries {_URL_BYTES_MAX}")
    values = {_URL: url.encode(), _TRUST_ROOTS_OF_AMT: b"\1", _TIMEOUT_S: bytes(2)}
    return [_PARAMETER.pack(_INTEL, kind, len(value)) + value for kind, value in values.items()]


async def clear_boot_options(client: WsmanClient) -> None:
    """The next boot is an ordinary one again, as if no other had been asked for.

    All steps are tried, for each helps; the first that failed is the error.
    """
    settings = await client.get("AMT_BootSettingData")
    failed: AmtError | None = None
    steps: tuple[Callable[[], Awaitable[None]], ...] = (
        lambda: _change_boot_order(client, None),
        lambda: client.put(_written(settings, {})),
        lambda: _set_role(client, _NOT_NEXT),
    )
    for step in steps:
        try:
            await step()
        except (AmtFaultError, AmtRefusedError, AmtInDoubtError) as err:
            failed = failed or err
    if failed is not None:
        raise failed


async def _arm(
    client: WsmanClient,
    changes: Mapping[str, Plain],
    *,
    source: str | None,
    facts: AmtFacts | None = None,
    adds: Collection[str] = (),
) -> None:
    settings = await client.get("AMT_BootSettingData")
    if optional_flag(settings, "UseIDER"):
        # Left over from a boot that never came: SetBootConfigRole would fail.
        await _take_back(client)
        settings = await client.get("AMT_BootSettingData")
    begun = False
    try:
        await _change_boot_order(client, None)
        begun = True  # from here on there is something to take back
        await client.put(_written(settings, changes, adds))
        await _set_role(client, _NEXT_BOOT_ONLY)
        await _change_boot_order(client, source)
    except asyncio.CancelledError:
        if begun:
            await _take_back(client)
        raise
    except AmtError as err:
        if begun:
            await _take_back(client)
        if _wants_consent(err, facts):
            raise AmtConsentRequiredError(
                "AMT boots this machine from afar only after a user there has consented",
                return_value=_ACCESS_DENIED,
                hint="ask for the code on the machine's screen",
            ) from err
        raise


async def _take_back(client: WsmanClient) -> None:
    try:
        await clear_boot_options(client)
    except AmtError:
        return  # the step that failed, or the next one, says what is wrong


def _wants_consent(err: AmtError, facts: AmtFacts | None) -> bool:
    """Whether AMT says no, and that can only be for want of consent."""
    match err:
        case AmtRefusedError(return_value=return_value):
            denied = return_value == _ACCESS_DENIED
        case AmtFaultError(subcode=subcode):
            denied = subcode == "AccessDenied"
        case _:
            denied = False
    return denied and facts is not None and facts.consent_demanded


def _enforced(facts: AmtFacts, asked: bool) -> bool:
    """Whether Secure Boot is enforced: a switch that AMT has in admin mode, if the BIOS lets it."""
    return asked or facts.control_mode is ControlMode.CLIENT or facts.secure_boot_control is False


def _written(
    settings: Instance, changes: Mapping[str, Plain], adds: Collection[str] = ()
) -> Instance:
    """The settings to write: an ordinary boot with changes, without what AMT only tells."""
    wanted = {**_ORDINARY, **changes}
    return settings.changed(
        {name: value for name, value in wanted.items() if name in settings or name in adds},
        without=[name for name in _READ_ONLY if name not in adds],
    )


async def _change_boot_order(client: WsmanClient, source: str | None) -> None:
    # No source is no element: CSME 16.1 refuses an empty one.
    boot_from = pointer("CIM_BootSourceSetting", InstanceID=source) if source else None
    await client.invoke("CIM_BootConfigSetting", "ChangeBootOrder", {"Source": boot_from})


async def _set_role(client: WsmanClient, role: int) -> None:
    await client.invoke(
        "CIM_BootService",
        "SetBootConfigRole",
        {"BootConfigSetting": _CONFIGURATION, "Role": role},
    )


async def _switch_recovery_on(client: WsmanClient) -> None:
    state = optional_number(await client.get("CIM_BootService"), "EnabledState")
    if state in RECOVERY_ON:
        return
    wanted = _BOTH if state == _ERASE_ONLY else _RECOVERY_ONLY
    try:
        await client.invoke("CIM_BootService", "RequestStateChange", {"RequestedState": wanted})
    except AmtInDoubtError:
        state = optional_number(await client.get("CIM_BootService"), "EnabledState")
        if state not in RECOVERY_ON:
            raise
