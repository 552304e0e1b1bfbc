"""Every mistake that explain knows of the hmac scheme, made by a small signer here, must come back under its name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
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
    search,
    sign_hmac,
    verify_hmac,
)
from qfkit.protocol.signing import hypotheses_hmac as table
from qfkit.protocol.signing.hmac_headers import read_fields

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
    ("query-encoding", signature_of(target=TARGET.replace("%20", " "))),
    ("query-encoding", signature_of(target=URL.replace("%20", "+"), nonce=None)),
    ("query-reordered", signature_of(target=f"{PATH}?a=1&b=2%20x")),
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
    ("path-decoded", hmac_request(signature_of(target="/v1/a b?c=1"), target="/v1/a%20b?c=1")),
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


def test_every_row_of_the_table_has_a_test() -> None:
    tested = {name for cause, _ in [*HMAC_MISTAKES, *HMAC_OTHERS] for name in cause.split("+")}
    assert {row.cause for row in table.HYPOTHESES} <= tested


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
    ],
)
def test_a_search_is_bounded(request_: HttpRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    real = hmac.compare_digest
    monkeypatch.setattr(search.hmac, "compare_digest", lambda *pair: digests.append(1) or real(*pair))
    verdict = explain(request_, SECRET_KEY, now=NOW)
    assert verdict.cause == "wrong-secret"
    assert 100 < len(digests) <= search.MAX_TRIES + 100  # verifying itself tries a few


def test_a_search_stops_at_its_bytes() -> None:
    verdict = explain(hmac_request("A" * 43 + "=", body=b"x" * 9_000_000), SECRET_KEY, now=NOW)
    assert verdict.cause == "wrong-secret"
    assert "(4 strings tried)" in verdict.message


def test_values_nested_beyond_reason_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    monkeypatch.setattr(table, "parsed", lambda _: deep)
    assert explain(hmac_request(signature_of(secret="x")), SECRET_KEY, now=NOW).cause == "wrong-secret"


def test_a_time_stamp_beyond_the_calendar_is_never_written_out() -> None:
    request = hmac_request(signature_of(secret="x"))
    headers = tuple((name, "9" * 20 if name == "X-Bce-Timestamp" else value) for name, value in request.headers)
    verdict = explain(replace(request, headers=headers), SECRET_KEY, now=1e20)
    assert verdict.cause == "wrong-secret"


def test_single_mistakes_fit_into_the_search() -> None:
    # Pairs may be cut short; no single mistake may.
    request = hmac_request("x")
    fields = read_fields(request)
    assert not isinstance(fields, Verification)
    singles = {
        (guess.signed.message(), guess.key, guess.mac)
        for guess in table.guesses(request, fields, SECRET_KEY)
        if len(set(guess.causes) - {"url-for-path", "nonce-unsigned"}) <= 1
    }
    assert len(singles) < search.MAX_TRIES


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
    }
    request = HttpRequest(method, target, tuple(headers.items()), body)
    verdict = explain(request, SECRET_KEY, now=NOW)
    assert not verdict.ok
    assert verdict.message.isprintable()
    assert verdict.render()
    json.dumps(verdict.to_dict())


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
                base64.b64decode(signature_of(secret=secret)).hex().upper(),
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
