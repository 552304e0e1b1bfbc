"""Secrets are masked when they are written: what remains still says whose they are, and of which kind."""

from __future__ import annotations

import re

from qfkit.protocol.credentials import mask
from qfkit.protocol.http import HeaderItems

_SECRET_QUERY = re.compile(r"(?i)((?:^|[?&])(?:access_token|client_id|client_secret)=)([^&#]*)")
_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-bce-signature", "x-api-key", "api-key"}
)

#: Dialects whose answers hand out secrets (wire reference 2.1 and 2.3), and the members that are some.
GRANTING = frozenset({"oauth", "iam"})
_SECRET_MEMBERS = re.compile(
    rb'("(?:access_token|refresh_token|session_key|session_secret|token)"\s*:\s*")([^"]{0,4})[^"]*(")'
)


def redact_target(target: str) -> str:
    """The request target with tokens and keys in its query masked."""
    return _SECRET_QUERY.sub(lambda found: f"{found[1]}{mask(found[2])}", target) if "?" in target else target


def redact(headers: HeaderItems) -> HeaderItems:
    """Headers with tokens, keys and signatures masked; what remains of them still says whose and of which kind."""
    return tuple(
        [
            pair if (lower := pair[0].lower()) not in _SECRET_HEADERS else (pair[0], _mask_header(lower, pair[1]))
            for pair in headers
        ]
    )


def redact_grant(body: bytes) -> bytes:
    """The JSON with which tokens are handed out, the tokens masked."""
    return _SECRET_MEMBERS.sub(rb"\1\2***\3", body)


def _mask_header(name: str, value: str) -> str:
    if name != "authorization":
        return mask(value)
    if value.startswith("bce-auth-v1/"):  # all but the signature, its last part, is public
        head, slash, _signature = value.rpartition("/")
        return f"{head}{slash}***"
    kind, space, token = value.partition(" ")
    return f"{kind}{space}{mask(token)}" if space else mask(value)
