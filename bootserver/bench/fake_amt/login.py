"""The digest login of both of AMT's ports: RFC 2617, MD5, checked from the server's side.

Theory of operation. Each challenge has a nonce of its own, which is kept with the counts that it
was used with. A proof is good if it is right for one of these nonces, with a count that is new.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping

# Digest challenges and answers are lists of name=token or name="quoted text" (RFC 2617 §3.2).
_PAIR = re.compile(r'\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')


def md5_hex(text: str) -> str:
    """MD5 of that text, as digest authentication writes it."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def make_realm() -> str:
    """A realm as AMT makes one when it is set up."""
    return f"Digest:{secrets.token_hex(16).upper()}"


class HttpLogin:
    """Checks Authorization headers against one user; knows the nonces it gave out."""

    def __init__(self, user: str, password: str, realm: str) -> None:
        self.realm = realm
        self._user = user
        self._secret = md5_hex(f"{user}:{realm}:{password}")
        self._counts: dict[str, set[str]] = {}  # by nonce: the counts it was used with

    def challenge(self, *, stale: bool = False) -> str:
        """A WWW-Authenticate header with a new nonce."""
        nonce = secrets.token_hex(16)
        self._counts[nonce] = set()
        return (
            f'Digest realm="{self.realm}", nonce="{nonce}", '
            f'stale="{"true" if stale else "false"}", qop="auth"'
        )

    def admits(self, authorization: str, method: str, path: str) -> str:
        """The nonce with which that header proves the password for this request; else ""."""
        kind, _, rest = authorization.partition(" ")
        if kind.lower() != "digest":
            return ""
        fields = _parse_pairs(rest)
        try:
            nonce, count = fields["nonce"], fields["nc"]
            right = (
                fields["username"] == self._user
                and fields["realm"] == self.realm
                and fields["qop"] == "auth"
                and fields.get("algorithm", "MD5").upper() == "MD5"
                and bool(fields["cnonce"])
                and bool(re.fullmatch("[0-9a-f]{8}", count, re.IGNORECASE))
                and secrets.compare_digest(
                    fields["response"].encode(),
                    md5_hex(
                        f"{self._secret}:{nonce}:{count}:{fields['cnonce']}:auth:"
                        + md5_hex(f"{method}:{path}")
                    ).encode(),
                )
            )
        except KeyError:
            return ""
        if not right or nonce not in self._counts or count in self._counts[nonce]:
            return ""
        self._counts[nonce].add(count)
        return nonce


def _parse_pairs(text: str) -> Mapping[str, str]:
    """The pairs of a digest header; empty when it is not well formed."""
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if not match:
            return {}
        name, quoted, token = match.groups()
        pairs[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token
        at = match.end()
    return pairs
