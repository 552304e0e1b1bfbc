"""Every mistake that explain knows of bce-auth-v1, made by a small signer here, must come back under its name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import (
    CAUSES,
    MESSAGE_LIMIT,
    Reason,
    Verification,
    explain,
    scheme_of,
    search,
    sign_bce,
    verify_bce,
)
from qfkit.protocol.signing import hypotheses_bce as table
from qfkit.protocol.signing.bce_auth_v1 import read_authorization

ACCESS_KEY = "ALTAKFAKEACCESSKEY000000"
SECRET_KEY = "0123456789abcdef0123456789abcdef"
NOW = 1714550400
HOST = "127.0.0.1:18991"
PATH = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
TARGET = f"{PATH}?b=2%20x&a=1"
PAYLOAD = {"messages": [{"role": "user", "content": "你好"}], "temperature": 0.7, "stream": False}
BODY = json.dumps(PAYLOAD)
HEX_SECRET = bytes.fromhex(SECRET_KEY)


def digest(key: bytes, message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(key, message, algorithm).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


DATE = "2024-05-01T08:00:00Z"
EARLIER = "2024-05-01T07:59:58Z"
BCE_HEADERS = {
    "content-type": "application/json",
    "host": HOST,
    "x-bce-date": DATE,
}
LISTED = "host;content-type;x-bce-date"
PREFIX = f"bce-auth-v1/{ACCESS_KEY}/{DATE}/1800"
QUERY = "a=1&b=2%20x"


def fully(text: str) -> str:
    return quote(text, safe="")


def lines(values: dict[str, str] | None = None, encode: Callable[[str], str] = fully, **changes: str) -> list[str]:
    headers = (BCE_HEADERS if values is None else values) | {name.replace("_", "-"): v for name, v in changes.items()}
    return sorted(f"{encode(name)}:{encode(value)}" for name, value in headers.items())


def bce_request(signature: str, *, target: str = TARGET, listed: str = LISTED, **headers: str) -> HttpRequest:
    sent = {"Content-Type": "application/json", "Host": HOST, "x-bce-date": DATE, "User-Agent": "ua/1"} | headers
    sent["Authorization"] = f"{PREFIX}/{listed}/{signature}"
    return HttpRequest("POST", target, tuple(sent.items()), BODY.encode())


def bce(
    *,
    method: str = "POST",
    uri: str = PATH,
    query: str = QUERY,
    headers: list[str] | None = None,
    join: str = "\n",
    end: str = "",
    secret: str | bytes = SECRET_KEY,
    prefix: str = PREFIX,
    key: bytes | None = None,
) -> str:
    canonical = join.join([method, uri, query, *(lines() if headers is None else headers)]) + end
    raw = secret.encode() if isinstance(secret, str) else secret
    signing_key = digest(raw, prefix.encode()).hex().encode() if key is None else key
    return digest(signing_key, canonical.encode()).hex()


def spelt(encode: Callable[[str], str]) -> dict[str, Any]:
    return {"headers": lines(encode=encode), "query": f"a={encode('1')}&b={encode('2 x')}"}


RAW_KEY = digest(SECRET_KEY.encode(), PREFIX.encode())
WITHOUT_TYPE = {name: value for name, value in BCE_HEADERS.items() if name != "content-type"}
AS_LISTED = [f"{name}:{quote(BCE_HEADERS[name], safe='')}" for name in LISTED.split(";")]

BCE_MISTAKES: list[tuple[str, str]] = [
    ("url-real-host", bce(headers=lines(host="aip.baidubce.com"))),
    ("url-default-port", bce(headers=lines(host="127.0.0.1:80"))),
    ("url-other-host", bce(headers=lines(host="localhost:18991"))),
    ("headers-not-encoded", bce(headers=lines(encode=str))),
    ("headers-not-encoded", bce(headers=lines({**BCE_HEADERS, "host": "127.0.0.1"}, encode=str))),
    ("headers-unsorted", bce(headers=AS_LISTED)),
    ("content-type-changed", bce(headers=lines(content_type="application/json; charset=utf-8"))),
    ("date-changed", bce(headers=lines(x_bce_date=EARLIER))),
    ("header-left-out", bce(headers=lines(WITHOUT_TYPE))),
    ("header-left-out", bce(headers=lines({"host": HOST}))),
    ("header-not-listed", bce(headers=lines(user_agent="ua/1"))),
    (
        "header-names-case",
        bce(headers=lines({"Content-Type": "application/json", "Host": HOST, "x-bce-date": DATE})),
    ),
    (
        "header-names-case",
        bce(headers=lines({"Content-Type": "application/json", "Host": HOST, "X-Bce-Date": DATE})),
    ),
    ("path-slashes-encoded", bce(uri=quote(PATH, safe=""))),
    ("path-with-query", bce(uri=TARGET, query="")),
    ("path-with-query", bce(uri=TARGET)),
    ("path-url", bce(uri=f"https://aip.baidubce.com{PATH}")),
    ("path-url", bce(uri=f"http://{HOST}{PATH}")),
    ("path-slash", bce(uri=f"{PATH}/")),
    ("other-endpoint", bce(uri=f"{PATH}_stream")),
    ("other-endpoint", bce(uri="/v2/chat/completions")),
    ("headers-encoded-twice", bce(headers=lines(encode=lambda text: fully(fully(text))))),
    ("header-changed", bce(headers=lines(content_type="APPLICATION/JSON"))),
    ("query-encoded-twice", bce(query="a=1&b=2%2520x")),
    ("endpoint-tail", bce(uri="/chat_completions")),
    ("query-dropped", bce(query="")),
    ("query-unsorted", bce(query="b=2%20x&a=1")),
    ("query-not-encoded", bce(query="a=1&b=2 x")),
    ("signing-key-raw", bce(key=RAW_KEY)),
    ("signing-key-upper-case", bce(key=RAW_KEY.hex().upper().encode())),
    ("signing-key-base64", bce(key=base64.b64encode(RAW_KEY))),
    ("secret-without-derivation", bce(key=SECRET_KEY.encode())),
    ("key-and-message-swapped", bce(key=digest(PREFIX.encode(), SECRET_KEY.encode()).hex().encode())),
    ("prefix-timestamp", bce(prefix=PREFIX.replace(DATE, EARLIER))),
    ("prefix-expiration", bce(prefix=PREFIX.replace("/1800", "/300"))),
    ("prefix-other", bce(prefix=f"{PREFIX}/")),
    ("prefix-other", bce(prefix=f"{PREFIX}/{LISTED}")),
    ("method-case", bce(method="post")),
    ("method-other", bce(method="GET")),
    ("body-signed", bce(end=f"\n{BODY}")),
    ("trailing-newline", bce(end="\n")),
    ("separator-crlf", bce(join="\r\n")),
    ("separator-literal", bce(join="\\n")),
    ("separator-missing", bce(join="")),
    ("percent-lower-case", bce(**spelt(lambda text: quote(text, safe="").replace("%3A", "%3a").replace("%2F", "%2f")))),
    ("secret-whitespace", bce(secret=f"{SECRET_KEY}\n")),
    ("secret-quoted", bce(secret=f"'{SECRET_KEY}'")),
    ("secret-truncated", bce(secret=SECRET_KEY[1:])),
    ("secret-hex-decoded", bce(secret=HEX_SECRET)),
    ("secret-base64-decoded", bce(secret=base64.b64decode(SECRET_KEY))),
    ("access-key-as-secret", bce(secret=ACCESS_KEY)),
    ("signature-upper-case", bce().upper()),
    ("signature-base64", b64(bytes.fromhex(bce()))),
    ("signature-base64+signature-base64-of-hex", b64(bce().encode())),
    ("signing-key-raw+headers-not-encoded", bce(key=RAW_KEY, headers=lines(encode=str))),
    ("signing-key-raw+query-dropped", bce(key=RAW_KEY, query="")),
    (
        "url-real-host+content-type-changed",
        bce(headers=lines(host="aip.baidubce.com", content_type="application/json;")),
    ),
    ("query-dropped+signature-base64", b64(bytes.fromhex(bce(query="")))),
    ("wrong-secret", bce(secret="another")),
    ("signature-not-a-digest", "sig"),
]


@pytest.mark.parametrize(("cause", "signature"), BCE_MISTAKES)
def test_bce_mistakes_are_named(cause: str, signature: str) -> None:
    verdict = explain(bce_request(signature), SECRET_KEY, now=NOW)
    assert (verdict.reason, verdict.cause) == (Reason.MISMATCH, cause)
    check_report(verdict)


def test_the_bce_signer_of_this_file_is_right() -> None:
    assert verify_bce(bce_request(bce()), SECRET_KEY, now=NOW).form == "as-sent"


SPACED = "/v1/a%20b(c)!?z&y=/"
BCE_OTHERS: list[tuple[str, HttpRequest]] = [
    (
        "content-length-changed",
        bce_request(
            bce(headers=lines(content_length=str(len(json.dumps(PAYLOAD, separators=(",", ":")))))),
            listed=f"content-length;{LISTED}",
            **{"Content-Length": str(len(BODY))},
        ),
    ),
    ("path-encoded-twice", bce_request(bce(uri="/v1/a%2520b%28c%29%21", query="y=%2F&z="), target=SPACED)),
    ("query-as-sent", bce_request(bce(uri="/v1/a%20b(c)!", query="z&y=/"), target=SPACED)),
    ("query-not-encoded", bce_request(bce(uri="/v1/a%20b(c)!", query="y=/&z="), target=SPACED)),
    ("query-empty-value", bce_request(bce(uri="/v1/a%20b(c)!", query="y=%2F&z"), target=SPACED)),
    ("query-sorted-by-key", bce_request(bce(query="a=1&a-b=1"), target=f"{PATH}?a-b=1&a=1")),
    (
        "encode-uri-component",
        bce_request(
            bce(query="a=(~)%20x", headers=lines(encode=lambda text: quote(text, safe="!'()*"))),
            target=f"{PATH}?a=%28~%29%20x",
        ),
    ),
    (
        "not-hmac",
        bce_request(
            hashlib.sha256(RAW_KEY.hex().encode() + "\n".join(["POST", PATH, QUERY, *lines()]).encode()).hexdigest()
        ),
    ),
    (
        "prefix-timestamp",
        bce_request(
            bce(prefix=PREFIX.replace(DATE, EARLIER), headers=lines(x_bce_date=EARLIER)), **{"x-bce-date": EARLIER}
        ),
    ),
    ("header-not-listed", bce_request(bce(), listed="host")),
    ("method-case", bce_request(bce(method="post", query="a=1"), target=f"{PATH}?Authorization=x&a=1")),
    ("method-case", bce_request(bce(method="post", query="Authorization=x&a=1"), target=f"{PATH}?Authorization=x&a=1")),
    (
        "headers-not-encoded",  # a slash left as it is would be Java's way, and borne; a tilde is not
        bce_request(bce(headers=lines(encode=quote, x_bce_a="~*/")), listed=f"{LISTED};x-bce-a", **{"x-bce-a": "~*/"}),
    ),
]


@pytest.mark.parametrize(("cause", "request_"), BCE_OTHERS)
def test_bce_mistakes_of_other_requests_are_named(cause: str, request_: HttpRequest) -> None:
    verdict = explain(request_, SECRET_KEY, now=NOW)
    assert verdict.cause == cause
    check_report(verdict)


def test_every_row_of_the_table_has_a_test() -> None:
    tested = {name for cause, _ in [*BCE_MISTAKES, *BCE_OTHERS] for name in cause.split("+")}
    assert {row.cause for row in table.HYPOTHESES} <= tested


def test_the_bce_difference_is_told_by_header() -> None:
    verdict = explain(bce_request(bce(headers=lines(encode=str))), SECRET_KEY, now=NOW)
    assert verdict.difference is not None
    assert (verdict.difference.line, verdict.difference.label) == (4, "header content-type")
    assert verdict.difference.expected == "content-type:application%2Fjson"
    assert verdict.difference.received == "content-type:application/json"
    assert verdict.difference.column == len("content-type:application") + 1


def test_a_missing_signed_header_needs_no_search() -> None:
    request = bce_request(bce(), listed=f"{LISTED};request_id")
    verdict = explain(request, SECRET_KEY, now=NOW)
    assert verdict == verify_bce(request, SECRET_KEY, now=NOW)
    assert verdict.cause == "missing-signed-header"


def test_the_scheme_goes_by_the_headers_unless_told() -> None:
    both = bce_request(bce(), **{"X-Bce-Signature": "x"})
    assert scheme_of(bce_request(bce())) == "bce-auth-v1"
    assert scheme_of(both) == scheme_of(HttpRequest("GET", "/")) == "hmac"
    assert explain(both, SECRET_KEY, now=NOW).reason is Reason.MISSING_HEADER
    assert explain(both, SECRET_KEY, now=NOW, scheme="bce-auth-v1").ok
    with pytest.raises(ValueError, match="must be hmac or bce-auth-v1, not 'aws4'"):
        explain(both, SECRET_KEY, now=NOW, scheme="aws4")


# -- any verdict ------------------------------------------------------------------------------------------------------


def check_report(verdict: Verification) -> None:
    assert verdict.message.isprintable()
    assert len(verdict.message) <= MESSAGE_LIMIT
    causes = (verdict.cause or "").split("+")
    assert all(name in CAUSES for name in causes)
    report = verdict.render()
    assert f"Cause: {verdict.cause}" in report
    assert f"How to fix: {verdict.advice}" in report
    if verdict.received is None:
        assert causes in (["wrong-secret"], ["signature-not-a-digest"])
        assert verdict.difference is None
    elif verdict.difference is None:
        assert verdict.received == verdict.expected
        assert "Server and client built the same string" in report
    else:
        assert f"^ line {verdict.difference.line}, column {verdict.difference.column}" in report


@pytest.mark.parametrize(
    "request_",
    [
        bce_request(bce(secret="x"), **{f"x-bce-{n}": "é" for n in range(60)}),
        bce_request(bce(secret="x"), target="/%25" * 100 + "?" + "a=%20&" * 100),
    ],
)
def test_a_search_is_bounded(request_: HttpRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    real = hmac.compare_digest
    monkeypatch.setattr(search.hmac, "compare_digest", lambda *pair: digests.append(1) or real(*pair))
    verdict = explain(request_, SECRET_KEY, now=NOW)
    assert verdict.cause == "wrong-secret"
    assert 100 < len(digests) <= search.MAX_TRIES + 100  # verifying itself tries a few


def test_a_large_body_is_not_parsed() -> None:
    for size, cause in ((2**19, "content-length-changed"), (2**20, "wrong-secret")):
        body = b'{"a": "' + b"x" * size + b'"}'
        signature = bce(headers=lines(content_length=str(len(body) - 1)))
        request = bce_request(signature, listed=f"content-length;{LISTED}", **{"Content-Length": str(len(body))})
        assert explain(replace(request, body=body), SECRET_KEY, now=NOW).cause == cause


def test_single_mistakes_fit_into_the_search() -> None:
    # Pairs may be cut short; no single mistake may.
    request = bce_request("x")
    fields = read_authorization(request)
    assert not isinstance(fields, Verification)
    singles = {
        (guess.signed.message(), guess.key, guess.mac)
        for guess in table.guesses(request, fields, SECRET_KEY)
        if len(set(guess.causes) - {"url-for-path", "nonce-unsigned"}) <= 1
    }
    assert len(singles) < search.MAX_TRIES


text = st.text(max_size=30)


@settings(deadline=None, max_examples=60)
@given(method=text, target=text, body=st.binary(max_size=60), host=text, date=text, key=text, signature=text)
@example(
    method="P\ud800",
    target="/\ud800",
    body=b"[" * 5000,
    host="\udcff:80",
    date="\ud800",
    key="\ud800",
    signature="0" * 64,
)
@example(
    method="GET", target="/%?%=%zz&=&&authorization", body=b"1" * 5000, host="h", date="", key="k", signature="0" * 64
)
def test_whatever_arrives_is_explained(
    *, method: str, target: str, body: bytes, host: str, date: str, key: str, signature: str
) -> None:
    value = f"bce-auth-v1/{key}/{DATE}/1800/host/{signature}"
    headers = (("Host", host), ("X-Forwarded-Host", host), ("x-bce-date", date), ("Authorization", value))
    verdict = explain(HttpRequest(method, target, headers, body), SECRET_KEY, now=NOW)
    assert not verdict.ok
    assert verdict.message.isprintable()
    assert verdict.render()
    json.dumps(verdict.to_dict())


def _told(verdict: Verification) -> str:
    return "\n".join([verdict.render(), repr(verdict), json.dumps(verdict.to_dict(), ensure_ascii=False), str(verdict)])


secrets = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=24, max_size=40)


@settings(deadline=None, max_examples=60)
@given(secret=secrets, mistake=st.sampled_from(["secret", "key", "query", "unknown"]))
def test_no_bce_verdict_tells_a_secret_a_signing_key_or_a_signature(secret: str, mistake: str) -> None:
    key = digest(secret.encode(), PREFIX.encode())
    wrong = {
        "secret": bce(secret=f"{secret}\n"),
        "key": bce(key=key),
        "query": bce(secret=secret, query=""),
        "unknown": bce(secret="x"),
    }[mistake]
    told = _told(explain(bce_request(wrong), secret, now=NOW)) + _told(verify_bce(bce_request(wrong), secret, now=NOW))
    right = sign_bce(
        access_key=ACCESS_KEY,
        secret_key=secret,
        method="POST",
        path=PATH,
        params={"b": "2 x", "a": "1"},
        headers=BCE_HEADERS,
        timestamp=NOW,
        signed_headers=LISTED.split(";"),
    )
    assert verify_bce(bce_request(right.rpartition("/")[2]), secret, now=NOW).ok
    for hidden in (secret, key.hex(), b64(key), right.rpartition("/")[2]):
        assert hidden not in told
        assert hidden not in repr(replace(verify_bce(bce_request(wrong), secret, now=NOW), message=""))
