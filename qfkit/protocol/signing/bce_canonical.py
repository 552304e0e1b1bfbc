"""The canonical request of ``bce-auth-v1``, as the document has it and as clients are known to write it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypeAlias
from urllib.parse import quote_from_bytes, quote_plus, unquote_to_bytes

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing.canonical import Canonical, octets

#: Signed when the signature lists no headers, together with every ``x-bce-*`` header.
DEFAULT_HEADERS = frozenset({b"host", b"content-length", b"content-type", b"content-md5"})
BCE_PREFIX = b"x-bce-"
HEADER_LABEL = "header "

Encode: TypeAlias = Callable[[bytes], str]
#: Names (lower case, trimmed) and values (trimmed) of headers.
Pairs: TypeAlias = Iterable[tuple[bytes, bytes]]


def uri_encode(data: bytes) -> str:
    """Percent-encode all but ``A-Z a-z 0-9 - . _ ~``, with upper-case hex."""
    return quote_from_bytes(data, safe="")


def encode_path(path: bytes) -> bytes:
    """A path, each segment decoded and encoded again by the rule; slashes stay."""
    return quote_from_bytes(unquote_to_bytes(path), safe="/").encode("ascii")


def _java(data: bytes) -> str:
    return quote_from_bytes(data, safe="!'()*").replace("~", "%7E")


def _java_header(data: bytes) -> str:
    return quote_from_bytes(data, safe="!'()*/").replace("~", "%7E")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How keys and values of the query, and names and values of headers, are percent-encoded."""

    query: Encode
    header: Encode


STANDARD = Encoding(uri_encode, uri_encode)
QUOTE_PLUS = Encoding(quote_plus, quote_plus)
JAVA = Encoding(_java, _java_header)


def _as_is(path: bytes) -> bytes:
    return path


@dataclass(frozen=True, slots=True)
class Reading:
    """How a client may have come from its request to the canonical one. The defaults are the document's rules."""

    host_port: bool = True
    unlisted_bce: bool = False
    authorization_key: bool = False
    plus_is_space: bool = True
    path: Callable[[bytes], bytes] = _as_is
    encoding: Encoding = STANDARD
    charset: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Tolerated:
    """A way in which clients stray from the document and the service bears it.

    Attributes:
        name: as it shows in ``Verification.form``.
        aspect: the field of ``Reading`` that it changes; of two ways to change one, a request follows at most one.
        value: what it changes it to.
        clients: who does it, with the tag of the evidence in the wire reference.
        applies: whether a request gives occasion for it.
        guess: True where no client is known to do it.
    """

    name: str
    aspect: str
    value: Any
    clients: str
    applies: Callable[[HttpRequest, frozenset[bytes]], bool]
    guess: bool = False


def _has_port(request: HttpRequest, _: frozenset[bytes]) -> bool:
    host = octets(request.header("host", "") or "").strip()
    return without_port(host) != host


def _has_unlisted_bce(request: HttpRequest, listed: frozenset[bytes]) -> bool:
    return bool(listed) and any(
        name.startswith(BCE_PREFIX) and name not in listed for name, _ in header_pairs(request, "utf-8")
    )


def _has_authorization_key(request: HttpRequest, _: frozenset[bytes]) -> bool:
    return "authorization" in request.query.lower()


def _has_plus(request: HttpRequest, _: frozenset[bytes]) -> bool:
    return "+" in request.query


def _beyond_ascii(request: HttpRequest, _: frozenset[bytes]) -> bool:
    texts = (request.target, *(text for pair in request.headers for text in pair))
    return not all(text.isascii() for text in texts) and all(ord(ch) < 256 for text in texts for ch in text)


def _always(_: HttpRequest, __: frozenset[bytes]) -> bool:
    return True


def _path_off_rule(request: HttpRequest, _: frozenset[bytes]) -> bool:
    path = octets(request.path)
    return encode_path(path) != path


def _path_encoded(request: HttpRequest, _: frozenset[bytes]) -> bool:
    return "%" in request.path


#: The likeliest last: combinations are tried with the first of these changing slowest.
TOLERATED: tuple[Tolerated, ...] = (
    Tolerated("latin-1", "charset", "latin-1", "WSGI servers hand raw header bytes over so", _beyond_ascii),
    Tolerated("plus-literal", "plus_is_space", False, "URL writers that leave + alone", _has_plus, guess=True),
    Tolerated("path-encoded", "path", encode_path, "the document's rule, for a path sent otherwise", _path_off_rule),
    Tolerated("path-decoded", "path", unquote_to_bytes, "Python given an unencoded path, Java [sdk]", _path_encoded),
    Tolerated("authorization-in-query", "authorization_key", True, "Python [sdk], TV10", _has_authorization_key),
    Tolerated("unlisted-x-bce", "unlisted_bce", True, "Python [sdk]", _has_unlisted_bce),
    Tolerated("quote-plus", "encoding", QUOTE_PLUS, "LlamaIndex [captured]", _always),
    Tolerated("java", "encoding", JAVA, "Java [sdk]", _always),
    Tolerated("host-without-port", "host_port", False, "LlamaIndex [captured], Go and Java [sdk]", _has_port),
)

AS_SENT = "as-sent"


def readings(request: HttpRequest, listed: frozenset[bytes]) -> Iterator[tuple[str, Reading]]:
    """Every combination of tolerated ways that a request gives occasion for, with its name; the document's first."""
    aspects: dict[str, list[Tolerated | None]] = {}
    for way in TOLERATED:
        if way.applies(request, listed):
            aspects.setdefault(way.aspect, [None]).append(way)
    for ways in product(*aspects.values()):
        chosen = [way for way in ways if way is not None]
        name = "+".join(way.name for way in reversed(chosen)) or AS_SENT
        yield name, replace(Reading(), **{way.aspect: way.value for way in chosen})


def without_port(host: bytes) -> bytes:
    """A host less its port."""
    name, colon, port = host.rpartition(b":")
    return name if colon and port.isdigit() else host


def to_bytes(text: str, charset: str) -> bytes:
    """Bytes of a text from the wire; ``latin-1`` only for texts that ``_beyond_ascii`` let through."""
    return octets(text) if charset == "utf-8" else text.encode(charset)


def header_pairs(request: HttpRequest, charset: str) -> list[tuple[bytes, bytes]]:
    """Headers of a request with names and values as they are signed; those with an empty value are not."""
    return canonical_pairs((to_bytes(name, charset), to_bytes(value, charset)) for name, value in request.headers)


def canonical_pairs(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Names lower-cased and trimmed, values trimmed, empty values dropped."""
    return [(name.strip().lower(), trimmed) for name, value in headers if (trimmed := value.strip())]


def selected(pairs: Pairs, listed: Collection[bytes], *, unlisted_bce: bool = False) -> list[tuple[bytes, bytes]]:
    """The headers that are signed: the listed ones, or the default set where none is listed."""
    names = listed or DEFAULT_HEADERS
    also_bce = unlisted_bce or not listed
    return [pair for pair in pairs if pair[0] in names or (also_bce and pair[0].startswith(BCE_PREFIX))]


def query_pairs(query: bytes, *, plus_is_space: bool = True) -> list[tuple[bytes, bytes]]:
    """Keys and values of a query, decoded, in the order they came, repeats kept."""
    if plus_is_space:
        query = query.replace(b"+", b" ")
    pieces = [piece.partition(b"=") for piece in query.split(b"&") if piece]
    return [(unquote_to_bytes(key), unquote_to_bytes(value)) for key, _, value in pieces]


def canonical_query(pairs: Pairs, encode: Encode, *, authorization_key: bool = False) -> bytes:
    """Encode each ``k=v``, sort those strings, join with ``&``; the key ``authorization`` is left out."""
    encoded = [
        f"{encode(key)}={encode(value)}" for key, value in pairs if authorization_key or key.lower() != b"authorization"
    ]
    return "&".join(sorted(encoded)).encode("ascii")


def header_lines(pairs: Pairs, encode: Encode) -> list[tuple[str, bytes]]:
    """The lines ``name:value``, sorted, each with its label."""
    lines = sorted([(f"{encode(name)}:{encode(value)}", name) for name, value in pairs])
    return [(f"{HEADER_LABEL}{name.decode('utf-8', 'backslashreplace')}", line.encode("ascii")) for line, name in lines]


def canonical(method: bytes, uri: bytes, query: bytes, lines: Iterable[tuple[str, bytes]]) -> Canonical:
    """The canonical request of its four parts. Without headers its last line is empty."""
    headers = tuple(lines) or (("headers", b""),)
    return Canonical((("METHOD", method), ("canonical URI", uri), ("query", query), *headers))


def canonical_of(request: HttpRequest, listed: frozenset[bytes], reading: Reading) -> Canonical:
    """The canonical request as a client of this reading writes it.

    Args:
        request: as received.
        listed: the signed headers, lower case; empty for the default set.
        reading: how the client strays.
    """
    pairs = selected(header_pairs(request, reading.charset), listed, unlisted_bce=reading.unlisted_bce)
    if not reading.host_port:
        pairs = [(name, without_port(value) if name == b"host" else value) for name, value in pairs]
    path, _, query = to_bytes(request.target, reading.charset).partition(b"?")
    return canonical(
        octets(request.method.upper()),
        reading.path(path) or b"/",
        canonical_query(
            query_pairs(query, plus_is_space=reading.plus_is_space),
            reading.encoding.query,
            authorization_key=reading.authorization_key,
        ),
        header_lines(pairs, reading.encoding.header),
    )
