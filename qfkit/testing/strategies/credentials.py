"""Keys in the shapes that the service gives them (wire reference 2); none of them is anybody's."""

from __future__ import annotations

from string import ascii_letters, digits, hexdigits
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from qfkit.protocol.credentials import Credentials

_MIXED: Final = ascii_letters + digits
_HEX: Final = hexdigits[:16]


def _of(alphabet: str, length: int) -> SearchStrategy[str]:
    return st.text(alphabet, min_size=length, max_size=length)


#: Field of `Credentials` -> its values.
_KEYS: Final[dict[str, SearchStrategy[str]]] = {
    "access_key": _of(_MIXED, 21).map("ALTAK{}".format),
    "secret_key": _of(_HEX, 32),
    "ak": _of(_MIXED, 24),
    "sk": _of(_MIXED, 32),
    "access_token": st.builds("24.{}.2592000.1700000000.{}-{}".format, _of(_HEX, 32), _of(digits, 6), _of(digits, 7)),
    "bearer_token": st.builds("bce-v3/ALTAK-{}/{}".format, _of(_MIXED, 21), _of(_HEX, 40)),
}

#: Dialect -> the sets of keys that open it.
SETS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "text_generation": (("access_key", "secret_key"),),
    "v1": (("ak", "sk"), ("access_token",), ("access_key", "secret_key")),
    "v2": (("bearer_token",), ("access_key", "secret_key")),
}

#: All that an account is opened with: a ready access token is none, the service issues it.
_ACCOUNT: Final = ("access_key", "secret_key", "ak", "sk", "bearer_token")


def credentials(dialect: str | None = None) -> SearchStrategy[Credentials]:
    """Keys for one dialect, or those of an account, which open all of them.

    Shrinks to keys of zeros and first letters; two that were drawn may be equal, so give each its own mock.

    Args:
        dialect: ``text_generation``, ``v1`` or ``v2``: one of the sets that open it, the usual one first. None for
            all keys that `MockServer.account` takes.

    Raises:
        ValueError: there is no such dialect.
    """
    if dialect is None:
        return _set(_ACCOUNT)
    if dialect not in SETS:
        raise ValueError(f"dialect is one of {', '.join(SETS)}; got {dialect!r}")
    return st.one_of(*map(_set, SETS[dialect]))


def _set(names: tuple[str, ...]) -> SearchStrategy[Credentials]:
    return st.builds(Credentials, **{name: _KEYS[name] for name in names})
