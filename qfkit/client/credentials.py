"""Keys, hosts and the dialect they mean, from the official SDK's environment variables (wire reference 1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from qfkit.client.exceptions import ConfigurationError
from qfkit.protocol.credentials import ENVIRONMENT, Credentials
from qfkit.protocol.dialects import BASE_URLS, InferenceDialect

#: Dialect -> the variable that holds its host. v1 also finds its OAuth tokens there.
BASE_URL_VARIABLES: dict[str, str] = {
    "text_generation": "QIANFAN_BASE_URL",
    "v1": "QIANFAN_BASE_URL",
    "v2": "QIANFAN_CONSOLE_API_BASE_URL",
    "iam": "QIANFAN_IAM_BASE_URL",
}
APP_ID_VARIABLE = "QIANFAN_APP_ID"

#: Which keys mean which dialect when nobody says; the first that are complete win.
_DIALECT_BY_KEYS: tuple[tuple[tuple[str, ...], InferenceDialect], ...] = (
    (("access_key", "secret_key"), "text_generation"),
    (("ak", "sk"), "v1"),
    (("access_token",), "v1"),
    (("bearer_token",), "v2"),
)

_REAL_DOMAINS = ("baidubce.com", "baidu.com")


def read_credentials(environ: Mapping[str, str]) -> Credentials:
    """The keys found in ``QIANFAN_*`` variables. Blanks around a value, an easy slip in a .env file, are dropped."""
    return Credentials(**{name: environ.get(variable, "").strip() or None for name, variable in ENVIRONMENT.items()})


def read_base_url(environ: Mapping[str, str], dialect: str) -> str | None:
    """The host that the environment names for ``dialect`` (or ``iam``), or None for the service's own."""
    return environ.get(BASE_URL_VARIABLES[dialect], "").strip() or None


def dialect_of(credentials: Credentials) -> InferenceDialect:
    """The dialect that these keys are for; with keys for several, text_generation before v1 before v2.

    Raises:
        ConfigurationError: no set of keys is complete; the message names what is missing.
    """
    for names, dialect in _DIALECT_BY_KEYS:
        if all(getattr(credentials, name) for name in names):
            return dialect
    raise ConfigurationError(
        f"no complete set of keys; {_wanted(credentials, [names for names, _ in _DIALECT_BY_KEYS])}"
    )


def require(credentials: Credentials, scheme: str, *choices: tuple[str, ...]) -> None:
    """Check that one of ``choices`` (names of keys that belong together) is complete.

    Raises:
        ConfigurationError: none is; the message names the variables.
    """
    if not any(all(getattr(credentials, name) for name in names) for names in choices):
        raise ConfigurationError(f"auth scheme {scheme} lacks its keys; {_wanted(credentials, choices)}")


def _wanted(credentials: Credentials, choices: list[tuple[str, ...]] | tuple[tuple[str, ...], ...]) -> str:
    half = [name for names in choices for name in names if any(getattr(credentials, other) for other in names)]
    missing = [name for name in half if not getattr(credentials, name)]
    if missing:
        return f"{', '.join(f'{name} ({ENVIRONMENT[name]})' for name in missing)} is missing beside its partner"
    sets = " or ".join(" and ".join(ENVIRONMENT[name] for name in names) for names in choices)
    return f"set {sets}, or pass credentials=Credentials(...)"


def is_real_host(url: str) -> bool:
    """Whether ``url`` is one of Baidu's own hosts, where a call costs money."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    return any(host == domain or host.endswith(f".{domain}") for domain in _REAL_DOMAINS)


def check_base_url(url: str, dialect: str) -> str:
    """``url`` without a trailing slash; for v2 also without ``/v2``, with which openai clients write it.

    Raises:
        ConfigurationError: it is not an http(s) address of a host, or carries a query or a password.
    """
    try:
        parts = urlsplit(url.strip())
        unfit = (parts.query, parts.fragment, parts.port == 0, "@" in parts.netloc)
        bad = parts.scheme not in {"http", "https"} or not parts.hostname or any(unfit)
    except (ValueError, AttributeError, TypeError):  # a port that is no number; not a string
        bad = True
    if bad:
        raise ConfigurationError(
            "a base URL is scheme and host, such as http://127.0.0.1:8000 or "
            f"{BASE_URLS.get(dialect, BASE_URLS['v1'])}, without query, fragment or password"
        )
    cleaned = url.strip().rstrip("/")
    return cleaned.removesuffix("/v2") if dialect == "v2" else cleaned
