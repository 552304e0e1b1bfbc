"""Mistakes in signing bce-auth-v1, as a table: what each makes of the canonical request, the prefix and the key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
from typing import NamedTuple, TypeAlias
from urllib.parse import quote_from_bytes, unquote_to_bytes

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import bce_canonical
from qfkit.protocol.signing.bce_auth_v1 import BceAuthorization, format_bce_date
from qfkit.protocol.signing.bce_canonical import HEADER_LABEL, STANDARD, Reading, uri_encode, without_port
from qfkit.protocol.signing.canonical import Canonical, legible, octets
from qfkit.protocol.signing.hypotheses import (
    ENDPOINTS,
    KEY_CHANGES,
    MAC_CHANGES,
    OTHER_METHODS,
    REAL_HOSTS,
    Hypothesis,
    each,
    other_hosts,
    parsed,
    path_tails,
)
from qfkit.protocol.signing.hypotheses import spellings as json_spellings
from qfkit.protocol.signing.search import Guess, Mac, hmac_of

#: From secret key and prefix to the key of the second HMAC.
Derive: TypeAlias = Callable[[bytes, bytes], bytes]
Encode: TypeAlias = Callable[[bytes], bytes]

_CONTENT_TYPES = (
    b"application/json",
    b"application/json; charset=utf-8",
    b"application/json;charset=utf-8",
    b"application/json; charset=UTF-8",
    b"application/json;charset=UTF-8",
    b"application/json;",
    b"text/plain; charset=utf-8",
    b"application/x-www-form-urlencoded",
)
_EXPIRATIONS = (b"1800", b"300", b"3600", b"60", b"600", b"86400", b"0", b"-1")
_BASES = 4
#: Guesses about one request encode the same few names and values, and derive the same few keys, over and over; of
#: whole lines and queries still fewer.
_KEPT = 128
_FEW = 16


@lru_cache(maxsize=_KEPT)
def _derive(secret: bytes, prefix: bytes) -> bytes:
    return hmac.digest(secret, prefix, "sha256").hex().encode("ascii")


@lru_cache(maxsize=_KEPT)
def _encode(data: bytes) -> bytes:
    return uri_encode(data).encode("ascii")


def _raw(data: bytes) -> bytes:
    return data


@lru_cache(maxsize=_KEPT)
def _twice(data: bytes) -> bytes:
    return _encode(_encode(data))


@lru_cache(maxsize=_KEPT)
def _lower_escapes(data: bytes) -> bytes:
    return re.sub(rb"%..", lambda found: found[0].lower(), _encode(data))


@lru_cache(maxsize=_KEPT)
def _uri_component(data: bytes) -> bytes:
    return quote_from_bytes(data, safe="!'()*").encode("ascii")


@lru_cache(maxsize=_KEPT)
def _slash_kept(data: bytes) -> bytes:
    return quote_from_bytes(data, safe="/").encode("ascii")


class Parts(NamedTuple):
    """What a client put into its signature.

    Attributes:
        query: keys and values, decoded, in the order sent.
        headers: names and values that are signed, in the order sent.
        join_query, join_headers: what becomes of them.
        after: what follows the headers, as a labelled part.
        derive: how the second key is made.
    """

    method: bytes
    uri: bytes
    query: tuple[tuple[bytes, bytes], ...]
    headers: tuple[tuple[bytes, bytes], ...]
    prefix: bytes
    secret: bytes
    access_key: bytes
    encode_query: Encode = _encode
    encode_header: Encode = _encode
    raw_query: bytes | None = None
    sort_headers: bool = True
    after: tuple[tuple[str, bytes], ...] = ()
    separator: bytes = b"\n"
    tail: bytes = b""
    derive: Derive = _derive
    mac: Mac = hmac_of

    def message(self) -> bytes:
        """The bytes of the canonical request that these parts make."""
        lines = _joined_lines(self.headers, self.encode_header, self.sort_headers, self.separator)
        parts = [self.method, self.uri, self._query(), lines, *[data for _, data in self.after]]
        return self.separator.join(parts) + self.tail

    def canonical(self) -> Canonical:
        """The canonical request that these parts make."""
        lines = list(zip(_lines(self.headers, self.encode_header), [name for name, _ in self.headers], strict=True))
        if self.sort_headers:
            lines.sort()
        labelled = [(f"{HEADER_LABEL}{name.decode('utf-8', 'backslashreplace')}", line) for line, name in lines]
        parts = (("METHOD", self.method), ("canonical URI", self.uri), ("query", self._query()))
        return Canonical((*parts, *(labelled or [("headers", b"")]), *self.after), self.separator, self.tail)

    def _query(self) -> bytes:
        return _query_line(self.query, self.encode_query) if self.raw_query is None else self.raw_query


# Most guesses about a request differ in one place: the lines of the others are the same over and over.


@lru_cache(maxsize=_FEW)
def _query_line(query: tuple[tuple[bytes, bytes], ...], encode: Encode) -> bytes:
    return b"&".join(sorted([encode(key) + b"=" + encode(value) for key, value in query]))


@lru_cache(maxsize=_FEW)
def _lines(headers: tuple[tuple[bytes, bytes], ...], encode: Encode) -> tuple[bytes, ...]:
    return tuple(encode(name) + b":" + encode(value) for name, value in headers)


@lru_cache(maxsize=_FEW)
def _joined_lines(headers: tuple[tuple[bytes, bytes], ...], encode: Encode, sort: bool, separator: bytes) -> bytes:
    return separator.join(sorted(_lines(headers, encode)) if sort else _lines(headers, encode))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mistake may have drawn on, besides the parts."""

    request: HttpRequest
    authorization: BceAuthorization
    host: bytes
    path: bytes
    raw_query: bytes
    all_headers: tuple[tuple[bytes, bytes], ...]


Vary: TypeAlias = Callable[[Parts, Facts], Iterable[Parts]]
Mistake: TypeAlias = Hypothesis[Parts, Facts]


# -- path and query ---------------------------------------------------------------------------------------------------


def _urls(facts: Facts) -> Iterator[bytes]:
    for host in (facts.host, *REAL_HOSTS):
        for scheme in (b"https://", b"http://"):
            yield scheme + host + facts.path
            if facts.raw_query:
                yield scheme + host + facts.path + b"?" + facts.raw_query


def _with_query(parts: Parts, facts: Facts) -> Iterator[Parts]:
    if facts.raw_query:
        longer = parts._replace(uri=parts.uri + b"?" + facts.raw_query)
        yield longer._replace(raw_query=b"")
        yield longer


def _joined(pairs: Iterable[tuple[bytes, bytes]], encode: Encode) -> bytes:
    return b"&".join(encode(key) + b"=" + encode(value) for key, value in pairs)


def _without_equals(parts: Parts, _: Facts) -> Iterator[bytes]:
    pieces = [_encode(key) + (b"=" + _encode(value) if value else b"") for key, value in parts.query]
    yield b"&".join(sorted(pieces))
    yield b"&".join(sorted(_encode(key) + b"=" + _encode(value) for key, value in parts.query if value))


def _unencoded(parts: Parts, _: Facts) -> Iterator[bytes]:
    for encode in (_raw, _slash_kept):
        yield b"&".join(sorted(encode(key) + b"=" + encode(value) for key, value in parts.query))


def _endpoints(parts: Parts, _: Facts) -> Iterator[bytes]:
    """Other endpoints: another version of the API, or another of the names in the tables."""
    for old, new in ((b"/v1/", b"/v2/"), (b"/v2/", b"/v1/"), (b"/rpc/2.0/ai_custom/v1/wenxinworkshop", b"/v2")):
        if old in parts.uri:
            yield parts.uri.replace(old, new, 1)
    yield from ENDPOINTS


PLACES: tuple[Mistake, ...] = (
    Hypothesis("path-encoded-twice", each("uri", lambda parts, _: [_slash_kept(parts.uri)])),
    Hypothesis("path-slashes-encoded", each("uri", lambda p, _: [_encode(unquote_to_bytes(p.uri)), _encode(p.uri)])),
    Hypothesis("path-with-query", _with_query),
    Hypothesis("path-url", each("uri", lambda _, facts: _urls(facts))),
    Hypothesis("path-slash", each("uri", lambda p, _: [p.uri + b"/", p.uri.removesuffix(b"/")])),
    Hypothesis("endpoint-tail", each("uri", lambda p, _: path_tails(p.uri))),
    Hypothesis("other-endpoint", each("uri", _endpoints)),
)

QUERIES: tuple[Mistake, ...] = (
    Hypothesis("query-dropped", each("raw_query", lambda *_: [b""])),
    Hypothesis("query-unsorted", each("raw_query", lambda p, _: [_joined(p.query, _encode)])),
    Hypothesis("query-as-sent", each("raw_query", lambda _, f: [f.raw_query, b"?" + f.raw_query])),
    Hypothesis("query-not-encoded", each("raw_query", _unencoded)),
    Hypothesis("query-sorted-by-key", each("raw_query", lambda p, _: [_joined(sorted(p.query), _encode)])),
    Hypothesis("query-encoded-twice", each("encode_query", lambda *_: [_twice])),
    Hypothesis("query-empty-value", each("raw_query", _without_equals)),
)


# -- headers ----------------------------------------------------------------------------------------------------------


def _with_value(name: bytes, values: Callable[[Parts, Facts], Iterable[bytes]]) -> Vary:
    """Another value of one header, where that header is signed."""

    def vary(parts: Parts, facts: Facts) -> Iterator[Parts]:
        if any(pair[0] == name for pair in parts.headers):
            for value in values(parts, facts):
                headers = tuple((key, value if key == name else old) for key, old in parts.headers)
                yield parts._replace(headers=headers)

    return vary


def _left_out(parts: Parts, _: Facts) -> Iterator[Parts]:
    for index in range(min(len(parts.headers), 20)):
        yield parts._replace(headers=parts.headers[:index] + parts.headers[index + 1 :])
    yield parts._replace(headers=tuple(pair for pair in parts.headers if pair[0] == b"host"))
    yield parts._replace(headers=())


def _not_listed(parts: Parts, facts: Facts) -> Iterator[Parts]:
    more = [pair for pair in facts.all_headers if pair not in parts.headers and pair[0] != b"authorization"]
    for pair in more[:20]:
        yield parts._replace(headers=(*parts.headers, pair))
    yield parts._replace(headers=tuple(bce_canonical.selected((*parts.headers, *more), ())))
    yield parts._replace(headers=(*parts.headers, *more))


def _changed(parts: Parts, _: Facts) -> Iterator[Parts]:
    """One signed header before the usual rewriting on the way: blanks, quotation marks, case, escapes."""
    for index, (name, value) in enumerate(parts.headers[:20]):
        for other in _rewritten(value):
            if other != value:
                yield parts._replace(headers=(*parts.headers[:index], (name, other), *parts.headers[index + 1 :]))


def _rewritten(value: bytes) -> Iterator[bytes]:
    yield b" ".join(value.split())
    yield value.replace(b" ", b"")
    yield value.replace(b" ", b"  ")
    yield value.replace(b",", b", ")
    yield value.replace(b";", b"; ")
    yield b'"%b"' % value
    yield value.strip(b"\"'")
    yield value.lower()
    yield value.upper()
    yield unquote_to_bytes(value)
    yield _encode(value)


def _unsorted(parts: Parts, facts: Facts) -> Iterator[Parts]:
    listed = [octets(name) for name in facts.authorization.signed_headers]
    as_listed = sorted(parts.headers, key=lambda pair: listed.index(pair[0]) if pair[0] in listed else len(listed))
    for headers in (tuple(as_listed), parts.headers):
        yield parts._replace(headers=headers, sort_headers=False)


def _names_as_sent(parts: Parts, facts: Facts) -> Iterator[Parts]:
    sent = {octets(name).strip().lower(): octets(name).strip() for name, _ in facts.request.headers}
    titles = {name: b"-".join(word.capitalize() for word in name.split(b"-")) for name in sent}
    for spelt in (sent, titles):
        yield parts._replace(headers=tuple((spelt[name], value) for name, value in parts.headers))


def _lengths(_: Parts, facts: Facts) -> Iterator[bytes]:
    yield b"0"
    yield b"%d" % len(facts.request.body)
    yield b"%d" % len(legible(facts.request.body))  # characters, not bytes
    payload = parsed(facts.request.body)
    if payload is not None:
        for length in sorted({len(spelling) for spelling in json_spellings(payload)}):
            yield b"%d" % length


def _around(facts: Facts) -> Iterator[bytes]:
    for by in (0, -1, 1, -2, 2):
        yield octets(format_bce_date(facts.authorization.issued + by))


HOSTS: tuple[Mistake, ...] = (
    Hypothesis("url-real-host", _with_value(b"host", lambda *_: REAL_HOSTS)),
    Hypothesis(
        "url-default-port", _with_value(b"host", lambda _, f: [without_port(f.host) + p for p in (b":80", b":443")])
    ),
    Hypothesis("url-other-host", _with_value(b"host", lambda _, f: other_hosts(f.request, f.host))),
)

HEADERS: tuple[Mistake, ...] = (
    Hypothesis("headers-not-encoded", each("encode_header", lambda *_: [_raw, _slash_kept])),
    Hypothesis("headers-unsorted", _unsorted),
    Hypothesis("content-type-changed", _with_value(b"content-type", lambda *_: _CONTENT_TYPES)),
    Hypothesis("content-length-changed", _with_value(b"content-length", _lengths)),
    Hypothesis("date-changed", _with_value(b"x-bce-date", lambda _, facts: _around(facts))),
    Hypothesis("headers-encoded-twice", each("encode_header", lambda *_: [_twice])),
    Hypothesis("header-changed", _changed),
    Hypothesis("header-left-out", _left_out),
    Hypothesis("header-not-listed", _not_listed),
    Hypothesis("header-names-case", _names_as_sent),
)


# -- method, key, joining ---------------------------------------------------------------------------------------------


def _raw_digest(secret: bytes, prefix: bytes) -> bytes:
    return hmac.digest(secret, prefix, "sha256")


def _upper(secret: bytes, prefix: bytes) -> bytes:
    return _derive(secret, prefix).upper()


def _base64(secret: bytes, prefix: bytes) -> bytes:
    return base64.b64encode(hmac.digest(secret, prefix, "sha256"))


def _underived(secret: bytes, _: bytes) -> bytes:
    return secret


def _swapped(secret: bytes, prefix: bytes) -> bytes:
    return _derive(prefix, secret)


def _prefix(change: Callable[[BceAuthorization, Facts], Iterable[bytes]]) -> Vary:
    return each("prefix", lambda _, facts: change(facts.authorization, facts))


def _fields(read: BceAuthorization) -> tuple[bytes, bytes, bytes, bytes]:
    name, key, time, seconds = octets(read.prefix).split(b"/")
    return name, key, time, seconds


def _other_times(read: BceAuthorization, facts: Facts) -> Iterator[bytes]:
    name, key, _, seconds = _fields(read)
    for time in (octets(facts.request.header("x-bce-date", "") or ""), *_around(facts), b"%d" % read.issued):
        yield b"/".join((name, key, time, seconds))


def _other_expirations(read: BceAuthorization, _: Facts) -> Iterator[bytes]:
    name, key, time, _seconds = _fields(read)
    for seconds in _EXPIRATIONS:
        yield b"/".join((name, key, time, seconds))


def _other_prefixes(read: BceAuthorization, _: Facts) -> Iterator[bytes]:
    name, key, time, seconds = _fields(read)
    prefix = octets(read.prefix)
    yield prefix + b"/"
    yield prefix + b"/" + octets(";".join(read.signed_headers))
    yield b"/".join((key, time, seconds))
    yield b"/".join((name, key, time))


def _bodies(parts: Parts, facts: Facts) -> Iterator[Parts]:
    body = facts.request.body
    for text in (body, hashlib.sha256(body).hexdigest().encode("ascii")):
        yield parts._replace(after=(("BODY", text),))


DERIVATIONS: tuple[Mistake, ...] = (
    Hypothesis("signing-key-raw", each("derive", lambda *_: [_raw_digest])),
    Hypothesis("secret-without-derivation", each("derive", lambda *_: [_underived])),
    Hypothesis("signing-key-upper-case", each("derive", lambda *_: [_upper])),
    Hypothesis("signing-key-base64", each("derive", lambda *_: [_base64])),
)

OTHERS: tuple[Mistake, ...] = (
    Hypothesis("prefix-timestamp", _prefix(_other_times)),
    Hypothesis("prefix-expiration", _prefix(_other_expirations)),
    Hypothesis("prefix-other", _prefix(_other_prefixes)),
    Hypothesis("method-case", each("method", lambda p, _: [p.method.lower(), p.method.capitalize()])),
    Hypothesis("method-other", each("method", lambda *_: OTHER_METHODS)),
    Hypothesis("body-signed", _bodies),
    Hypothesis("trailing-newline", each("tail", lambda *_: [b"\n"])),
    Hypothesis("separator-crlf", each("separator", lambda *_: [b"\r\n"])),
    Hypothesis("separator-literal", each("separator", lambda *_: [rb"\n"])),
    Hypothesis("separator-missing", each("separator", lambda *_: [b""])),
    Hypothesis(
        "percent-lower-case", lambda p, _: [p._replace(encode_query=_lower_escapes, encode_header=_lower_escapes)]
    ),
    Hypothesis(
        "encode-uri-component", lambda p, _: [p._replace(encode_query=_uri_component, encode_header=_uri_component)]
    ),
)


def _other_secret(change: Callable[[bytes, bytes], Iterable[bytes]]) -> Vary:
    return each("secret", lambda parts, _: change(parts.secret, parts.access_key))


def _other_mac(macs: Iterable[Mac]) -> Vary:
    return lambda parts, _: [parts._replace(mac=mac) for mac in macs]


SECRETS: tuple[Mistake, ...] = (
    *(Hypothesis(cause, _other_secret(change)) for cause, change in KEY_CHANGES),
    *(Hypothesis(cause, _other_mac(macs)) for cause, macs in MAC_CHANGES),
    Hypothesis("key-and-message-swapped", each("derive", lambda *_: [_swapped])),
)

#: Those of few strings first: what a digest matches is certain, so the order is one of cost.
HYPOTHESES = (*HOSTS, *DERIVATIONS, *SECRETS, *QUERIES, *OTHERS, *HEADERS, *PLACES)
#: Pairs of mistakes that are worth their tries, once no single one explains the signature.
PAIRS: tuple[tuple[tuple[Mistake, ...], tuple[Mistake, ...]], ...] = (
    (DERIVATIONS, (*HEADERS[:2], *PLACES[:2], *QUERIES[:4], HOSTS[0])),
    (HOSTS[:1], HEADERS[2:5]),
    (HEADERS[:2], (*PLACES[:2], *QUERIES[:4], HOSTS[0])),
)


def guesses(request: HttpRequest, authorization: BceAuthorization, secret_key: str) -> Iterator[Guess]:
    """What the client may have signed, the likeliest first: no mistake, one mistake, then some pairs."""
    target = octets(request.target)
    path, _, raw_query = target.partition(b"?")
    all_headers = tuple(bce_canonical.header_pairs(request, "utf-8"))
    host = next((value for name, value in all_headers if name == b"host"), b"")
    facts = Facts(request, authorization, host, path or b"/", raw_query, all_headers)
    listed = frozenset(map(octets, authorization.signed_headers))
    regular = (
        reading
        for _, reading in bce_canonical.readings(request, listed)
        if (reading.encoding, reading.charset, reading.path) == (STANDARD, "utf-8", Reading().path)
    )
    bases = [_base(facts, listed, reading, octets(secret_key)) for reading in islice(regular, _BASES)]
    strings = [parts.canonical for parts in bases]
    for parts, expected in zip(bases, strings, strict=True):
        yield _guess((), expected, parts)
    for hypothesis in HYPOTHESES:
        for parts, expected in zip(bases, strings, strict=True):
            for wrong in hypothesis.vary(parts, facts):
                yield _guess((hypothesis.cause,), expected, wrong)
    for firsts, seconds in PAIRS:
        for first, second in product(firsts, seconds):
            for parts, expected in zip(bases, strings, strict=True):
                for wrong in first.vary(parts, facts):
                    for worse in second.vary(wrong, facts):
                        yield _guess((first.cause, second.cause), expected, worse)


def _guess(causes: tuple[str, ...], expected: Callable[[], Canonical], wrong: Parts) -> Guess:
    return Guess(causes, expected, wrong, wrong.derive(wrong.secret, wrong.prefix), wrong.mac)


def _base(facts: Facts, listed: frozenset[bytes], reading: Reading, secret: bytes) -> Parts:
    headers = bce_canonical.selected(facts.all_headers, listed, unlisted_bce=reading.unlisted_bce)
    if not reading.host_port:
        headers = [(name, without_port(value) if name == b"host" else value) for name, value in headers]
    query = bce_canonical.query_pairs(facts.raw_query, plus_is_space=reading.plus_is_space)
    if not reading.authorization_key:
        query = [pair for pair in query if pair[0].lower() != b"authorization"]
    return Parts(
        method=octets(facts.request.method.upper()),
        uri=facts.path,
        query=tuple(query),
        headers=tuple(headers),
        prefix=octets(facts.authorization.prefix),
        secret=secret,
        access_key=octets(facts.authorization.access_key),
    )
