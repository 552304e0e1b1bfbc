"""The keys of one account, under the names the official SDK gives them (wire reference 1.1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass, fields

#: Field -> environment variable of the official SDK.
ENVIRONMENT = {
    "access_key": "QIANFAN_ACCESS_KEY",
    "secret_key": "QIANFAN_SECRET_KEY",
    "ak": "QIANFAN_AK",
    "sk": "QIANFAN_SK",
    "access_token": "QIANFAN_ACCESS_TOKEN",
    "bearer_token": "QIANFAN_BEARER_TOKEN",
}

_MASK = "***"


def mask(secret: str | None) -> str:
    """A secret as it may be shown: its first four characters at most, the rest hidden.

    Values under 12 characters are hidden whole: four characters of a short secret are too large a part of it.
    """
    if not secret:
        return "-" if secret is None else _MASK
    return f"{secret[:4]}{_MASK}" if len(secret) >= 12 else _MASK


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Keys for any of the four auth schemes; give only those you have.

    Attributes:
        access_key, secret_key: IAM key pair. Signs ``hmac`` (text_generation) and ``bce-auth-v1`` (v1), and buys
            IAM bearer tokens (v2).
        ak, sk: the application's API Key and Secret Key. Buys OAuth access tokens (v1).
        access_token: a ready OAuth access token (v1).
        bearer_token: a ready API key or IAM bearer token, ``bce-v3/ALTAK-…/…`` (v2).
    """

    access_key: str | None = None
    secret_key: str | None = None
    ak: str | None = None
    sk: str | None = None
    access_token: str | None = None
    bearer_token: str | None = None

    def __repr__(self) -> str:
        shown = ", ".join(f"{f.name}={mask(value)!r}" for f in fields(self) if (value := getattr(self, f.name)))
        return f"Credentials({shown})"

    def environment(self) -> dict[str, str]:
        """The ``QIANFAN_*`` variables that carry these keys, for those that are set. The values are secrets."""
        return {variable: value for name, variable in ENVIRONMENT.items() if (value := getattr(self, name))}

    def secrets(self) -> tuple[str, ...]:
        """Every value that must never be written to a log, a journal or a report."""
        hidden = (self.secret_key, self.ak, self.sk, self.access_token, self.bearer_token)
        return tuple(value for value in hidden if value)
