"""Every cause of a refused ``bce-auth-v1``: the official bce-python-sdk's signer, its inputs or its text changed.

What the service bears (``TOLERATED``: a host without its port, an unlisted x-bce-* header, ...) is no mistake, nor is a
change that comes out the same in the end; makers draw a request in which the change shows, or return None.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import random
import string
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from signing_cases import HOSTS, NOW, V1_CHAT, Case, Maker, key_pair, mutated, params, path, payload, spelt, words

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import format_bce_date

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK has escapes and calls that new Pythons warn of; they are not ours to mend
    from baidubce import utils
    from baidubce.auth import bce_v1_signer
    from baidubce.auth.bce_credentials import BceCredentials

SIGNER, QUERY = inspect.getsource(bce_v1_signer), inspect.getsource(utils.get_canonical_querystring)
DATE = format_bce_date(NOW)
REAL = ["aip.baidubce.com", "qianfan.baidubce.com", "iam.bj.baidubce.com"]
TYPES = ["application/json", "application/json; charset=utf-8", "text/plain; charset=utf-8"]

Change = tuple[str, str]


@cache
def signer(changes: tuple[Change, ...] = (), query: tuple[Change, ...] = ()) -> Callable[..., bytes]:
    """The SDK's ``sign``, its text changed, and that of the function which makes its query."""
    ours = SimpleNamespace(**vars(utils))
    # The SDK's clock reads a call that new Pythons warn of; this is the same date by other means.
    ours.get_canonical_time = lambda timestamp: format_bce_date(timestamp).encode()
    if query:
        ours.get_canonical_querystring = mutated(QUERY, query, dict(vars(utils)))["get_canonical_querystring"]
    # Not the text of the import, but what it would bind: the changed functions.
    source = SIGNER.replace("from baidubce import utils\n", "")
    sign: Callable[..., bytes] = mutated(source, changes, {"utils": ours, "quote": quote, "base64": base64})["sign"]
    return sign


@dataclass(frozen=True)
class Sent:
    """A request as the client means to send it. ``query`` is decoded, ``written`` is how it stands in the URL."""

    access_key: str
    secret: str
    path: str
    query: dict[str, str]
    written: str
    headers: dict[str, str]
    listed: tuple[str, ...]
    body: str
    payload: Any
    method: str = "POST"
    issued: int = NOW
    expiration: int = 1800

    @property
    def target(self) -> str:
        return f"{self.path}?{self.written}" if self.written else self.path

    @property
    def host(self) -> str:
        return self.headers["Host"]

    def header(self, name: str, value: str) -> Sent:
        return replace(self, headers={**self.headers, name: value})

    def authorization(
        self, *changes: Change, query_changes: tuple[Change, ...] = (), secret: str | None = None, **inputs: Any
    ) -> str:
        """By the SDK's signer, mutated, over mutated inputs."""
        given = {
            "http_method": self.method,
            "path": self.path,
            "headers": self.headers,
            "params": self.query,
            "timestamp": self.issued,
            "expiration_in_seconds": self.expiration,
            "headers_to_sign": self.listed,
        } | inputs
        made: bytes = signer(changes, query_changes)(
            BceCredentials(self.access_key, self.secret if secret is None else secret),
            given.pop("http_method").encode(),
            given.pop("path").encode("utf-8", "surrogateescape"),
            {name.encode(): value for name, value in given.pop("headers").items()},
            {name.encode(): value for name, value in given.pop("params").items()},
            headers_to_sign=[name.encode() for name in given.pop("headers_to_sign")],
            **given,
        )
        return made.decode()

    def with_signature(self, signature: str) -> str:
        return self.authorization().rpartition("/")[0] + "/" + signature

    def request(self, authorization: str) -> HttpRequest:
        headers = (*self.headers.items(), ("Authorization", authorization))
        return HttpRequest(self.method, self.target, headers, self.body.encode())

    def case(self, authorization: str, **fields: Any) -> Case:
        return Case(self.request(authorization), **({"known": self.secret, "hidden": self.hidden()} | fields))

    def hidden(self) -> tuple[str, ...]:
        """The secret, and the signatures that would be accepted: as sent, and of the commonest tolerated spellings."""
        found = [self.secret]
        hosts = {self.host, self.host.rpartition(":")[0] or self.host}
        for host in hosts:
            for place in {self.path, unquote(self.path)}:
                headers = {**self.headers, "Host": host}
                right = self.authorization(headers=headers, path=place).rpartition("/")[2]
                found += [right, base64.b64encode(bytes.fromhex(right)).decode()]
        return tuple(found)

    def signed(self, *changes: Change, **inputs: Any) -> Case:
        """A mistake in what is signed: the fields before the signature are the right ones."""
        return self.case(self.with_signature(self.authorization(*changes, **inputs).rpartition("/")[2]))


def sent(rng: random.Random, *, least_query: int = 0, **changes: Any) -> Sent:
    access_key, secret = key_pair(rng)
    value = payload(rng)
    body = spelt(value, rng)
    query = params(rng, least_query)
    headers = {"Host": rng.choice(HOSTS), "Content-Type": rng.choice(TYPES), "x-bce-date": DATE}
    if rng.random() < 0.5:
        headers["Content-Length"] = str(len(body.encode()))
    if rng.random() < 0.5:
        headers["X-Bce-Request-Id"] = words(rng, string.ascii_letters + "-/+=: ", 12).strip() or "id"
    if rng.random() < 0.3:
        headers["x-bce-title"] = "名" + words(rng, "你好 a;", 4)
    headers["User-Agent"] = f"sdk/{rng.randint(1, 9)}.{rng.randint(0, 9)} (linux; {words(rng, string.ascii_letters)})"
    # All of x-bce-* is signed: leaving one out is tolerated, and not in question here.
    listed = [name.lower() for name in headers if name != "User-Agent"]
    if rng.random() < 0.3:
        listed.append("user-agent")
    encode = rng.choice([lambda text: quote(text, safe=""), quote, quote_plus])
    made = Sent(
        access_key=access_key,
        secret=secret,
        path=path(rng, V1_CHAT),
        query=query,
        written="&".join(f"{encode(key)}={encode(value)}" for key, value in query.items()),
        headers=headers,
        listed=tuple(rng.sample(listed, len(listed))),
        body=body,
        payload=value,
        method=rng.choice(["POST", "POST", "GET", "PUT"]),
        expiration=rng.choice([300, 1800, 3600]),
    )
    return replace(made, **changes)


def inputs(change: Callable[[random.Random, Sent], dict[str, Any] | None], **drawn: Any) -> Maker:
    """A maker whose mistake is another input to the signer; None from ``change`` for no occasion."""

    def make(rng: random.Random) -> Case | None:
        client = sent(rng, **drawn)
        changed = change(rng, client)
        return None if changed is None else client.signed(**changed)

    return make


def text(*options: tuple[Change, ...], query: tuple[Change, ...] = (), **drawn: Any) -> Maker:
    """A maker whose mistake is a change in the signer's text, where the signature shows it."""

    def make(rng: random.Random) -> Case | None:
        client = sent(rng, **drawn)
        wrong = client.authorization(*rng.choice(options), query_changes=query)
        if wrong.rpartition("/")[2] == client.authorization().rpartition("/")[2]:
            return None
        return client.case(client.with_signature(wrong.rpartition("/")[2]))

    return make


# -- the reading of headers -------------------------------------------------------------------------------------------


def _missing(rng: random.Random) -> Case:
    # Without any Authorization header there is no scheme to go by: here it came empty.
    return sent(rng).case(rng.choice(["", " "]))


def _unknown(rng: random.Random) -> Case:
    client = sent(rng)
    return client.case(client.authorization(), known=None)


def _repeated(rng: random.Random) -> Case:
    client = sent(rng)
    return client.header("authorization", client.authorization(timestamp=NOW - 1)).case(client.authorization())


def _malformed(rng: random.Random) -> Case:
    client = sent(rng)
    right = client.authorization()
    fields = right.split("/")
    wrong = rng.choice(
        [
            right.replace("bce-auth-v1", rng.choice(["bce-auth-v2", "Bearer", "AWS4-HMAC-SHA256"])),
            "/".join(fields[:4] + fields[5:]),
            "/".join([*fields[:2], fields[2].replace("T", " "), *fields[3:]]),
            "/".join([*fields[:3], "30m", *fields[4:]]),
            "/".join([*fields[:4], f"{fields[4]};;host", fields[5]]),
            "/".join([*fields[:5], ""]),
            "/".join([fields[0], "", *fields[2:]]),
        ]
    )
    return client.case(wrong)


def _at(times: Callable[[random.Random, Sent], int]) -> Maker:
    def make(rng: random.Random) -> Case:
        client = sent(rng)
        client = replace(client, issued=times(rng, client)).header("x-bce-date", DATE)
        return client.case(client.authorization())

    return make


def _host_not_signed(rng: random.Random) -> Case:
    client = sent(rng)
    listed = tuple(name for name in client.listed if name != "host")
    return client.case(client.authorization(headers_to_sign=listed))


def _lost(rng: random.Random) -> Case:
    """A proxy dropped a header, underscores first."""
    client = sent(rng)
    client = replace(client.header("Request_Id", "r"), listed=(*client.listed, "request_id"))
    lost = rng.choice([name for name in client.headers if name.lower() in client.listed and name != "Host"])
    authorization = client.authorization()
    return replace(client, headers={n: v for n, v in client.headers.items() if n != lost}).case(authorization)


# -- host, headers ----------------------------------------------------------------------------------------------------


def _default_port(rng: random.Random, client: Sent) -> dict[str, Any] | None:
    host = client.host.partition(":")[0] + rng.choice([":80", ":443"])
    return None if host == client.host else {"headers": {**client.headers, "Host": host}}


def _other_host(rng: random.Random) -> Case:
    client = sent(rng)
    if rng.random() < 0.5:
        here, there = rng.sample(["127.0.0.1", "localhost"], 2)
        port = rng.randint(1024, 65535)
        client = client.header("Host", f"{here}:{port}")
        return client.signed(headers={**client.headers, "Host": f"{there}:{port}"})
    signed = client.header("Host", "llm.corp.example").headers
    return client.header("X-Forwarded-Host", "llm.corp.example").signed(headers=signed)


def _unsorted(rng: random.Random) -> Case | None:
    client = sent(rng)
    headers = dict(rng.sample(list(client.headers.items()), len(client.headers)))
    client = replace(client, headers=headers)
    wrong = client.authorization(("result.sort()", "pass"))
    return None if wrong == client.authorization() else client.case(wrong)


def _type_changed(rng: random.Random, client: Sent) -> dict[str, Any] | None:
    signed = rng.choice(["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8"])
    return (
        None if signed == client.headers["Content-Type"] else {"headers": client.header("Content-Type", signed).headers}
    )


def _length_changed(rng: random.Random) -> Case | None:
    client = sent(rng)
    other = len(spelt(client.payload, rng, sort_keys=rng.random() < 0.5).encode())
    signed = rng.choice([other, 0, len(client.body)])
    if signed == len(client.body.encode()):
        return None
    client = client.header("Content-Length", str(len(client.body.encode())))
    client = replace(client, listed=tuple(dict.fromkeys((*client.listed, "content-length"))))
    return client.signed(headers=client.header("Content-Length", str(signed)).headers)


def _date_changed(rng: random.Random, client: Sent) -> dict[str, Any]:
    other = format_bce_date(NOW + rng.choice([-2, -1, 1, 2]))
    return {"headers": client.header("x-bce-date", other).headers}


#: What was signed, and what arrived: blanks, quotation marks, case and escapes, which proxies and libraries rewrite.
#: Of a header that was replaced as a whole nothing is left to find.
_REWRITTEN: tuple[Callable[[str], tuple[str, str]], ...] = (
    lambda word: (f"{word}  {word}", f"{word} {word}"),
    lambda word: (f"{word} {word}", f"{word}   {word}"),
    lambda word: (f"{word},{word}", f"{word}, {word}"),
    lambda word: (f"{word}, {word}", f"{word},{word}"),
    lambda word: (f"{word};q=1", f"{word}; q=1"),
    lambda word: (f'"{word}"', word),
    lambda word: (word, f'"{word}"'),
    lambda word: (word.lower(), word.title()),
    lambda word: (word.upper(), word.title()),
    lambda word: (quote(f"名{word}"), f"名{word}"),
    lambda word: (f"名{word}", quote(f"名{word}")),
)


def _header_changed(rng: random.Random) -> Case:
    signed, arrived = rng.choice(_REWRITTEN)(words(rng, string.ascii_letters, 6) + "x")
    client = sent(rng).header("x-bce-note", signed)
    client = replace(client, listed=(*client.listed, "x-bce-note"))
    authorization = client.authorization()
    return client.header("x-bce-note", arrived).case(authorization)


def _left_out(rng: random.Random, client: Sent) -> dict[str, Any]:
    left = rng.choice([name for name in client.headers if name.lower() in client.listed])
    return {"headers": {name: value for name, value in client.headers.items() if name != left}}


def _not_listed(rng: random.Random) -> Case:
    client = sent(rng)
    extra = rng.choice(["Accept", "X-Trace", "Request_Id"])
    client = client.header(extra, words(rng, string.ascii_letters, 8))
    return client.signed(headers_to_sign=(*client.listed, extra.lower()))


def _names_case(rng: random.Random) -> Case:
    client = sent(rng)
    spelling = rng.choice([str.title, str])
    client = replace(client, headers={spelling(name): value for name, value in client.headers.items()})
    return client.signed(("utils.normalize_string(k_lower)", "utils.normalize_string(k.strip())"))


# -- path, query ------------------------------------------------------------------------------------------------------


def _twice(_: random.Random, client: Sent) -> dict[str, Any] | None:
    return {"path": quote(client.path)} if quote(client.path) != client.path else None


def _slashes(rng: random.Random, client: Sent) -> dict[str, Any]:
    return {"path": quote(rng.choice([client.path, unquote(client.path)]), safe="")}


def _with_query(rng: random.Random, client: Sent) -> dict[str, Any] | None:
    if not client.query:
        return None
    return {"path": client.target} | ({"params": {}} if rng.random() < 0.5 else {})


def _url(rng: random.Random, client: Sent) -> dict[str, Any]:
    host = rng.choice([client.host, *REAL])
    place = rng.choice([client.path, client.target])
    return {"path": f"{rng.choice(['http', 'https'])}://{host}{place}"}


def _slash(rng: random.Random) -> Case:
    client = sent(rng)
    if rng.random() < 0.5:
        return client.signed(path=f"{client.path}/")
    return replace(client, path=f"{client.path}/").signed(path=client.path)


def _tail(rng: random.Random, client: Sent) -> dict[str, Any]:
    segments = client.path.split("/")
    return {"path": rng.choice(["/", ""]) + "/".join(segments[rng.randint(2, len(segments) - 1) :])}


def _other_endpoint(rng: random.Random) -> Case:
    prefix = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
    endpoints = [f"{prefix}/chat/{name}" for name in ("completions", "completions_pro", "eb-instant", "ernie_speed")]
    endpoints += [f"{prefix}/embeddings/embedding-v1", "/v2/chat/completions", "/v2/embeddings", "/v1/BCE-BEARER/token"]
    called, signed = rng.sample(endpoints, 2)
    return sent(rng, path=called).signed(path=signed)


def _unsorted_query(rng: random.Random) -> Case | None:
    client = sent(rng, least_query=2)
    wrong = client.authorization(query_changes=(("result.sort()", "pass"),))
    # Where the URL has the same text, the mistake is also that of signing the query as it was sent.
    line = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in client.query.items())
    return None if wrong == client.authorization() or line == client.written else client.case(wrong)


def _query_as_sent(rng: random.Random) -> Case | None:
    client = sent(rng, least_query=1)
    for encode in (str, quote, quote_plus, lambda text: quote(text, safe="")):
        lines = [f"{encode(key)}={encode(value)}" for key, value in client.query.items()]
        if client.written == "&".join(sorted(lines)):
            return None  # to sort it, encoded so, comes to the same: then that is as good a name, or it is right
    if client.written == "&".join(lines):
        return None  # as is not to sort it
    return client.signed(("utils.get_canonical_querystring(params, True)", repr(client.written.encode())))


def _sorted_by_key(rng: random.Random) -> Case | None:
    stem = words(rng, "abc", 3)
    query = {f"{stem}-{words(rng, 'xyz', 2)}": words(rng), stem: words(rng, most=3)}
    client = sent(
        rng, query=query, written="&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in query.items())
    )
    changes = (("iteritems(params)", "sorted(iteritems(params))"), ("result.sort()", "pass"))
    wrong = client.authorization(query_changes=changes)
    return None if wrong == client.authorization() else client.case(wrong)


def _empty_value(rng: random.Random) -> Case | None:
    query = {**params(rng, 1, 2), words(rng, "abc", 5): ""}
    lines = [f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in query.items()]
    client = sent(rng, query=query, written="&".join(lines))
    if rng.random() < 0.3:
        return client.signed(params={key: value for key, value in query.items() if value})
    if rng.random() < 0.5:  # a name alone in the URL too
        client = replace(client, written=client.written.removesuffix("="))
    if client.written == "&".join(sorted(line.removesuffix("=") for line in lines)):
        return None  # to sign the query as it was sent comes to the same
    bare = "result.append(normalize_string(k) + (b'=' + normalize_string(v) if v else b''))"
    return client.signed(
        query_changes=(("result.append(b'%s=%s' % (normalize_string(k), normalize_string(v)))", bare),)
    )


# -- keys, spelling ---------------------------------------------------------------------------------------------------

_KEY = """hmac.new(
        credentials.secret_access_key,
        sign_key_info,
        hashlib.sha256).hexdigest()"""
_KEY_DIGEST = _KEY.removesuffix("hexdigest()") + "digest()"
_RESULT = "hmac.new(compat.convert_to_bytes(sign_key), string_to_sign, hashlib.sha256).hexdigest()"
_RESULT_DIGEST = _RESULT.removesuffix("hexdigest()") + "digest()"
_JOIN = "string_to_sign = (b'\\n').join(["
_END = "canonical_querystring, canonical_headers\n        ])"
_VALUE, _VALUE_QUERY = "utils.normalize_string(value))", "normalize_string(k), normalize_string(v)"


def _prefix(new: str) -> Change:
    return (_KEY, _KEY.replace("sign_key_info", new))


def _escapes(changed: str) -> dict[str, Any]:
    """Every escape of query and headers made by ``changed``, a function of the escaped bytes."""
    header = (
        "utils.normalize_string(k_lower), utils.normalize_string(value)",
        f"{changed}(utils.normalize_string(k_lower)), {changed}(utils.normalize_string(value))",
    )
    query = (_VALUE_QUERY, f"{changed}(normalize_string(k)), {changed}(normalize_string(v))")
    return {"header": header, "query": query}


_LOWER = _escapes("(lambda t: __import__('re').sub(rb'%..', lambda m: m[0].lower(), t))")
_COMPONENT = _escapes(
    "(lambda t: t.replace(b'%21', b'!').replace(b'%27', b\"'\").replace(b'%28', b'(').replace(b'%29', b')')"
    ".replace(b'%2A', b'*'))"
)


def _component(rng: random.Random) -> Case | None:
    client = sent(rng)
    # One of the five in a header: in the query alone, unescaped, they would also be a query that is not encoded.
    client = client.header("x-bce-note", rng.choice("!'()*") + words(rng, "!'()*ab 你:", 8).strip())
    client = replace(client, listed=(*client.listed, "x-bce-note"))
    wrong = client.authorization(_COMPONENT["header"], query_changes=(_COMPONENT["query"],))
    return None if wrong == client.authorization() else client.case(wrong)


def _prefix_timestamp(rng: random.Random) -> Case:
    client = sent(rng)
    other = format_bce_date(NOW + rng.choice([-2, -1, 1, 2]))
    return client.signed(_prefix(f"sign_key_info.replace(b'{DATE}', b'{other}')"))


def _prefix_expiration(rng: random.Random) -> Case:
    client = sent(rng)
    other = rng.choice([seconds for seconds in (300, 1800, 3600, 600) if seconds != client.expiration])
    return client.signed(_prefix(f"(sign_key_info.rpartition(b'/')[0] + b'/{other}')"))


def _secret(change: Callable[[random.Random, Sent], str]) -> Maker:
    return inputs(lambda rng, client: {"secret": change(rng, client)})


def _from_hex(rng: random.Random) -> Case:
    client = sent(rng, secret="".join(rng.choices("0123456789abcdef", k=32)))
    decoded = "bytes.fromhex(credentials.secret_access_key.decode())"
    return client.signed((_KEY, _KEY.replace("credentials.secret_access_key", decoded)))


def _spelling(spell: Callable[[str], str], shows: Callable[[str], bool] = lambda _: True) -> Maker:
    def make(rng: random.Random) -> Case | None:
        client = sent(rng)
        right = client.authorization().rpartition("/")[2]
        return client.case(client.with_signature(spell(right))) if shows(right) else None

    return make


def _b64(right: str) -> str:
    return base64.b64encode(bytes.fromhex(right)).decode()


def _hashed(name: str) -> Maker:
    return text(((_RESULT, _RESULT.replace("sha256", name)),))


def _body_signed(rng: random.Random) -> Case:
    client = sent(rng)
    body = rng.choice([client.body, hashlib.sha256(client.body.encode()).hexdigest()])
    return client.signed((_END, f"canonical_querystring, canonical_headers, {body.encode()!r}\n        ])"))


CAUSES: dict[str, Maker] = {
    "missing-header": _missing,
    "repeated-header": _repeated,
    "malformed-authorization": _malformed,
    "unknown-key": _unknown,
    "clock-ahead": _at(lambda rng, _: NOW + rng.choice([rng.randint(301, 28000), rng.randint(30000, 10**8)])),
    "local-time-for-utc": _at(lambda rng, _: NOW + 28800 + rng.randint(-30, 30)),
    "expired": _at(lambda rng, client: NOW - client.expiration - rng.randint(1, 10**7)),
    "host-not-signed": _host_not_signed,
    "missing-signed-header": _lost,
    "signature-not-a-digest": _spelling(lambda right: right[:-1]),
    "wrong-secret": _secret(lambda rng, _: key_pair(rng)[1]),
    "url-real-host": inputs(lambda rng, c: {"headers": c.header("Host", rng.choice(REAL)).headers}),
    "url-default-port": inputs(_default_port),
    "url-other-host": _other_host,
    "headers-not-encoded": text(((_VALUE, "value)"),)),
    "headers-unsorted": _unsorted,
    "content-type-changed": inputs(_type_changed),
    "content-length-changed": _length_changed,
    "date-changed": inputs(_date_changed),
    "header-changed": _header_changed,
    "headers-encoded-twice": text(((_VALUE, "utils.normalize_string(utils.normalize_string(value)))"),)),
    "header-left-out": inputs(_left_out),
    "header-not-listed": _not_listed,
    "header-names-case": _names_case,
    "path-encoded-twice": inputs(_twice),
    "path-slashes-encoded": inputs(_slashes),
    "path-with-query": inputs(_with_query),
    "path-url": inputs(_url),
    "path-slash": _slash,
    "endpoint-tail": inputs(_tail),
    "other-endpoint": _other_endpoint,
    "query-dropped": inputs(lambda _, client: {"params": {}} if client.query else None),
    "query-unsorted": _unsorted_query,
    "query-as-sent": _query_as_sent,
    "query-not-encoded": text((), query=((_VALUE_QUERY, "k, v.encode()"),), least_query=1),
    "query-sorted-by-key": _sorted_by_key,
    "query-encoded-twice": text(
        (), query=((_VALUE_QUERY, "normalize_string(normalize_string(k)), normalize_string(normalize_string(v))"),)
    ),
    "query-empty-value": _empty_value,
    "signing-key-raw": text(((_KEY, _KEY_DIGEST),)),
    "signing-key-upper-case": text(((_KEY, f"{_KEY}.upper()"),)),
    "signing-key-base64": text(((_KEY, f"base64.b64encode({_KEY_DIGEST})"),)),
    "secret-without-derivation": text(((_KEY, "credentials.secret_access_key"),)),
    "prefix-timestamp": _prefix_timestamp,
    "prefix-expiration": _prefix_expiration,
    "prefix-other": text(
        (_prefix("sign_key_info + b'/'"),),
        (_prefix("sign_key_info + b'/' + b';'.join(headers_to_sign)"),),
        (_prefix("sign_key_info.partition(b'/')[2]"),),
        (_prefix("sign_key_info.rpartition(b'/')[0]"),),
    ),
    "method-case": inputs(lambda rng, c: {"http_method": rng.choice([c.method.lower(), c.method.capitalize()])}),
    "method-other": inputs(
        lambda rng, c: {"http_method": rng.choice([m for m in ("GET", "POST", "PUT", "DELETE") if m != c.method])}
    ),
    "body-signed": _body_signed,
    "trailing-newline": text(((_END, f"{_END} + b'\\n'"),)),
    "separator-crlf": text(
        ((_JOIN, _JOIN.replace("\\n", "\\r\\n")), ("return (b'\\n').join(result)", "return (b'\\r\\n').join(result)"))
    ),
    "separator-literal": text(
        ((_JOIN, _JOIN.replace("\\n", "\\\\n")), ("return (b'\\n').join(result)", "return (b'\\\\n').join(result)"))
    ),
    "separator-missing": text(
        ((_JOIN, _JOIN.replace("\\n", "")), ("return (b'\\n').join(result)", "return b''.join(result)"))
    ),
    "percent-lower-case": text((_LOWER["header"],), query=(_LOWER["query"],)),
    "encode-uri-component": _component,
    "secret-whitespace": _secret(lambda rng, c: rng.choice([f"{c.secret}\n", f"{c.secret} ", f" {c.secret}"])),
    "secret-quoted": _secret(lambda rng, c: rng.choice(['"{}"', "'{}'"]).format(c.secret)),
    "secret-truncated": _secret(lambda rng, c: rng.choice([c.secret[1:], c.secret[:-1]])),
    "secret-base64-decoded": text(
        ((_KEY, _KEY.replace("credentials.secret_access_key", "base64.b64decode(credentials.secret_access_key)")),)
    ),
    "secret-hex-decoded": _from_hex,
    "access-key-as-secret": _secret(lambda _, c: c.access_key),
    "key-and-message-swapped": text(
        (
            (
                _RESULT,
                _RESULT.replace(
                    "compat.convert_to_bytes(sign_key), string_to_sign",
                    "string_to_sign, compat.convert_to_bytes(sign_key)",
                ),
            ),
        ),
        (
            (
                _KEY,
                _KEY.replace(
                    "credentials.secret_access_key,\n        sign_key_info",
                    "sign_key_info,\n        credentials.secret_access_key",
                ),
            ),
        ),
    ),
    "not-hmac": text(
        ((_RESULT, "hashlib.sha256(compat.convert_to_bytes(sign_key) + string_to_sign).hexdigest()"),),
        ((_RESULT, "hashlib.sha256(string_to_sign + compat.convert_to_bytes(sign_key)).hexdigest()"),),
    ),
    "signature-base64": _spelling(_b64),
    "signature-upper-case": _spelling(str.upper, lambda right: right.upper() != right),
    "signature-bytes-repr": _spelling(lambda right: str(right.encode())),
    **{f"hash-{name}": _hashed(name) for name in ("sha1", "sha224", "sha384", "sha512")},
}
