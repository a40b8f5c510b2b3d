"""HTTP digest authentication as AMT wants it: MD5, qop=auth (RFC 2617).

Theory of operation. AMT answers a request without login by a challenge: realm, nonce, qop, perhaps
an opaque value. `take` keeps the first one that is understood, and tells whether AMT only calls the
former nonce stale. `authorization` makes the header of the next request of it, with a count that
goes up by one each time. It fails where AMT offers no digest with MD5, or another quality of
protection only.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

from bootserver.amt.errors import AmtAnswerError

# Our own: aiohttp's prefers auth-int, and sees only the first challenge. It could not tell an
# action that was refused from one that was never authorized.
_PARAMETER = re.compile(r'\s*([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')


@dataclass
class DigestLogin:
    """A user's password, the last challenge, and how often it was answered."""

    user: str
    password: str = field(repr=False)
    challenge: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def take(self, challenges: list[str]) -> bool:
        """Whether AMT only says that the nonce is stale; its new challenge is kept."""
        for text in challenges:
            scheme, _, rest = text.strip().partition(" ")
            fields = _parameters(rest)
            if (
                scheme.lower() == "digest"
                and fields.get("algorithm", "MD5").upper() == "MD5"
                and fields.get("nonce")
                and "realm" in fields
            ):
                self.challenge, self.count = fields, 0
                return fields.get("stale", "").lower() == "true"
        raise AmtAnswerError(
            "AMT asks for another authentication than HTTP digest",
            hint="Kerberos users cannot be used here; use a digest user",
        )

    def authorization(self, method: str, uri: str) -> str | None:
        """The header for one request, or None before the first challenge."""
        if not self.challenge:
            return None
        self.count += 1
        realm, nonce = self.challenge["realm"], self.challenge["nonce"]
        secret = _md5(f"{self.user}:{realm}:{self.password}")
        asked = _md5(f"{method}:{uri}")
        parts = [
            f"username={_quoted(self.user)}",
            f"realm={_quoted(realm)}",
            f"nonce={_quoted(nonce)}",
            f'uri="{uri}"',
        ]
        if "qop" in self.challenge:
            if "auth" not in re.split(r"[\s,]+", self.challenge["qop"].lower()):
                raise AmtAnswerError("AMT offers a quality of protection other than auth")
            cnonce, count = secrets.token_hex(16), f"{self.count:08x}"
            response = _md5(f"{secret}:{nonce}:{count}:{cnonce}:auth:{asked}")
            parts += ["qop=auth", f"nc={count}", f'cnonce="{cnonce}"']
        else:
            response = _md5(f"{secret}:{nonce}:{asked}")
        parts.append(f'response="{response}"')
        if "opaque" in self.challenge:
            parts.append(f"opaque={_quoted(self.challenge['opaque'])}")
        return "Digest " + ", ".join(parts)


def _parameters(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for found in _PARAMETER.finditer(text):
        quoted, plain = found[2], found[3]
        value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        fields.setdefault(found[1].lower(), value)
    return fields


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
