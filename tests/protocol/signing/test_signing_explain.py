"""Every mistake that explain knows, made by a small signer of this file, must come back under its name."""

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
    ALL_FORMS,
    CAUSES,
    MESSAGE_LIMIT,
    HmacForm,
    Reason,
    Verification,
    explain,
    scheme_of,
    sign_bce,
    sign_hmac,
    verify_bce,
    verify_hmac,
)
from qfkit.protocol.signing import hypotheses_bce as bce_table
from qfkit.protocol.signing import hypotheses_hmac as hmac_table
from qfkit.protocol.signing.search import MAX_TRIES

ACCESS_KEY = "ALTAKFAKEACCESSKEY000000"
SECRET_KEY = "0123456789abcdef0123456789abcdef"
NOW = 1714550400
HOST = "127.0.0.1:18991"
PATH = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
TARGET = f"{PATH}?b=2%20x&a=1"
PAYLOAD = {"messages": [{"role": "user", "content": "你好"}], "temperature": 0.7, "stream": False}
BODY = json.dumps(PAYLOAD)
URL = f"http://{HOST}{TARGET}"


def digest(key: bytes, message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(key, message, algorithm).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# -- hmac -------------------------------------------------------------------------------------------------------------


def hmac_request(
    signature: str,
    *,
    target: str = TARGET,
    body: bytes = BODY.encode(),
    method: str = "POST",
    nonce: str = "n-12345",
    **headers: str,
) -> HttpRequest:
    fields = {
        "Host": HOST,
        "X-Bce-AccessKey": ACCESS_KEY,
        "X-Bce-Timestamp": str(NOW),
        "X-Bce-Nonce": nonce,
        "X-Bce-Signature": signature,
    }
    return HttpRequest(method, target, (*fields.items(), *headers.items()), body)


def signature_of(
    *,
    method: str = "POST",
    target: str = TARGET,
    body: str | bytes = BODY,
    timestamp: str = str(NOW),
    nonce: str | None = "n-12345",
    secret: str | bytes = SECRET_KEY,
    join: str = "\n",
    end: str = "",
) -> str:
    raw = body.encode() if isinstance(body, str) else body
    parts = [method.encode(), target.encode(), raw, timestamp.encode(), *([nonce.encode()] if nonce else [])]
    key = secret.encode() if isinstance(secret, str) else secret
    return b64(digest(key, join.encode().join(parts) + end.encode()))


def joined(*parts: str) -> str:
    return b64(digest(SECRET_KEY.encode(), "\n".join(parts).encode()))


STRING = "\n".join(["POST", TARGET, BODY, str(NOW), "n-12345"])
RIGHT = digest(SECRET_KEY.encode(), STRING.encode())
STREAM = f"{PATH}_stream"
TS, NONCE = str(NOW), "n-12345"
HEX_SECRET = bytes.fromhex(SECRET_KEY)

#: (cause, signature that a client with that mistake sends).
HMAC_MISTAKES: list[tuple[str, str]] = [
    ("url-real-host", signature_of(target=f"https://aip.baidubce.com{TARGET}")),
    ("url-real-host", signature_of(target=f"https://aip.baidubce.com{TARGET}", nonce=None)),
    ("url-real-host", signature_of(target=f"https://qianfan.baidubce.com{TARGET}")),
    ("url-without-port", signature_of(target=f"http://127.0.0.1{TARGET}")),
    ("url-default-port", signature_of(target=f"https://127.0.0.1:443{TARGET}")),
    ("url-without-scheme", signature_of(target=f"{HOST}{TARGET}")),
    ("url-without-scheme", signature_of(target=f"aip.baidubce.com{TARGET}")),
    ("url-other-host", signature_of(target=f"http://localhost:18991{TARGET}")),
    ("other-endpoint", signature_of(target=STREAM)),
    ("other-endpoint", signature_of(target=f"https://aip.baidubce.com{STREAM}", nonce=None)),
    ("query-dropped", signature_of(target=PATH)),
    ("query-dropped", signature_of(target=f"http://{HOST}{PATH}", nonce=None)),
    ("endpoint-tail", signature_of(target=TARGET.removeprefix("/rpc/2.0"))),
    ("endpoint-tail", signature_of(target="chat_completions?b=2%20x&a=1")),
    ("endpoint-tail", signature_of(target="")),
    ("path-slash", signature_of(target=f"{TARGET}/")),
    ("path-decoded", signature_of(target=TARGET.replace("%20", " "))),
    ("path-encoded-twice", signature_of(target=quote(TARGET))),
    ("body-reserialised", signature_of(body=json.dumps(PAYLOAD, separators=(",", ":")))),
    ("body-reserialised", signature_of(body=json.dumps(PAYLOAD, ensure_ascii=False))),
    ("body-reserialised", signature_of(body=json.dumps(PAYLOAD, ensure_ascii=False, separators=(",", ":")))),
    ("body-reserialised", signature_of(body=json.dumps(PAYLOAD, sort_keys=True), nonce=None)),
    ("body-reserialised", signature_of(body=json.dumps(PAYLOAD, indent=2), target=URL)),
    ("body-empty", signature_of(body="")),
    ("body-empty", signature_of(body="None", target=URL, nonce=None)),
    ("body-whitespace", signature_of(body=f"{BODY}\n")),
    ("body-python-repr", signature_of(body=str(PAYLOAD))),
    ("body-bytes-repr", signature_of(body=str(BODY.encode()))),
    ("body-json-twice", signature_of(body=json.dumps(BODY))),
    ("body-hashed", signature_of(body=hashlib.sha256(BODY.encode()).hexdigest())),
    ("body-hashed", signature_of(body=hashlib.md5(BODY.encode()).hexdigest())),
    ("method-case", signature_of(method="post")),
    ("method-case", signature_of(method="Post", target=URL, nonce=None)),
    ("method-other", signature_of(method="GET")),
    ("timestamp-in-milliseconds", signature_of(timestamp=f"{NOW}000")),
    ("timestamp-float", signature_of(timestamp=f"{NOW}.0")),
    ("timestamp-read-twice", signature_of(timestamp=str(NOW - 1))),
    ("timestamp-read-twice", signature_of(timestamp=str(NOW + 1), target=URL, nonce=None)),
    ("timestamp-iso", signature_of(timestamp="2024-05-01T08:00:00Z")),
    ("nonce-before-timestamp", joined("POST", TARGET, BODY, NONCE, TS)),
    ("parts-reordered", joined("POST", TARGET, TS, NONCE, BODY)),
    ("parts-reordered", joined("POST", TARGET, TS, BODY)),
    ("part-left-out", joined(TARGET, BODY, TS, NONCE)),
    ("part-left-out", joined("POST", TARGET, TS, NONCE)),
    ("part-left-out", joined(BODY)),
    ("access-key-signed", joined("POST", TARGET, BODY, TS, NONCE, ACCESS_KEY)),
    ("access-key-signed", joined(ACCESS_KEY, "POST", TARGET, BODY, TS)),
    ("separator-crlf", signature_of(join="\r\n")),
    ("separator-literal", signature_of(join="\\n")),
    ("separator-missing", signature_of(join="")),
    ("separator-other", signature_of(join="&", nonce=None)),
    ("trailing-newline", signature_of(end="\n")),
    ("secret-whitespace", signature_of(secret=f"{SECRET_KEY}\n")),
    ("secret-whitespace", signature_of(secret=f" {SECRET_KEY}", target=URL, nonce=None)),
    ("secret-quoted", signature_of(secret=f'"{SECRET_KEY}"')),
    ("secret-truncated", signature_of(secret=SECRET_KEY[:-1])),
    ("secret-base64-decoded", signature_of(secret=base64.b64decode(SECRET_KEY))),
    ("secret-hex-decoded", signature_of(secret=HEX_SECRET)),
    ("access-key-as-secret", signature_of(secret=ACCESS_KEY)),
    ("key-and-message-swapped", b64(digest(STRING.encode(), SECRET_KEY.encode()))),
    ("not-hmac", b64(hashlib.sha256((STRING + SECRET_KEY).encode()).digest())),
    ("not-hmac", b64(hashlib.sha256((SECRET_KEY + STRING).encode()).digest())),
    ("signature-hex", RIGHT.hex()),
    ("signature-hex", RIGHT.hex().upper()),
    ("signature-unpadded", b64(RIGHT).rstrip("=")),
    ("signature-base64-of-hex", b64(RIGHT.hex().encode())),
    ("signature-bytes-repr", str(base64.b64encode(RIGHT))),
    ("signature-percent-encoded", quote(b64(RIGHT), safe="")),
    ("hash-sha1", b64(digest(SECRET_KEY.encode(), STRING.encode(), "sha1"))),
    ("hash-sha224", b64(digest(SECRET_KEY.encode(), STRING.encode(), "sha224"))),
    ("hash-sha384", b64(digest(SECRET_KEY.encode(), STRING.encode(), "sha384"))),
    ("hash-sha512", b64(digest(SECRET_KEY.encode(), STRING.encode(), "sha512"))),
    # Two and three mistakes at once.
    (
        "url-real-host+body-reserialised",
        signature_of(target=f"https://aip.baidubce.com{TARGET}", body=str(BODY).replace(" ", "")),
    ),
    ("query-dropped+body-reserialised", signature_of(target=PATH, body=json.dumps(PAYLOAD, ensure_ascii=False))),
    (
        "url-real-host+secret-whitespace",
        signature_of(target=f"https://aip.baidubce.com{TARGET}", secret=f"{SECRET_KEY}\n"),
    ),
    ("url-real-host+method-case", signature_of(target=f"https://aip.baidubce.com{TARGET}", method="post", nonce=None)),
    ("body-empty+signature-hex", base64.b64decode(signature_of(body="")).hex()),
    ("signature-hex+hash-sha1", digest(SECRET_KEY.encode(), STRING.encode(), "sha1").hex()),
    ("wrong-secret", signature_of(secret="not the secret")),
    ("signature-not-a-digest", "c2hvcnQ="),
    ("signature-not-a-digest", "你好"),
    ("signature-not-a-digest", "A" * 41),
    ("signature-not-a-digest", f"{b64(RIGHT)[:-2]}{'B' if b64(RIGHT)[-2] == 'A' else 'A'}="),
]


@pytest.mark.parametrize(("cause", "signature"), HMAC_MISTAKES)
def test_hmac_mistakes_are_named(cause: str, signature: str) -> None:
    verdict = explain(hmac_request(signature), SECRET_KEY, now=NOW)
    assert (verdict.reason, verdict.cause) == (Reason.MISMATCH, cause)
    check_report(verdict)


URLSAFE = str.maketrans("+/", "-_")
# A signature in which the two base64 alphabets differ.
SLASHED = next(f"n-{n}" for n in range(100) if "/" in signature_of(nonce=f"n-{n}"))

#: Mistakes that show only in other requests: (cause, request).
HMAC_OTHERS: list[tuple[str, HttpRequest]] = [
    (
        "url-other-host",
        hmac_request(signature_of(target=f"http://mock.test{TARGET}"), **{"X-Forwarded-Host": "mock.test"}),
    ),
    (
        "timestamp-other-header",
        hmac_request(signature_of(timestamp=str(NOW - 9)), Date="Wed, 01 May 2024 07:59:51 GMT"),
    ),
    (
        "timestamp-other-header",
        hmac_request(signature_of(timestamp=str(NOW - 9)), **{"x-bce-date": "2024-05-01T07:59:51Z"}),
    ),
    ("timestamp-other-header", hmac_request(signature_of(timestamp="soon"), **{"X-Timestamp": "soon"})),
    ("body-whitespace", hmac_request(signature_of(body=BODY), body=f"{BODY}\n".encode())),
    ("body-encoding", hmac_request(signature_of(body="你好".encode("gbk")), body="你好".encode())),
    ("body-encoding", hmac_request(signature_of(body="你好"), body="你好".encode("gbk"))),
    ("body-json-twice", hmac_request(signature_of(body=BODY), body=json.dumps(BODY).encode())),
    ("body-reserialised", hmac_request(signature_of(body="[0.7, 1]"), body=b"[ 0.70,\n1 ]")),
    ("path-slash", hmac_request(signature_of(target="/a/b"), target="/a//b")),
    ("other-endpoint", hmac_request(signature_of(target=PATH), target=STREAM)),
    ("method-other", hmac_request(signature_of(), method="PUT")),
    ("signature-urlsafe", hmac_request(signature_of(nonce=SLASHED).translate(URLSAFE), nonce=SLASHED)),
]


@pytest.mark.parametrize(("cause", "request_"), HMAC_OTHERS)
def test_hmac_mistakes_of_other_requests_are_named(cause: str, request_: HttpRequest) -> None:
    verdict = explain(request_, SECRET_KEY, now=NOW)
    assert verdict.cause == cause
    check_report(verdict)


def test_every_row_of_the_hmac_table_has_a_test() -> None:
    tested = {name for cause, _ in [*HMAC_MISTAKES, *HMAC_OTHERS] for name in cause.split("+")}
    assert {row.cause for row in hmac_table.HYPOTHESES} <= tested


def test_the_expected_string_is_that_of_the_form_which_the_client_follows() -> None:
    compact = json.dumps(PAYLOAD, separators=(",", ":"))
    verdict = explain(hmac_request(signature_of(target=URL, body=compact, nonce=None)), SECRET_KEY, now=NOW)
    assert verdict.expected == f"POST\n{URL}\n{BODY}\n{NOW}"
    assert verdict.received == f"POST\n{URL}\n{compact}\n{NOW}"
    difference = verdict.difference
    assert difference is not None
    assert (difference.line, difference.label, difference.column) == (3, "BODY", 13)
    assert (difference.expected, difference.received) == (BODY, compact)
    assert verdict.labels == ("METHOD", "TARGET", "BODY", "TIMESTAMP")


def test_the_scheme_of_the_expected_url_is_the_clients() -> None:
    verdict = explain(hmac_request(signature_of(target=f"https://aip.baidubce.com{TARGET}")), SECRET_KEY, now=NOW)
    assert verdict.difference is not None
    assert (verdict.difference.label, verdict.difference.column) == ("TARGET", len("https://") + 1)


def test_a_form_that_is_not_accepted_is_one_mistake_more() -> None:
    signature = signature_of(target=URL, body="", nonce=None)
    verdict = explain(hmac_request(signature), SECRET_KEY, now=NOW, forms=[HmacForm.B_PATH])
    assert verdict.cause == "body-empty+url-for-path+nonce-unsigned"
    assert verdict.expected == STRING
    check_report(verdict)


@pytest.mark.parametrize("form", ALL_FORMS)
def test_a_right_signature_is_left_alone(form: HmacForm) -> None:
    headers = sign_hmac(
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        method="POST",
        target=TARGET,
        body=BODY.encode(),
        timestamp=NOW,
        nonce="n",
        form=form,
        url=URL,
    )
    request = HttpRequest("POST", TARGET, (("Host", HOST), *headers.items()), BODY.encode())
    assert explain(request, SECRET_KEY, now=NOW) == verify_hmac(request, SECRET_KEY, now=NOW)
    assert explain(request, SECRET_KEY, now=NOW).ok


def test_what_is_no_mismatch_is_left_as_verify_has_it() -> None:
    request = hmac_request("x")
    for key, now in ((None, NOW), (SECRET_KEY, NOW + 999)):
        assert explain(request, key, now=now) == verify_hmac(request, key, now=now)
    assert explain(HttpRequest("GET", "/"), SECRET_KEY, now=NOW).reason is Reason.MISSING_HEADER


# -- bce-auth-v1 ------------------------------------------------------------------------------------------------------

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


def test_every_row_of_the_bce_table_has_a_test() -> None:
    tested = {name for cause, _ in [*BCE_MISTAKES, *BCE_OTHERS] for name in cause.split("+")}
    assert {row.cause for row in bce_table.HYPOTHESES} <= tested


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


# -- both -------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_every_cause_fits_into_a_message(cause: Any) -> None:
    advice = f"{cause.advice[0].upper()}{cause.advice[1:]}."
    assert len(f"Signature mismatch: {cause.statement}. {advice}") <= MESSAGE_LIMIT
    assert not cause.statement.endswith(".")
    assert (cause.statement + cause.advice).isascii()


@pytest.mark.parametrize(
    "request_",
    [
        hmac_request(signature_of(secret="x")),
        hmac_request(signature_of(secret="x"), target="/" + "a/" * 500, body=json.dumps([PAYLOAD] * 200).encode()),
        bce_request(bce(secret="x"), **{f"x-bce-{n}": "é" for n in range(60)}),
        bce_request(bce(secret="x"), target="/%25" * 100 + "?" + "a=%20&" * 100),
    ],
)
def test_a_search_is_bounded(request_: HttpRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    from qfkit.protocol.signing import search

    digests = []
    real = hmac.compare_digest
    monkeypatch.setattr(search.hmac, "compare_digest", lambda *pair: digests.append(1) or real(*pair))
    verdict = explain(request_, SECRET_KEY, now=NOW)
    assert verdict.cause == "wrong-secret"
    assert 100 < len(digests) <= MAX_TRIES + 100  # verify_* itself tries a few


def test_a_search_stops_at_its_bytes() -> None:
    verdict = explain(hmac_request("A" * 43 + "=", body=b"x" * 9_000_000), SECRET_KEY, now=NOW)
    assert verdict.cause == "wrong-secret"
    assert "(4 strings tried)" in verdict.message


def test_values_nested_beyond_reason_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    monkeypatch.setattr(hmac_table, "parsed", lambda _: deep)
    assert explain(hmac_request(signature_of(secret="x")), SECRET_KEY, now=NOW).cause == "wrong-secret"


def test_a_large_body_is_not_parsed() -> None:
    for size, cause in ((2**19, "content-length-changed"), (2**20, "wrong-secret")):
        body = b'{"a": "' + b"x" * size + b'"}'
        signature = bce(headers=lines(content_length=str(len(body) - 1)))
        request = bce_request(signature, listed=f"content-length;{LISTED}", **{"Content-Length": str(len(body))})
        assert explain(replace(request, body=body), SECRET_KEY, now=NOW).cause == cause


def test_a_time_stamp_beyond_the_calendar_is_never_written_out() -> None:
    request = hmac_request(signature_of(secret="x"))
    headers = tuple((name, "9" * 20 if name == "X-Bce-Timestamp" else value) for name, value in request.headers)
    verdict = explain(replace(request, headers=headers), SECRET_KEY, now=1e20)
    assert verdict.cause == "wrong-secret"


def test_single_mistakes_fit_into_the_search() -> None:
    # Pairs may be cut short; no single mistake may.
    for guesses in (
        hmac_table.guesses(hmac_request("x"), hmac_table_fields(), SECRET_KEY),
        bce_table.guesses(bce_request("x"), bce_fields(), SECRET_KEY),
    ):
        singles = {
            (guess.signed.octets(), guess.key, guess.mac)
            for guess in guesses
            if len(set(guess.causes) - {"url-for-path", "nonce-unsigned"}) <= 1
        }
        assert len(singles) < MAX_TRIES


def hmac_table_fields() -> Any:
    from qfkit.protocol.signing.hmac_headers import read_fields

    return read_fields(hmac_request("x"))


def bce_fields() -> Any:
    from qfkit.protocol.signing.bce_auth_v1 import read_authorization

    return read_authorization(bce_request("x"))


text = st.text(max_size=30)


@settings(deadline=None, max_examples=60)
@given(
    method=text, target=text, body=st.binary(max_size=60), host=text, nonce=text, signature=text | st.just(b64(RIGHT))
)
@example(method="P\ud800", target="/\ud800", body=b"[" * 5000, host="\udcff:80", nonce="\ud800", signature=b64(RIGHT))
@example(method="POST", target="/", body=b"[" * 900 + b"]" * 900, host="h", nonce="n", signature=b64(RIGHT))
@example(
    method="POST", target="/", body=b'{"a": NaN, "b": "\\ud800", "c": 1e999}', host="h", nonce="n", signature=b64(RIGHT)
)
@example(method="POST", target="/", body=b"1" * 5000, host="h", nonce="n", signature="\ud800")
def test_whatever_arrives_is_explained(
    *, method: str, target: str, body: bytes, host: str, nonce: str, signature: str
) -> None:
    headers = {
        "Host": host,
        "X-Forwarded-Host": host,
        "Date": nonce,
        "x-bce-date": nonce,
        "X-Bce-AccessKey": nonce,
        "X-Bce-Timestamp": str(NOW),
        "X-Bce-Nonce": nonce,
        "X-Bce-Signature": signature,
        "Authorization": f"{PREFIX}/host/{signature}",
    }
    request = HttpRequest(method, target, tuple(headers.items()), body)
    for scheme in ("hmac", "bce-auth-v1"):
        verdict = explain(request, SECRET_KEY, now=NOW, scheme=scheme)
        assert not verdict.ok
        assert verdict.message.isprintable()
        assert verdict.render()
        json.dumps(verdict.to_dict())


# -- secrets ----------------------------------------------------------------------------------------------------------


def _told(verdict: Verification) -> str:
    return "\n".join([verdict.render(), repr(verdict), json.dumps(verdict.to_dict(), ensure_ascii=False), str(verdict)])


secrets = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=24, max_size=40)


@settings(deadline=None, max_examples=100)
@given(secret=secrets, mistake=st.integers(0, len(HMAC_MISTAKES) - 1), data=st.data())
def test_no_verdict_tells_a_secret_or_a_signature_that_the_client_did_not_make(
    secret: str, mistake: int, data: st.DataObject
) -> None:
    forms = data.draw(st.sampled_from([ALL_FORMS, (HmacForm.B_PATH,), (HmacForm.A_URL,)]))
    wrong = data.draw(
        st.sampled_from(
            [
                signature_of(secret=secret, body=""),
                signature_of(secret=f"{secret}\n"),
                signature_of(secret=f"{secret}\n", target=URL, nonce=None),
                signature_of(secret=secret, target=f"https://aip.baidubce.com{TARGET}"),
                signature_of(secret="x"),
                HMAC_MISTAKES[mistake][1],
            ]
        )
    )
    right = [
        base64.b64decode(signature_of(secret=secret, target=place, nonce=nonce))
        for place in (TARGET, URL, URL.replace("http:", "https:"))
        for nonce in (NONCE, None)
    ]
    request = hmac_request(wrong)
    for verdict in (
        explain(request, secret, now=NOW, forms=forms),
        verify_hmac(request, secret, now=NOW, forms=forms),
        verify_hmac(request, secret, now=NOW + 9999, forms=forms),
    ):
        assert not verdict.ok
        assert secret not in _told(verdict)
        for value in right:
            assert b64(value) not in _told(verdict)
            assert value.hex() not in _told(verdict).lower()


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
