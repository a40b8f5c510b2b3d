"""Give AMT the root certificate by which the BIOS trusts our HTTPS server."""

from __future__ import annotations

import base64

from bootserver.amt.errors import AmtInDoubtError, AmtRefusedError
from bootserver.amt.reading import text
from bootserver.amt.values import Instance
from bootserver.amt.wsman import WsmanClient


async def push_root_certificate(client: WsmanClient, der: bytes) -> bool:
    """Whether the certificate had to be pushed; False, when AMT has had it."""
    if await _has(client, der):
        return False
    try:
        await client.invoke(
            "AMT_PublicKeyManagementService",
            "AddTrustedRootCertificate",
            {"CertificateBlob": base64.b64encode(der).decode()},
        )
    except (AmtInDoubtError, AmtRefusedError):
        # Somebody else may have pushed it at the same time, which AMT refuses as a duplicate.
        if await _has(client, der):
            return True
        raise
    return True


async def _has(client: WsmanClient, der: bytes) -> bool:
    return any(
        _der(certificate) == der
        for certificate in await client.enumerate("AMT_PublicKeyCertificate")
    )


def _der(certificate: Instance) -> bytes | None:
    try:
        return base64.b64decode("".join((text(certificate, "X509Certificate") or "").split()))
    except ValueError:
        return None
