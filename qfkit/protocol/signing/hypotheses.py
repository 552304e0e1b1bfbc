"""Mistakes that both schemes share: in the key, in the name of the host, in how the body is spelt."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote_from_bytes, quote_plus, unquote_to_bytes

from qfkit.protocol.dialects import (
    BASE_URLS,
    IAM_TOKEN,
    SERVICE_LIST,
    TEXT_GENERATION_CHAT,
    TEXT_GENERATION_STREAM,
    V1_PREFIX,
)
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.models import MODELS
from qfkit.protocol.signing.bce_canonical import without_port
from qfkit.protocol.signing.canonical import octets
from qfkit.protocol.signing.search import Mac, key_first, key_last, swapped

#: The parts of a signature: a named tuple, as copying one with a change costs a third of what a dataclass costs.
PartsT = TypeVar("PartsT", bound=NamedTuple)
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
            yield parts._replace(**changed)

    return vary


#: Hosts of the real service, which code under test may have hard-coded.
REAL_HOSTS = tuple(dict.fromkeys(octets(url.partition("://")[2]) for url in BASE_URLS.values()))

#: Endpoints, by which one may be signed for another.
ENDPOINTS = tuple(
    octets(path)
    for path in (
        "/v2/chat/completions",
        "/v2/embeddings",
        "/v2/rerank",
        "/v2/models",
        "/v2/images/generations",
        IAM_TOKEN,
        SERVICE_LIST,
        TEXT_GENERATION_CHAT,
        TEXT_GENERATION_STREAM,
        *dict.fromkeys(f"{V1_PREFIX}{model.endpoint}" for model in MODELS if model.endpoint),
    )
)

#: Methods that a client may have signed in place of the one it sent.
OTHER_METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS")

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


def query_orders(query: bytes) -> Iterator[bytes]:
    """A query with its parameters in other orders: sorted, turned round, and any at all where they are few."""
    pieces = query.split(b"&")
    yield b"&".join(sorted(pieces))
    yield b"&".join(reversed(pieces))
    if len(pieces) <= 4:
        for order in permutations(pieces):
            yield b"&".join(order)


def query_encodings(query: bytes) -> Iterator[bytes]:
    """A query as other encoders write it: blanks as + or %20, more or fewer characters escaped, or none."""
    pieces = [piece.partition(b"=") for piece in query.split(b"&")]
    for plus in (True, False):
        pairs = [tuple(unquote_to_bytes(p.replace(b"+", b" ") if plus else p) for p in piece) for piece in pieces]
        for encode in _ENCODERS:
            yield b"&".join([encode(key) + equals + encode(value) for key, equals, value in pairs])


_ENCODERS: tuple[Callable[[bytes], bytes], ...] = (
    lambda data: data,
    lambda data: quote_from_bytes(data, safe="").encode("ascii"),
    lambda data: quote_from_bytes(data, safe="/").encode("ascii"),
    lambda data: quote_plus(data).encode("ascii"),
    lambda data: quote_from_bytes(data, safe="!'()*").encode("ascii"),  # encodeURIComponent
    lambda data: quote_from_bytes(data, safe=";,/?:@&=+$!'()*#").encode("ascii"),  # encodeURI
    lambda data: quote_from_bytes(data, safe="!#$%&'()*+,/:;=?@[]~").encode("ascii"),  # requests' own
)


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

#: The order in which clients put keys into a payload, where it was sent sorted: as the service documents them.
_DOCUMENTED = {
    name: place
    for place, name in enumerate(
        ("model", "role", "name", "messages", "prompt", "query", "content", "type", "url", "temperature", "top_p")
    )
}


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


def other_spellings(value: Any) -> Iterator[bytes]:
    """A JSON value as encoders of other languages write it, and with the keys in the order before they were sorted."""
    try:
        unsorted = _documented(value)
    except RecursionError:  # as above
        return
    if json.dumps(unsorted) != json.dumps(value):
        yield from spellings(unsorted, layouts=LAYOUTS[:2], orders=(False,))
    whole = _whole(value)
    for compact in spellings(value, layouts=LAYOUTS[1:2]):
        yield _HTML.sub(lambda found: b"\\u%04x" % found[0][0], compact)  # Go, Gson
        yield compact.replace(b"/", rb"\/")  # PHP
        yield _ESCAPE.sub(lambda found: b"\\u" + found[1].upper(), compact)  # fastjson, Newtonsoft
    yield from spellings(whole, layouts=LAYOUTS[:2], orders=(False,))  # JavaScript


_HTML = re.compile(rb"[<>&]")
_ESCAPE = re.compile(rb"\\u([0-9a-f]{4})")


def _documented(value: Any) -> Any:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: _DOCUMENTED.get(key, len(_DOCUMENTED)))
        return {key: _documented(value[key]) for key in keys}
    return [_documented(item) for item in value] if isinstance(value, list) else value


def _whole(value: Any) -> Any:
    """Floats that are whole as integers: JavaScript knows no other way to write them."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def likely_spellings(body: bytes) -> Iterator[bytes]:
    """A JSON body with and without spaces, with and without escapes: what clients and HTTP libraries default to."""
    payload = parsed(body)
    if payload is not None:
        yield from spellings(payload, layouts=LAYOUTS[:2], orders=(False,))
