"""Switch the remote screen (KVM) on, and say where a viewer finds it."""

from __future__ import annotations

from dataclasses import dataclass

from bootserver.amt.errors import AmtFaultError, AmtInDoubtError, AmtRefusedError
from bootserver.amt.wsman.client import WsmanClient
from bootserver.amt.wsman.values import Instance, Plain, optional_flag, optional_number

VNC_PORT = 5900
REDIRECTION_PORT, REDIRECTION_TLS_PORT = 16994, 16995
PASSWORD_CHARACTERS = 8
_FORBIDDEN = ':,"'
_ENABLE = 2
_ENABLED = (2, 6)  # CIM_KVMRedirectionSAP.EnabledState: on, or on and in use


@dataclass(frozen=True)
class KvmAddress:
    """Where the screen is. With `vnc` any VNC viewer does, else it takes one that knows AMT."""

    host: str
    port: int
    vnc: bool


async def enable_kvm(client: WsmanClient, rfb_password: str) -> KvmAddress:
    """Where the screen is, once it is switched on with this password for VNC viewers.

    New firmware has no port for plain viewers any more; then the address is that of redirection.
    Raises AmtRefusedError where the password is not one for AMT, or the machine has no KVM.
    """
    _check_password(rfb_password)
    if not await _is_enabled(client):
        try:
            await client.invoke(
                "CIM_KVMRedirectionSAP", "RequestStateChange", {"RequestedState": _ENABLE}
            )
        except AmtInDoubtError:
            if not await _is_enabled(client):
                raise
    settings = await client.get("IPS_KVMRedirectionSettingData")
    if optional_flag(settings, "EnabledByMEBx") is False:
        raise AmtRefusedError(
            "KVM is switched off in MEBx, and can be switched on only at the machine"
        )
    password: dict[str, Plain] = {"RFBPassword": rfb_password}
    try:
        await client.put(_written(settings, password | {"Is5900PortEnabled": True}))
    except AmtFaultError:
        # A fault changes nothing. New firmware knows the property and refuses it.
        await client.put(_written(settings, password))
    settings = await client.get("IPS_KVMRedirectionSettingData")
    if optional_flag(settings, "Is5900PortEnabled"):
        return KvmAddress(client.host, VNC_PORT, vnc=True)
    port = REDIRECTION_TLS_PORT if client.encrypted else REDIRECTION_PORT
    return KvmAddress(client.host, port, vnc=False)


async def _is_enabled(client: WsmanClient) -> bool:
    try:
        port = await client.get("CIM_KVMRedirectionSAP")
    except AmtFaultError as err:
        if err.subcode != "DestinationUnreachable":
            raise
        raise AmtRefusedError(
            "this machine has no KVM", hint="it takes a processor with Intel graphics, and vPro"
        ) from err
    return optional_number(port, "EnabledState") in _ENABLED


def _written(settings: Instance, changes: dict[str, Plain]) -> Instance:
    known = {name: value for name, value in changes.items() if name in settings}
    return settings.changed({**known, "RFBPassword": changes["RFBPassword"]})


def _check_password(password: str) -> None:
    """Intel's rule for strong passwords; the sentence never shows it."""
    printable = password.isascii() and password.isprintable()
    if len(password) != PASSWORD_CHARACTERS or not printable:
        raise AmtRefusedError(
            f"a KVM password has exactly {PASSWORD_CHARACTERS} printable ASCII characters"
        )
    if any(character in _FORBIDDEN for character in password):
        raise AmtRefusedError("a KVM password has no colon, comma or quotation mark")
    if not (
        any(character.islower() for character in password)
        and any(character.isupper() for character in password)
        and any(character.isdigit() for character in password)
        and any(not character.isalnum() and character not in "_ " for character in password)
    ):
        raise AmtRefusedError(
            "a KVM password has a small and a capital letter, a digit and a special character",
            hint="the underscore and the blank do not count as special",
        )
