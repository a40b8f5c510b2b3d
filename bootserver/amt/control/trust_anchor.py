"""Give AMT the root certificate by which the BIOS trusts our HTTPS server."""

from __future__ import annotations

import base64
from contextlib import suppress

from bootserver.amt.errors import AmtInDoubtError, AmtRefusedError
from bootserver.amt.wsman.client import WsmanClient
from bootserver.amt.wsman.return_values import DUPLICATE
from bootserver.amt.wsman.values import optional, optional_text


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
    except AmtRefusedError as err:
        if err.return_value == DUPLICATE:
            return False
        raise
    except AmtInDoubtError:
        if not await _has(client, der):
            raise
    return True


async def _has(client: WsmanClient, der: bytes) -> bool:
    # Some AMT lists none of its classes; it tells of a duplicate all the same.
    certificates = await optional(client.enumerate("AMT_PublicKeyCertificate")) or []
    for certificate in certificates:
        text = "".join((optional_text(certificate, "X509Certificate") or "").split())
        with suppress(ValueError):  # what is not base64 is another one
            if base64.b64decode(text) == der:
                return True
    return False
