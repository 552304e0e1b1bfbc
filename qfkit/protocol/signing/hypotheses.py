"""Mistakes that both schemes share: in the key, in the name of the host, in how the body is spelt."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from qfkit.protocol.dialects import BASE_URLS
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing.bce_canonical import without_port
from qfkit.protocol.signing.canonical import octets
from qfkit.protocol.signing.search import Mac, key_first, key_last, swapped

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PartsT = TypeVar("PartsT", bound="DataclassInstance")
FactsT = TypeVar("FactsT")


@dataclass(frozen=True, slots=True)
class Hypothesis(Generic[PartsT, FactsT]):
    """One mistake.

    Attributes:
        cause: its name, a key of ``CAUSES``.
        vary: what it makes of the right parts of a signature, given facts of the request: one result for each way in
            which clients make it, none where it cannot occur.
    """

    cause: str
    vary: Callable[[PartsT, FactsT], Iterable[PartsT]]


def each(
    field: str, values: Callable[[PartsT, FactsT], Iterable[object]]
) -> Callable[[PartsT, FactsT], Iterator[PartsT]]:
    """A mistake in one part: ``field``, and the values that it may have come to."""

    def vary(parts: PartsT, facts: FactsT) -> Iterator[PartsT]:
        for value in values(parts, facts):
            changed: dict[str, Any] = {field: value}
            yield replace(parts, **changed)

    return vary


#: Hosts of the real service, which code under test may have hard-coded.
REAL_HOSTS = tuple(dict.fromkeys(octets(url.partition("://")[2]) for url in BASE_URLS.values()))

#: A body beyond this size is not parsed to try other spellings of it.
_PARSE_LIMIT = 1024 * 1024

#: What a mistake makes of the secret key (first argument), given the access key (second).
KeyChange: TypeAlias = Callable[[bytes, bytes], Iterable[bytes]]


def _spaced(key: bytes, _: bytes) -> Iterator[bytes]:
    """The white space that files and copying leave."""
    yield key.strip()
    for space in (b"\n", b"\r\n", b" ", b"\t"):
        yield key + space
    yield b" " + key


def _from_base64(key: bytes, _: bytes) -> Iterator[bytes]:
    try:
        yield base64.b64decode(key + b"=" * (-len(key) % 4), validate=True)
    except binascii.Error:  # not base64: no client can have decoded it
        return


def _from_hex(key: bytes, _: bytes) -> Iterator[bytes]:
    try:
        yield bytes.fromhex(key.decode("ascii"))
    except ValueError:  # not hex: no client can have decoded it
        return


KEY_CHANGES: tuple[tuple[str, KeyChange], ...] = (
    ("secret-whitespace", _spaced),
    ("access-key-as-secret", lambda _, access_key: [access_key]),
    ("secret-base64-decoded", _from_base64),
    ("secret-hex-decoded", _from_hex),
    ("secret-quoted", lambda key, _: [b'"%b"' % key, b"'%b'" % key]),
    ("secret-truncated", lambda key, _: [key[:-1], key[1:]]),
)

MAC_CHANGES: tuple[tuple[str, tuple[Mac, ...]], ...] = (
    ("key-and-message-swapped", (swapped,)),
    ("not-hmac", (key_first, key_last)),
)


def other_hosts(request: HttpRequest, host: bytes) -> Iterator[bytes]:
    """Other names for where a request arrived: what a proxy was called as, and the names of loopback."""
    for name in ("x-forwarded-host", "x-original-host"):
        if value := request.header(name):
            yield octets(value)
    port = host[len(without_port(host)) :]
    for loopback in (b"localhost", b"127.0.0.1", b"[::1]", b"0.0.0.0"):
        yield loopback + port


def path_tails(path: bytes) -> Iterator[bytes]:
    """Every end of a path, with and without a leading slash, the longest first."""
    segments = path.split(b"/")
    for start in range(1, min(len(segments), 12)):
        tail = b"/".join(segments[start:])
        yield tail
        yield b"/" + tail
    yield b""


def parsed(body: bytes) -> Any:
    """The JSON value of a body, or None when it holds none."""
    if len(body) > _PARSE_LIMIT:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # no JSON, or numbers and nesting beyond reason: no other spelling to try
        return None


Layout: TypeAlias = tuple[tuple[str, str], int | None]
#: Ways that JSON encoders write, the commonest first: separators and indent.
LAYOUTS: tuple[Layout, ...] = (
    ((", ", ": "), None),
    ((",", ":"), None),
    ((",", ": "), 2),
    ((",", ": "), 4),
)


def spellings(
    value: Any, *, layouts: Sequence[Layout] = LAYOUTS, orders: Sequence[bool] = (False, True)
) -> Iterator[bytes]:
    """A JSON value as the usual encoders write it: each layout, escaped or not, keys sorted or not."""
    for (separators, indent), ascii_only, sort in product(layouts, (True, False), orders):
        try:
            text = json.dumps(value, separators=separators, indent=indent, ensure_ascii=ascii_only, sort_keys=sort)
        except RecursionError:  # nested deeper than this encoder goes, though the decoder got through
            return
        yield octets(text)


def likely_spellings(body: bytes) -> Iterator[bytes]:
    """A JSON body with and without spaces, with and without escapes: what clients and HTTP libraries default to."""
    payload = parsed(body)
    if payload is not None:
        yield from spellings(payload, layouts=LAYOUTS[:2], orders=(False,))
