"""Mistakes in signing the text_generation dialect, as a table: what each makes of the string and the key."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import permutations, product
from typing import NamedTuple, TypeAlias
from urllib.parse import quote_from_bytes, unquote_to_bytes

from qfkit.protocol.dialects import BASE_URLS, TEXT_GENERATION_CHAT, TEXT_GENERATION_STREAM
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing.bce_canonical import without_port
from qfkit.protocol.signing.canonical import Canonical, legible, octets
from qfkit.protocol.signing.hmac_headers import ALL_FORMS, HmacForm, SignedFields, canonical, form_causes
from qfkit.protocol.signing.hypotheses import (
    KEY_CHANGES,
    MAC_CHANGES,
    OTHER_METHODS,
    REAL_HOSTS,
    Hypothesis,
    KeyChange,
    each,
    likely_spellings,
    other_hosts,
    other_spellings,
    parsed,
    path_tails,
    query_encodings,
    query_orders,
    spellings,
)
from qfkit.protocol.signing.search import Guess, Mac, hmac_of

_SCHEMES = (b"http://", b"https://")
_REAL_URL = octets(BASE_URLS["text_generation"])
_LABELS = ("METHOD", "TARGET", "BODY", "TIMESTAMP", "NONCE")


class Parts(NamedTuple):
    """What a client put into its signature."""

    method: bytes
    target: bytes
    body: bytes
    timestamp: bytes
    nonce: bytes
    order: tuple[str, ...]
    key: bytes
    access_key: bytes
    separator: bytes = b"\n"
    tail: bytes = b""
    mac: Mac = hmac_of

    def message(self) -> bytes:
        """The bytes to sign that these parts make."""
        return self.separator.join([getattr(self, _FIELDS[label]) for label in self.order]) + self.tail

    def canonical(self) -> Canonical:
        """The string to sign that these parts make."""
        return Canonical(
            tuple((label, getattr(self, _FIELDS[label])) for label in self.order), self.separator, self.tail
        )


#: Which field of ``Parts`` holds what.
_FIELDS = {label: label.lower().replace(" ", "_") for label in (*_LABELS, "ACCESS KEY")}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mistake may have drawn on, besides the parts.

    ``spelt`` keeps the other spellings of a body: each form of the string wants them again.
    """

    request: HttpRequest
    host: bytes
    path: bytes
    query: bytes
    spelt: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)


Vary: TypeAlias = Callable[[Parts, Facts], Iterable[Parts]]
Mistake: TypeAlias = Hypothesis[Parts, Facts]


# -- target -----------------------------------------------------------------------------------------------------------


def _under(hosts: Iterable[bytes], facts: Facts, schemes: Iterable[bytes] = _SCHEMES) -> Iterator[bytes]:
    target = octets(facts.request.target)
    for host in hosts:
        for scheme in schemes:
            yield scheme + host + target


def _default_ports(facts: Facts) -> Iterator[bytes]:
    target = octets(facts.request.target)
    for scheme, port in ((b"http://", b":80"), (b"https://", b":443")):
        yield scheme + without_port(facts.host) + port + target


def _without_query(facts: Facts) -> Iterator[bytes]:
    if facts.query:
        yield facts.path
        for scheme in _SCHEMES:
            yield scheme + facts.host + facts.path
            for host in REAL_HOSTS:
                yield scheme + host + facts.path


def _queried(change: Callable[[bytes], Iterable[bytes]]) -> Vary:
    """Another query behind the path, as path and as URL."""

    def vary(_: Parts, facts: Facts) -> Iterator[bytes]:
        if facts.query:
            for query in dict.fromkeys(change(facts.query)):
                for start in (b"", b"http://" + facts.host, b"https://" + facts.host, _REAL_URL):
                    yield start + facts.path + b"?" + query

    return each("target", vary)


def _decoded(_: Parts, facts: Facts) -> Iterator[bytes]:
    path = unquote_to_bytes(facts.path)
    if path != facts.path:
        for start in (b"", *(scheme + facts.host for scheme in _SCHEMES)):
            yield start + path + (b"?" + facts.query if facts.query else b"")
            yield start + path + (b"?" + unquote_to_bytes(facts.query) if facts.query else b"")


def _other_endpoints(facts: Facts) -> Iterator[bytes]:
    for path in (TEXT_GENERATION_CHAT, TEXT_GENERATION_STREAM):
        other = octets(path)
        yield other
        for host in (facts.host, *REAL_HOSTS):
            for scheme in _SCHEMES:
                yield scheme + host + other


def _slashed(_: Parts, facts: Facts) -> Iterator[bytes]:
    query = octets(facts.request.target)[len(facts.path) :]
    for path in (facts.path + b"/", facts.path.removesuffix(b"/"), facts.path.replace(b"//", b"/")):
        if path != facts.path:
            for start in (b"", *(scheme + facts.host for scheme in _SCHEMES)):
                yield start + path + query
    yield facts.path + query + b"/"


def _encoded_again(_: Parts, facts: Facts) -> Iterator[bytes]:
    target = octets(facts.request.target)
    path = quote_from_bytes(facts.path).encode("ascii") + target[len(facts.path) :]
    for start in (b"", *(scheme + facts.host for scheme in _SCHEMES)):
        yield start + quote_from_bytes(target).encode("ascii")
        yield start + path
        yield start + quote_from_bytes(target, safe="/?=&").encode("ascii")


TARGETS: tuple[Mistake, ...] = (
    Hypothesis("url-real-host", each("target", lambda _, facts: _under(REAL_HOSTS, facts))),
    Hypothesis("url-without-port", each("target", lambda _, facts: _under([without_port(facts.host)], facts))),
    Hypothesis("query-dropped", each("target", lambda _, facts: _without_query(facts))),
    Hypothesis("path-slash", each("target", _slashed)),
    Hypothesis("other-endpoint", each("target", lambda _, facts: _other_endpoints(facts))),
    Hypothesis("endpoint-tail", each("target", lambda _, facts: path_tails(octets(facts.request.target)))),
    Hypothesis(
        "url-without-scheme",
        each("target", lambda _, facts: _under([facts.host, *REAL_HOSTS], facts, schemes=[b"", b"//"])),
    ),
    Hypothesis("url-default-port", each("target", lambda _, facts: _default_ports(facts))),
    Hypothesis("url-other-host", each("target", lambda _, f: _under(other_hosts(f.request, f.host), f))),
    Hypothesis("path-decoded", each("target", _decoded)),
    Hypothesis("query-reordered", _queried(query_orders)),
    Hypothesis("query-encoding", _queried(query_encodings)),
    Hypothesis("path-encoded-twice", each("target", _encoded_again)),
)


# -- body -------------------------------------------------------------------------------------------------------------


def _reserialised(parts: Parts, facts: Facts) -> tuple[bytes, ...]:
    if parts.body not in facts.spelt:
        payload = parsed(parts.body)
        found = () if payload is None else (*spellings(payload), *other_spellings(payload))
        facts.spelt[parts.body] = tuple(dict.fromkeys(found))
    return facts.spelt[parts.body]


def _json_twice(parts: Parts, _: Facts) -> Iterator[bytes]:
    payload = parsed(parts.body)
    if isinstance(payload, str):
        yield octets(payload)
    if payload is not None:
        for ascii_only in (True, False):
            yield octets(json.dumps(legible(parts.body), ensure_ascii=ascii_only))


def _python_repr(parts: Parts, _: Facts) -> Iterator[bytes]:
    payload = parsed(parts.body)
    if isinstance(payload, (dict, list)):
        try:
            text = str(payload)
        except RecursionError:  # nested deeper than Python prints, though the decoder got through
            return
        yield octets(text)


def _other_charsets(parts: Parts, _: Facts) -> Iterator[bytes]:
    try:
        text = parts.body.decode("utf-8")
    except UnicodeDecodeError:
        text = parts.body.decode("gbk", "replace")
        yield text.encode("utf-8")
    for charset in ("gbk", "latin-1", "utf-16-le", "utf-8-sig"):
        yield text.encode(charset, "replace")


def _around(parts: Parts, _: Facts) -> Iterator[bytes]:
    yield parts.body.strip()
    yield parts.body + b"\n"
    yield parts.body + b"\r\n"


def _body_hashes(parts: Parts, _: Facts) -> Iterator[bytes]:
    digest = hashlib.sha256(parts.body)
    yield digest.hexdigest().encode()
    yield base64.b64encode(digest.digest())
    yield hashlib.md5(parts.body, usedforsecurity=False).hexdigest().encode()


BODIES: tuple[Mistake, ...] = (
    Hypothesis("body-whitespace", each("body", _around)),
    Hypothesis("body-reserialised", each("body", _reserialised)),
    Hypothesis("body-empty", each("body", lambda *_: [b"", b"{}", b"None", b"null"])),
    Hypothesis("body-json-twice", each("body", _json_twice)),
    Hypothesis("body-python-repr", each("body", _python_repr)),
    Hypothesis("body-bytes-repr", each("body", lambda parts, _: [str(parts.body).encode()])),
    Hypothesis("body-encoding", each("body", _other_charsets)),
    Hypothesis("body-hashed", each("body", _body_hashes)),
)


# -- key --------------------------------------------------------------------------------------------------------------


def _other_key(change: KeyChange) -> Vary:
    return each("key", lambda parts, _: change(parts.key, parts.access_key))


def _other_mac(macs: Iterable[Mac]) -> Vary:
    return lambda parts, _: [parts._replace(mac=mac) for mac in macs]


SECRETS: tuple[Mistake, ...] = (
    *(Hypothesis(cause, _other_key(change)) for cause, change in KEY_CHANGES),
    *(Hypothesis(cause, _other_mac(macs)) for cause, macs in MAC_CHANGES),
)


# -- time stamp, method, joining --------------------------------------------------------------------------------------


def _moment(parts: Parts) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(parts.timestamp), timezone.utc)
    except (ValueError, OverflowError, OSError):  # beyond the calendar: no client can have written it out
        return None


def _iso(parts: Parts, _: Facts) -> Iterator[bytes]:
    moment = _moment(parts)
    if moment is not None:
        for layout in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y%m%dT%H%M%SZ", "%Y%m%d%H%M%S"):
            yield moment.strftime(layout).encode()


def _other_times(_: Parts, facts: Facts) -> Iterator[bytes]:
    for name in ("x-bce-date", "date", "x-timestamp", "timestamp"):
        text = facts.request.header(name)
        if text is None:
            continue
        yield octets(text)
        for read in (_from_iso, parsedate_to_datetime):
            try:
                moment = read(text)
            except (ValueError, TypeError, IndexError, OverflowError):  # not a date of this kind
                continue
            yield b"%d" % moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()


def _from_iso(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix("Z"))


TIMES: tuple[Mistake, ...] = (
    Hypothesis(
        "timestamp-read-twice",
        each("timestamp", lambda parts, _: [b"%d" % (int(parts.timestamp) + by) for by in (-1, 1, -2, 2, -3)]),
    ),
    Hypothesis("timestamp-in-milliseconds", each("timestamp", lambda parts, _: [parts.timestamp + b"000"])),
    Hypothesis("timestamp-float", each("timestamp", lambda parts, _: [parts.timestamp + b".0"])),
    Hypothesis("timestamp-other-header", each("timestamp", _other_times)),
    Hypothesis("timestamp-iso", each("timestamp", _iso)),
)

METHODS: tuple[Mistake, ...] = (
    Hypothesis("method-case", each("method", lambda parts, _: [parts.method.lower(), parts.method.capitalize()])),
    Hypothesis("method-other", each("method", lambda *_: OTHER_METHODS)),
)


def _ordered(*orders: str) -> Vary:
    initials = {label[0]: label for label in _LABELS} | {"T": "TARGET", "S": "TIMESTAMP", "A": "ACCESS KEY"}
    spelt = [tuple(initials[letter] for letter in order) for order in orders]
    return lambda parts, _: [parts._replace(order=order) for order in spelt]


def _separated(*separators: bytes) -> Vary:
    return each("separator", lambda *_: separators)


#: Orders are spelt by initials: Method, Target, Body, time Stamp, Nonce, Access key.
_ORDERS = tuple("".join(order) for order in permutations("MTBS"))[1:]
JOINING: tuple[Mistake, ...] = (
    Hypothesis("nonce-before-timestamp", _ordered("MTBNS")),
    Hypothesis(
        "parts-reordered", _ordered("MTSB", "MTSNB", "MTNSB", "SNMTB", "NSMTB", *_ORDERS, *(f"{x}N" for x in _ORDERS))
    ),
    Hypothesis("part-left-out", _ordered("TBSN", "TBS", "MBSN", "MBS", "MTSN", "MTS", "MTB", "MTBN", "BSN", "BS", "B")),
    Hypothesis("access-key-signed", _ordered("MTBSNA", "MTBSA", "AMTBSN", "AMTBS", "ASN", "ASNB")),
    Hypothesis("separator-crlf", _separated(b"\r\n")),
    Hypothesis("separator-literal", _separated(rb"\n")),
    Hypothesis("separator-missing", _separated(b"")),
    Hypothesis("separator-other", _separated(b"&", b" ", b"|")),
    Hypothesis("trailing-newline", each("tail", lambda *_: [b"\n", b"\r\n"])),
)

#: Those of few strings first: what a digest matches is certain, so
#: the order is one of cost; joining comes last, as it is got wrong least.
HYPOTHESES = (*METHODS, *SECRETS, *TIMES, *TARGETS, *BODIES, *JOINING)
#: Of the mistakes that go together with others, what each likeliest is: pairs multiply, and tries are few.
_LIKELY_TARGETS: tuple[Mistake, ...] = (
    Hypothesis("url-real-host", each("target", lambda _, facts: [_REAL_URL + octets(facts.request.target)])),
    Hypothesis(
        "url-without-port", each("target", lambda _, f: _under([without_port(f.host)], f, schemes=_SCHEMES[:1]))
    ),
    Hypothesis("query-dropped", each("target", lambda _, facts: [facts.path] if facts.query else [])),
)
_LIKELY_BODIES: tuple[Mistake, ...] = (
    Hypothesis("body-reserialised", each("body", lambda parts, _: likely_spellings(parts.body))),
    Hypothesis("body-empty", each("body", lambda *_: [b""])),
)
#: Pairs that are worth their tries, once no single mistake explains the signature.
PAIRS: tuple[tuple[tuple[Mistake, ...], tuple[Mistake, ...]], ...] = (
    (_LIKELY_TARGETS, _LIKELY_BODIES),
    (_LIKELY_TARGETS, (METHODS[0], *SECRETS[:2])),
    (_LIKELY_BODIES, SECRETS[:2]),
)


_URL_FORM = {form: HmacForm(form.value.replace("path", "url")) for form in ALL_FORMS}


def guesses(
    request: HttpRequest, fields: SignedFields, secret_key: str, forms: Sequence[HmacForm] = ALL_FORMS
) -> Iterator[Guess]:
    """What the client may have signed, the likeliest first: in each form no mistake, one mistake, then some pairs."""
    target = octets(request.target)
    path, _, query = target.partition(b"?")
    facts = Facts(request, octets(fields.host), path, query)
    bases = [(form, _base(request, fields, form, octets(secret_key))) for form in ALL_FORMS]
    # Where a client of each form, if it follows the URL forms, ends up: its causes and the string it should have built.
    ends = {
        (form, scheme): (form_causes(form, wanted), partial(canonical, request, fields, wanted, scheme))
        for form in ALL_FORMS
        for wanted in (form if form in forms else HmacForm(forms[0]),)
        for scheme in ("http", "https")
    }

    def guess(form: HmacForm, causes: tuple[str, ...], wrong: Parts) -> Guess:
        # Either scheme is right in a URL: a difference there would only hide the one that matters.
        scheme = "http"
        if wrong.target.startswith(b"http"):
            if wrong.target.startswith(_SCHEMES):  # so the client follows the URL form, whichever base this came from
                form = _URL_FORM[form]
            if wrong.target.startswith(b"https:"):
                scheme = "https"
        more, expected = ends[form, scheme]
        return Guess(causes + more, expected, wrong, wrong.key, wrong.mac)

    for form, parts in bases:
        yield guess(form, (), parts)
    # Target mistakes replace what tells the path forms from the URL forms, so they are tried once for A and B each.
    by_path = [base for base in bases if base[0] in (HmacForm.B_PATH, HmacForm.A_PATH)]
    for hypothesis in HYPOTHESES:
        for form, parts in by_path if hypothesis in TARGETS else bases:
            for wrong in hypothesis.vary(parts, facts):
                yield guess(form, (hypothesis.cause,), wrong)
    for firsts, seconds in PAIRS:
        for first, second in product(firsts, seconds):
            for form, parts in by_path:
                for wrong in first.vary(parts, facts):
                    for worse in second.vary(wrong, facts):
                        yield guess(form, (first.cause, second.cause), worse)


def _base(request: HttpRequest, fields: SignedFields, form: HmacForm, key: bytes) -> Parts:
    right = dict(canonical(request, fields, form).parts)
    return Parts(
        method=right["METHOD"],
        target=right["TARGET"],
        body=right["BODY"],
        timestamp=right["TIMESTAMP"],
        nonce=octets(fields.nonce),
        order=tuple(right),
        key=key,
        access_key=octets(fields.access_key),
    )
