"""Every cause of a refused ``X-Bce-Signature``, made by the tutorial's own signer with its inputs or its text changed.

A change that comes out the same in the end (an endpoint signed without its query where there is none) is no mistake: no
case is made of it. Each maker says so by returning None, or draws a request in which the change shows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import inspect
import json
import random
import re
import string
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from email.utils import format_datetime
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from signing_cases import (
    CHAT,
    HOSTS,
    NOW,
    WORDS,
    Case,
    Maker,
    key_pair,
    mutated,
    params,
    path,
    payload,
    spelt,
    words,
    written,
)

from mock_server.auth import authenticate
from mock_server.state import State
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.dialects import Route
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import HmacForm, Verification

sys.path.append(str(Path(__file__).parents[2] / "contract"))
import tutorial_client

SOURCE = inspect.getsource(tutorial_client.generate_signature)
TEMPLATE = "{method}\\n{path}\\n{body}\\n{timestamp}"
#: How the tutorial's signer becomes that of the documented form B: it appends the nonce.
WITH_NONCE = TEMPLATE + "\\n{nonce}"
REAL = ["aip.baidubce.com", "qianfan.baidubce.com"]


@cache
def signer(*changes: tuple[str, str]) -> Callable[..., str]:
    """The tutorial's ``generate_signature``, its text changed; it takes the nonce and the access key too."""
    more = (("body, timestamp)", "body, timestamp, nonce, access_key)"), *changes)
    made: Callable[..., str] = mutated(SOURCE, more, {"hmac": hmac, "hashlib": hashlib, "base64": base64})[
        "generate_signature"
    ]
    return made


@dataclass(frozen=True)
class Sent:
    """A request as the client means to send it."""

    access_key: str
    secret: str
    scheme: str
    host: str
    path: str
    query: str
    payload: Any
    body: str
    nonce: str
    by_url: bool
    with_nonce: bool
    method: str = "POST"
    timestamp: str = str(NOW)
    headers: tuple[tuple[str, str], ...] = ()
    charset: str = "utf-8"

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    def place(self, target: str | None = None, host: str | None = None, scheme: str | None = None) -> str:
        """What this client signs as the target: the path, or the full URL."""
        target = self.target if target is None else target
        return f"{scheme or self.scheme}://{self.host if host is None else host}{target}" if self.by_url else target

    def signature(self, *changes: tuple[str, str], template: str | None = None, **inputs: Any) -> str:
        """By the tutorial's signer, mutated, over mutated inputs."""
        usual = WITH_NONCE if self.with_nonce else TEMPLATE
        given = {
            "secret_key": self.secret,
            "method": self.method,
            "path": self.place(),
            "body": self.body,
            "timestamp": self.timestamp,
            "nonce": self.nonce,
            "access_key": self.access_key,
        }
        return signer((TEMPLATE, usual if template is None else template), *changes)(**(given | inputs))

    def request(self, signature: str) -> HttpRequest:
        headers = (
            ("Host", self.host),
            ("Content-Type", "application/json"),
            ("X-Bce-AccessKey", self.access_key),
            ("X-Bce-Timestamp", self.timestamp),
            ("X-Bce-Nonce", self.nonce),
            ("X-Bce-Signature", signature),
        )
        body = self.body.encode(self.charset)
        return HttpRequest(self.method, self.target, (*headers, *self.headers), body, self.scheme)

    def case(self, signature: str, **fields: Any) -> Case:
        return Case(self.request(signature), **({"known": self.secret, "hidden": self.hidden()} | fields))

    def hidden(self) -> tuple[str, ...]:
        """The secret and the signatures that would be accepted."""
        found = [self.secret]
        places = [self.target, *(f"{scheme}://{self.host}{self.target}" for scheme in ("http", "https"))]
        for place in places:
            for template in (TEMPLATE, WITH_NONCE):
                right = self.signature(template=template, path=place)
                found += [right, base64.b64decode(right).hex()]
        return tuple(found)


def sent(rng: random.Random, *, least_query: int = 0, **changes: Any) -> Sent:
    access_key, secret = key_pair(rng)
    value = payload(rng)
    made = Sent(
        access_key=access_key,
        secret=secret,
        scheme=rng.choice(["http", "https"]),
        host=rng.choice(HOSTS),
        path=path(rng, CHAT),
        query=written(params(rng, least_query), rng),
        payload=value,
        body=spelt(value, rng),
        nonce=rng.choice([str(rng.randint(10000, 99999)), words(rng, string.hexdigits, 32)]),
        by_url=rng.random() < 0.5,
        with_nonce=rng.random() < 0.5,
    )
    return replace(made, **changes)


def inputs(change: Callable[[random.Random, Sent], dict[str, Any] | None], **drawn: Any) -> Maker:
    """A maker whose mistake is another input to the signer; None from ``change`` for no occasion."""

    def make(rng: random.Random) -> Case | None:
        client = sent(rng, **drawn)
        changed = change(rng, client)
        return None if changed is None else client.case(client.signature(**changed))

    return make


def text(*options: tuple[tuple[str, str], ...], **drawn: Any) -> Maker:
    """A maker whose mistake is a change in the signer's text."""

    def make(rng: random.Random) -> Case | None:
        client = sent(rng, **drawn)
        return client.case(client.signature(*rng.choice(options)))

    return make


def template(with_nonce: list[str], without: list[str]) -> Maker:
    """A maker whose mistake is another string to sign, drawn by whether this client signs the nonce."""

    def make(rng: random.Random) -> Case | None:
        client = sent(rng)
        options = with_nonce if client.with_nonce else without
        return client.case(client.signature(template=rng.choice(options))) if options else None

    return make


def joined(order: str, separator: str = "\\n", tail: str = "") -> str:
    """A template by initials: Method, Path, Body, Timestamp, Nonce, Access key."""
    names = {name[0].upper(): name for name in ("method", "path", "body", "timestamp", "nonce", "access_key")}
    return separator.join("{" + names[letter] + "}" for letter in order) + tail


def joining(separator: str = "\\n", tail: str = "") -> Maker:
    return template([joined("MPBTN", separator, tail)], [joined("MPBT", separator, tail)])


# -- the reading of headers -------------------------------------------------------------------------------------------


def _missing(rng: random.Random) -> Case:
    client = sent(rng)
    case = client.case(client.signature())
    lost = rng.choice(["X-Bce-AccessKey", "X-Bce-Timestamp", "X-Bce-Nonce"])
    empty = rng.random() < 0.5
    headers = tuple((n, "" if n == lost else v) for n, v in case.request.headers if empty or n != lost)
    return replace(case, request=replace(case.request, headers=headers))


def _repeated(rng: random.Random) -> Case:
    client = sent(rng)
    name, value = rng.choice(
        [("X-Bce-Timestamp", str(NOW - 1)), ("X-Bce-Nonce", "1"), ("X-Bce-Signature", client.signature(timestamp="1"))]
    )
    return replace(client, headers=((name.lower(), value),)).case(client.signature())


def _at(times: Callable[[random.Random], str]) -> Maker:
    """The time stamp, sent and signed, is not that of now."""

    def make(rng: random.Random) -> Case:
        client = sent(rng, timestamp=times(rng))
        return client.case(client.signature())

    return make


def _milliseconds(rng: random.Random) -> Case:
    if rng.random() < 0.5:  # sent and signed so
        client = sent(rng, timestamp=str(NOW * rng.choice([10**3, 10**6, 10**9]) + rng.randint(0, 999)))
        return client.case(client.signature())
    client = sent(rng)
    return client.case(client.signature(timestamp=f"{NOW}000"))


def _unknown(rng: random.Random) -> Case:
    client = sent(rng)
    if rng.random() < 0.3:  # the two keys in each other's place
        client = replace(client, access_key=client.secret, secret=client.access_key)
        return client.case(client.signature(), known=None, hidden=(client.access_key,))
    return client.case(client.signature(), known=None)


class _Fixed:
    """A clock that stands."""

    def time(self) -> float:
        return NOW

    monotonic = time


def _replayed(rng: random.Random) -> Case:
    client = sent(rng)

    def judge(case: Case) -> Verification:
        """What the mock says when it comes twice: that a request was seen before, only who keeps a state can tell."""
        state = State(clock=_Fixed())
        state.add_account(Credentials(access_key=client.access_key, secret_key=client.secret))
        first, second = (authenticate(case.request, Route("text_generation", "chat"), state) for _ in range(2))
        assert first.signature.ok
        return second.signature

    return client.case(client.signature(), judge=judge)


def _form(*, by_url: bool | None = None, with_nonce: bool | None = None) -> Maker:
    """A server that accepts only forms of the other habit; by_url and with_nonce are the client's."""

    def make(rng: random.Random) -> Case:
        client = sent(rng)
        client = replace(
            client,
            by_url=client.by_url if by_url is None else by_url,
            with_nonce=client.with_nonce if with_nonce is None else with_nonce,
        )
        url = client.by_url if by_url is None else not by_url
        nonce = client.with_nonce if with_nonce is None else not with_nonce
        wanted = HmacForm(f"{'B' if nonce else 'A'}/{'url' if url else 'path'}")
        return client.case(client.signature(), forms=(wanted,))

    return make


def _not_a_digest(rng: random.Random) -> Case:
    client = sent(rng)
    right = client.signature()
    wrong = rng.choice([right[: rng.randint(5, 25)] + "!", "sig", "", f"{right}{right}", f"HMAC {right}"])
    return client.case(wrong or "-")


# -- target -----------------------------------------------------------------------------------------------------------


def _without_port(_: random.Random, client: Sent) -> dict[str, Any] | None:
    name, colon, _ = client.host.rpartition(":")
    if not colon:
        return None
    return {"path": f"{client.scheme}://{name}{client.target}"}


def _default_port(_: random.Random, client: Sent) -> dict[str, Any] | None:
    port = {"http": "80", "https": "443"}[client.scheme]
    host = client.host.partition(":")[0] + ":" + port
    return None if host == client.host else {"path": f"{client.scheme}://{host}{client.target}"}


def _other_host(rng: random.Random) -> Case | None:
    client = sent(rng, by_url=True)
    port = client.host.partition(":")[2]
    if rng.random() < 0.5:  # loopback has several names
        client = replace(client, host=f"{rng.choice(['127.0.0.1', 'localhost'])}:{port or 18991}")
        other = "localhost" if client.host.startswith("127") else "127.0.0.1"
        return client.case(client.signature(path=client.place(host=f"{other}:{port or 18991}")))
    client = replace(client, headers=(("X-Forwarded-Host", "llm.corp.example"),))
    return client.case(client.signature(path=client.place(host="llm.corp.example")))


def _reordered(rng: random.Random, client: Sent) -> dict[str, Any] | None:
    pieces = client.query.split("&")
    other = rng.choice([sorted(pieces), pieces[::-1], rng.sample(pieces, len(pieces))])
    return None if other == pieces else {"path": client.place(f"{client.path}?{'&'.join(other)}")}


def _query_encoding(rng: random.Random) -> Case | None:
    client = sent(rng)
    pairs = params(rng, 1)
    sent_query = written(pairs, rng)
    raw = "&".join(f"{key}={value}" for key, value in pairs.items())
    signed = rng.choice([raw, written(pairs, rng)])
    if signed == sent_query:
        return None
    client = replace(client, query=sent_query)
    return client.case(client.signature(path=client.place(f"{client.path}?{signed}")))


def _decoded(_: random.Random, client: Sent) -> dict[str, Any] | None:
    raw = unquote(client.path)
    return None if raw == client.path else {"path": client.place(client.target.replace(client.path, raw, 1))}


def _encoded_twice(_: random.Random, client: Sent) -> dict[str, Any] | None:
    again = quote(client.path)
    return None if again == client.path else {"path": client.place(client.target.replace(client.path, again, 1))}


def _tail(rng: random.Random, client: Sent) -> dict[str, Any]:
    segments = client.target.split("/")
    tail = "/".join(segments[rng.randint(2, len(segments) - 1) :])
    return {"path": rng.choice(["/", ""]) + tail}


def _slash(rng: random.Random) -> Case:
    client = sent(rng)
    slashed = f"{client.path}/"
    if rng.random() < 0.5:
        return client.case(client.signature(path=client.place(client.target.replace(client.path, slashed, 1))))
    signature = client.signature()
    return replace(client, path=slashed).case(signature)


def _other_endpoint(rng: random.Random) -> Case:
    called, signed = rng.sample([CHAT, f"{CHAT}_stream"], 2)
    client = sent(rng, path=called, query="")
    host = rng.choice([client.host, *REAL])
    return client.case(client.signature(path=client.place(signed, host=host)))


# -- body -------------------------------------------------------------------------------------------------------------


#: Habits of encoders in other languages: Go, PHP, fastjson, JavaScript.
_HABITS: tuple[Callable[[str], str], ...] = (
    lambda text: text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
    lambda text: text.replace("/", "\\/"),
    lambda text: re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), text),
    lambda text: text.replace('"temperature":1.0', '"temperature":1'),
)


def _reserialised(rng: random.Random, client: Sent) -> dict[str, Any] | None:
    kind = rng.random()
    if kind < 0.2:
        other = json.dumps(client.payload, indent=rng.choice([2, 4]), ensure_ascii=rng.random() < 0.5)
    elif kind < 0.4:
        other = rng.choice(_HABITS)(spelt(client.payload, rng, separators=(",", ":")))
    else:
        other = spelt(client.payload, rng, sort_keys=rng.random() < 0.4)
    return None if other == client.body else {"body": other}


def _sent_sorted(rng: random.Random) -> Case:
    """Signed as the payload was built, sent with its keys sorted."""
    client = sent(rng)
    value = {"model": "ernie", **client.payload}
    value["messages"] = [{"role": m["role"], "content": m["content"]} for m in value["messages"]]
    value = {key: value[key] for key in ("model", "messages", "temperature")}
    signed = spelt(value, rng)
    client = replace(client, payload=value, body=spelt(value, rng, sort_keys=True))
    return client.case(client.signature(body=signed))


def _body_reserialised(rng: random.Random) -> Case | None:
    return _sent_sorted(rng) if rng.random() < 0.15 else inputs(_reserialised)(rng)


def _whitespace(rng: random.Random) -> Case:
    client = sent(rng)
    if rng.random() < 0.5:
        return client.case(client.signature(body=client.body + rng.choice(["\n", "\r\n"])))
    return replace(client, body=client.body + rng.choice(["\n", "\r\n", " "])).case(client.signature())


def _json_twice(rng: random.Random) -> Case:
    client = sent(rng)
    twice = json.dumps(client.body, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.5:
        return client.case(client.signature(body=twice))
    return replace(client, body=twice).case(client.signature())  # requests' json= given a text


def _encoding(rng: random.Random) -> Case:
    client = sent(rng)
    body = json.dumps({"messages": [{"role": "user", "content": rng.choice(WORDS[:3])}]}, ensure_ascii=False)
    client = replace(client, body=body, path=CHAT, query="")
    if rng.random() < 0.5:
        other = rng.choice(["gbk", "utf-8-sig"])
        if other == "utf-8-sig":
            return client.case(client.signature(body=f"\ufeff{body}"))
        return client.case(client.signature(('string_to_sign.encode("utf-8")', 'string_to_sign.encode("gbk")')))
    return replace(client, charset="gbk").case(client.signature())


def _hashed(rng: random.Random, client: Sent) -> dict[str, Any]:
    digest = rng.choice([hashlib.sha256, hashlib.md5])(client.body.encode())
    encoded = [digest.hexdigest(), base64.b64encode(digest.digest()).decode()]
    return {"body": rng.choice(encoded) if digest.name == "sha256" else encoded[0]}


# -- time, method, key ------------------------------------------------------------------------------------------------


def _other_header(rng: random.Random) -> Case:
    moment = datetime.fromtimestamp(NOW + rng.choice([-200, -9, 7, 100]), timezone.utc)
    name, value = rng.choice(
        [("Date", format_datetime(moment, usegmt=True)), ("x-bce-date", f"{moment:%Y-%m-%dT%H:%M:%SZ}")]
    )
    client = sent(rng, headers=((name, value),))
    return client.case(client.signature(timestamp=rng.choice([value, str(int(moment.timestamp()))])))


def _iso(rng: random.Random, _: Sent) -> dict[str, Any]:
    layout = rng.choice(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y%m%dT%H%M%SZ", "%Y%m%d%H%M%S"])
    return {"timestamp": datetime.fromtimestamp(NOW, timezone.utc).strftime(layout)}


KEY = 'secret_key.encode("utf-8")'


def _from_base64(rng: random.Random) -> Case:
    client = sent(rng)
    return client.case(client.signature((KEY, "base64.b64decode(secret_key)")))


def _from_hex(rng: random.Random) -> Case:
    client = sent(rng, secret="".join(rng.choices("0123456789abcdef", k=32)))
    return client.case(client.signature((KEY, "bytes.fromhex(secret_key)")))


def _swapped(old: str) -> tuple[str, str]:
    return (old, 'string_to_sign.encode("utf-8"), secret_key.encode("utf-8")')


_ARGUMENTS = f'{KEY}, string_to_sign.encode("utf-8")'
_MAC = f"hmac.new({_ARGUMENTS}, hashlib.sha256)"
_SPELT = 'base64.b64encode(hmac_code).decode("utf-8")'


def _spelling(new: str, shows: Callable[[str], bool] = lambda _: True) -> Maker:
    """The digest written otherwise; ``shows`` where that is to be seen."""

    def make(rng: random.Random) -> Case | None:
        client = sent(rng)
        return client.case(client.signature((_SPELT, new))) if shows(client.signature()) else None

    return make


#: Every order of the parts but the right one.
REORDERED = [*permutations("MPBT")][1:]

CAUSES: dict[str, Maker] = {
    "missing-header": _missing,
    "repeated-header": _repeated,
    "timestamp-not-integer": _at(lambda rng: rng.choice([f"{NOW}.25", "2024-05-01T08:00:00Z", "-5", "now", "１２"])),
    "unknown-key": _unknown,
    # 8 hours off has a cause of its own, and so have other units than seconds.
    "clock-behind": _at(lambda rng: str(NOW - rng.choice([rng.randint(301, 28000), rng.randint(30000, 10**8)]))),
    "clock-ahead": _at(lambda rng: str(NOW + rng.choice([rng.randint(301, 28000), rng.randint(30000, 10**8)]))),
    "local-time-for-utc": _at(lambda rng: str(NOW + rng.choice([-28800, 28800]) + rng.randint(-30, 30))),
    "timestamp-in-milliseconds": _milliseconds,
    "replayed": _replayed,
    "url-for-path": _form(by_url=True),
    "path-for-url": _form(by_url=False),
    "nonce-unsigned": _form(with_nonce=False),
    "nonce-signed": _form(with_nonce=True),
    "signature-not-a-digest": _not_a_digest,
    "wrong-secret": inputs(lambda rng, _: {"secret_key": key_pair(rng)[1]}),
    "url-real-host": inputs(lambda rng, c: {"path": f"https://{rng.choice(REAL)}{c.target}"}),
    "url-without-port": inputs(_without_port),
    "url-default-port": inputs(_default_port),
    "url-other-host": _other_host,
    "url-without-scheme": inputs(
        lambda rng, c: {"path": rng.choice(["", "//"]) + rng.choice([c.host, *REAL]) + c.target}
    ),
    "query-dropped": inputs(lambda _, c: {"path": c.place(c.path)} if c.query else None, least_query=1),
    "query-reordered": inputs(_reordered, least_query=2),
    "query-encoding": _query_encoding,
    "endpoint-tail": inputs(_tail),
    "other-endpoint": _other_endpoint,
    "path-slash": _slash,
    "path-decoded": inputs(_decoded),
    "path-encoded-twice": inputs(_encoded_twice),
    "body-reserialised": _body_reserialised,
    "body-empty": inputs(lambda rng, _: {"body": rng.choice(["", "{}", None, "null"])}),
    "body-whitespace": _whitespace,
    "body-python-repr": inputs(lambda _, c: {"body": c.payload}),
    "body-bytes-repr": inputs(lambda _, c: {"body": c.body.encode()}),
    "body-json-twice": _json_twice,
    "body-encoding": _encoding,
    "body-hashed": inputs(_hashed),
    "method-case": inputs(lambda rng, _: {"method": rng.choice(["post", "Post"])}),
    "method-other": inputs(lambda rng, _: {"method": rng.choice(["GET", "PUT", "DELETE", "PATCH"])}),
    "timestamp-float": inputs(lambda *_: {"timestamp": float(NOW)}),
    "timestamp-read-twice": inputs(lambda rng, _: {"timestamp": NOW + rng.choice([-3, -2, -1, 1, 2])}),
    "timestamp-iso": inputs(_iso),
    "timestamp-other-header": _other_header,
    "nonce-before-timestamp": template([joined("MPBNT")], [joined("MPBNT")]),
    "parts-reordered": template(
        [joined("MPTNB"), joined("TNMPB"), *(joined("".join(order) + "N") for order in REORDERED)],
        [joined("".join(order)) for order in REORDERED],
    ),
    "part-left-out": template(
        [joined("PBTN"), joined("MPTN"), joined("MPBN")], [joined("MPB"), joined("MPT"), joined("BT")]
    ),
    "access-key-signed": template([joined("MPBTNA"), joined("AMPBTN")], [joined("MPBTA"), joined("AMPBT")]),
    "separator-crlf": joining("\\r\\n"),
    "separator-literal": joining("\\\\n"),
    "separator-missing": joining(""),
    "separator-other": template(
        [joined("MPBTN", sep) for sep in ("&", " ", "|")], [joined("MPBT", sep) for sep in ("&", " ", "|")]
    ),
    "trailing-newline": joining(tail="\\n"),
    "secret-whitespace": inputs(
        lambda rng, c: {"secret_key": rng.choice([f"{c.secret}\n", f"{c.secret} ", f" {c.secret}"])}
    ),
    "secret-quoted": inputs(lambda rng, c: {"secret_key": rng.choice(['"{}"', "'{}'"]).format(c.secret)}),
    "secret-truncated": inputs(lambda rng, c: {"secret_key": rng.choice([c.secret[1:], c.secret[:-1]])}),
    "secret-base64-decoded": _from_base64,
    "secret-hex-decoded": _from_hex,
    "access-key-as-secret": inputs(lambda _, c: {"secret_key": c.access_key}),
    "key-and-message-swapped": text((_swapped(_ARGUMENTS),)),
    "not-hmac": text(
        ((_MAC, f'hashlib.sha256({KEY} + string_to_sign.encode("utf-8"))'),),
        ((_MAC, f'hashlib.sha256(string_to_sign.encode("utf-8") + {KEY})'),),
    ),
    "signature-hex": _spelling("hmac_code.hex()"),
    "signature-urlsafe": _spelling(
        'base64.urlsafe_b64encode(hmac_code).decode("utf-8")', lambda right: "+" in right or "/" in right
    ),
    "signature-unpadded": _spelling('base64.b64encode(hmac_code).decode("utf-8").rstrip("=")'),
    "signature-base64-of-hex": _spelling("base64.b64encode(hmac_code.hex().encode()).decode()"),
    "signature-bytes-repr": _spelling("str(base64.b64encode(hmac_code))"),
    "signature-percent-encoded": _spelling(
        '__import__("urllib.parse").parse.quote(base64.b64encode(hmac_code).decode(), safe="")'
    ),
    **{
        f"hash-{name}": text((("hashlib.sha256", f"hashlib.{name}"),))
        for name in ("sha1", "sha224", "sha384", "sha512")
    },
}
