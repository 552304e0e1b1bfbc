"""The hmac scheme against the tutorial's own code and against a reading of the design written from scratch here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import (
    ALL_FORMS,
    MESSAGE_LIMIT,
    HmacForm,
    Reason,
    Verification,
    replayed,
    sign_hmac,
    string_to_sign,
    verify_hmac,
)

ACCESS_KEY = "ALTAKFAKEACCESSKEY000000"
SECRET_KEY = "0123456789abcdef0123456789abcdef"
NOW = 1714550400
HOST = "127.0.0.1:18991"
TARGET = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
BODY = json.dumps({"messages": [{"role": "user", "content": "你好"}], "temperature": 0.7}).encode()

every_form = pytest.mark.parametrize("form", ALL_FORMS)
anything = st.text(max_size=40)  # lone surrogates and control characters included


def generate_signature(secret_key: str, method: str, path: str, body: str, timestamp: str) -> str:
    """As the tutorial prints it."""
    string_to_sign = f"{method}\n{path}\n{body}\n{timestamp}"
    hmac_code = hmac.new(secret_key.encode("utf-8"), string_to_sign.encode("utf-8"), hashlib.sha256).digest()
    return base64.b64encode(hmac_code).decode("utf-8")


def from_scratch(form: str, *, method: str, target: str, body: bytes, timestamp: str, nonce: str, secret: str) -> str:
    place = target if form.endswith("path") else f"http://{HOST}{target}"
    message = method.encode() + b"\n" + place.encode() + b"\n" + body + b"\n" + timestamp.encode()
    if form.startswith("B"):
        message += b"\n" + nonce.encode()
    return base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()


def request_with(headers: dict[str, str], *, body: bytes = BODY, target: str = TARGET, **more: str) -> HttpRequest:
    return HttpRequest("POST", target, (("Host", HOST), *headers.items(), *more.items()), body)


def signed(form: HmacForm = HmacForm.B_PATH, **changes: object) -> dict[str, str]:
    arguments: dict[str, object] = {
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "method": "POST",
        "target": TARGET,
        "body": BODY,
        "timestamp": NOW,
        "nonce": "12345",
        "form": form,
        "url": f"http://{HOST}{TARGET}",
    }
    return sign_hmac(**(arguments | changes))  # type: ignore[arg-type]


# -- signing ----------------------------------------------------------------------------------------------------------


@every_form
def test_signing_is_what_the_design_says(form: HmacForm) -> None:
    assert signed(form) == {
        "X-Bce-AccessKey": ACCESS_KEY,
        "X-Bce-Timestamp": "1714550400",
        "X-Bce-Nonce": "12345",
        "X-Bce-Signature": from_scratch(
            form.value,
            method="POST",
            target=TARGET,
            body=BODY,
            timestamp="1714550400",
            nonce="12345",
            secret=SECRET_KEY,
        ),
    }


def test_string_to_sign_shows_both_forms() -> None:
    common = {"method": "POST", "target": "/x?a=1", "body": b"{}", "timestamp": 7}
    assert string_to_sign(**common) == b"POST\n/x?a=1\n{}\n7"  # type: ignore[arg-type]
    assert string_to_sign(**common, nonce="n") == b"POST\n/x?a=1\n{}\n7\nn"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"nonce": ""}, "X-Bce-Nonce must be one word"),
        ({"nonce": "a\nX-Evil: 1"}, "X-Bce-Nonce must be one word"),
        ({"access_key": "a b"}, "X-Bce-AccessKey must be one word"),
        ({"timestamp": -1}, "0 or more, not -1"),
        ({"form": HmacForm.B_URL, "url": None}, "B/url signs the full URL: pass url="),
    ],
)
def test_signing_refuses_what_no_header_can_carry(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        signed(**changes)  # type: ignore[arg-type]


# -- verifying: what is accepted --------------------------------------------------------------------------------------


@every_form
def test_every_form_verifies_and_says_which_it_is(form: HmacForm) -> None:
    verdict = verify_hmac(request_with(signed(form)), SECRET_KEY, now=NOW)
    assert verdict == Verification(
        ok=True,
        scheme="hmac",
        reason=Reason.OK,
        message="",
        access_key=ACCESS_KEY,
        form=form.value,
        findings=("nonce-unsigned",) if form.value.startswith("A") else (),
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("served", ["http", "https"])
@pytest.mark.parametrize("form", [HmacForm.A_URL, HmacForm.B_URL])
def test_the_url_may_be_of_either_scheme(form: HmacForm, served: str, scheme: str) -> None:
    request = request_with(signed(form, url=f"{scheme}://{HOST}{TARGET}"))
    assert verify_hmac(replace(request, scheme=served), SECRET_KEY, now=NOW).form == form.value


def test_the_tutorial_as_printed_verifies_behind_an_interceptor() -> None:
    endpoint = f"https://aip.baidubce.com{TARGET}"
    payload = {"messages": [{"role": "user", "content": "用Python写一个快速排序算法"}], "temperature": 0.7}
    body = json.dumps(payload)
    headers = {
        "Host": "aip.baidubce.com",
        "X-Bce-Signature": generate_signature(SECRET_KEY, "POST", endpoint, body, str(NOW)),
        "X-Bce-Timestamp": str(NOW),
        "X-Bce-Nonce": "54321",
        "X-Bce-AccessKey": ACCESS_KEY,
    }
    verdict = verify_hmac(HttpRequest("POST", TARGET, tuple(headers.items()), body.encode()), SECRET_KEY, now=NOW + 2)
    assert (verdict.ok, verdict.form, verdict.findings) == (True, "A/url", ("nonce-unsigned",))


def test_the_query_is_part_of_the_target() -> None:
    target = f"{TARGET}?stream=true&x=%E4%BD%A0"
    assert verify_hmac(request_with(signed(target=target), target=target), SECRET_KEY, now=NOW).ok
    assert not verify_hmac(request_with(signed(), target=target), SECRET_KEY, now=NOW).ok


def test_header_names_in_any_case_and_white_space_around_values() -> None:
    headers = {name.upper(): f" \t{value} " for name, value in signed().items()}
    assert verify_hmac(request_with(headers), SECRET_KEY, now=NOW).ok


def test_a_body_that_is_not_utf_8() -> None:
    body = "你好".encode("gbk") + b"\xff\x00"
    assert verify_hmac(request_with(signed(body=body), body=body), SECRET_KEY, now=NOW).ok


def test_a_target_that_wsgi_decoded_as_latin_1() -> None:
    target = "/你好"
    request = request_with(signed(target=target), target=target.encode().decode("latin-1"))
    assert verify_hmac(request, SECRET_KEY, now=NOW).form == "B/path"


@pytest.mark.parametrize("off", [-300, -299.5, 0, 299.5, 300])
def test_skew_up_to_the_limit_is_allowed(off: float) -> None:
    assert verify_hmac(request_with(signed()), SECRET_KEY, now=NOW + off).ok


@settings(deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT"]),
    target=st.text(st.characters(codec="utf-8"), max_size=30).map("/".__add__),
    body=st.binary(max_size=200),
    timestamp=st.integers(0, 10**11),
    nonce=st.text("abc123-_", min_size=1),
    secret=st.text(st.characters(codec="utf-8")),
    form=st.sampled_from(ALL_FORMS),
)
def test_sign_verify_and_the_from_scratch_reading_agree(
    *, method: str, target: str, body: bytes, timestamp: int, nonce: str, secret: str, form: HmacForm
) -> None:
    headers = signed(
        form,
        method=method,
        target=target,
        body=body,
        timestamp=timestamp,
        nonce=nonce,
        secret_key=secret,
        url=f"http://{HOST}{target}",
    )
    expected = from_scratch(
        form.value, method=method, target=target, body=body, timestamp=str(timestamp), nonce=nonce, secret=secret
    )
    assert headers["X-Bce-Signature"] == expected
    request = replace(request_with(headers, body=body, target=target), method=method)
    assert verify_hmac(request, secret, now=timestamp).form == form.value


# -- verifying: what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "missing",
    [
        names
        for count in range(1, 5)
        for names in itertools.combinations(
            ["X-Bce-AccessKey", "X-Bce-Timestamp", "X-Bce-Nonce", "X-Bce-Signature"], count
        )
    ],
)
@pytest.mark.parametrize("empty", [True, False])
def test_missing_headers_are_all_named(missing: tuple[str, ...], empty: bool) -> None:
    headers = {name: value for name, value in signed().items() if name not in missing}
    if empty:
        headers |= dict.fromkeys(missing, " ")
    verdict = verify_hmac(request_with(headers), SECRET_KEY, now=NOW)
    assert (verdict.reason, verdict.cause) == (Reason.MISSING_HEADER, "missing-header")
    assert verdict.message.startswith(f"Missing or empty: {', '.join(missing)}.")


@pytest.mark.parametrize("name", ["X-Bce-AccessKey", "X-Bce-Timestamp", "X-Bce-Nonce", "X-Bce-Signature"])
def test_a_header_that_came_twice_must_say_the_same(name: str) -> None:
    request = request_with(signed())
    again = (name.lower(), dict(request.headers)[name])
    assert verify_hmac(replace(request, headers=(*request.headers, again)), SECRET_KEY, now=NOW).ok
    verdict = verify_hmac(replace(request, headers=(*request.headers, (name.lower(), "other"))), SECRET_KEY, now=NOW)
    assert (verdict.reason, verdict.cause) == (Reason.MALFORMED, "repeated-header")
    assert name in verdict.message


@pytest.mark.parametrize(
    "timestamp",
    ["1714550400.5", "2024-05-01T08:00:00Z", "+1714550400", "1_714_550_400", "１７", "²", "x", "9" * 21, "-1"],
)
def test_a_time_stamp_that_is_no_whole_seconds(timestamp: str) -> None:
    verdict = verify_hmac(request_with(signed() | {"X-Bce-Timestamp": timestamp}), SECRET_KEY, now=NOW)
    assert (verdict.reason, verdict.cause) == (Reason.MALFORMED, "timestamp-not-integer")
    assert "str(int(time.time()))" in verdict.message


def test_an_unknown_access_key_is_masked_in_the_message() -> None:
    verdict = verify_hmac(request_with(signed()), None, now=NOW)
    assert (verdict.reason, verdict.cause, verdict.access_key) == (Reason.UNKNOWN_KEY, "unknown-key", ACCESS_KEY)
    assert "'ALTA***'" in verdict.message
    # It may be a secret key put in the wrong place.
    assert ACCESS_KEY not in verdict.message + verdict.render() + repr(verdict) + json.dumps(verdict.to_dict())


@pytest.mark.parametrize(
    ("timestamp", "cause", "says"),
    [
        (NOW - 301, "clock-behind", "is 301 s behind this server's clock (allowed: 300 s)"),
        (NOW + 1000, "clock-ahead", "is 1000 s ahead of this server's clock (allowed: 300 s)"),
        (NOW * 1000, "timestamp-in-milliseconds", "divide it by 1,000"),
        (NOW * 10**6 + 5, "timestamp-in-milliseconds", "divide it by 1,000,000"),
        (NOW * 10**9 - 5, "timestamp-in-milliseconds", "divide it by 1,000,000,000"),
        (NOW - 8 * 3600 - 2, "local-time-for-utc", "8 hours, as when China's time is taken for UTC"),
        (NOW + 8 * 3600, "local-time-for-utc", "8 hours, as when China's time is taken for UTC"),
        (0, "clock-behind", "behind"),
        (10**19, "clock-ahead", "ahead"),
    ],
)
def test_skew_says_by_how_much_and_guesses_why(timestamp: int, cause: str, says: str) -> None:
    # Signed right: the time alone is wrong. Signed wrong as well, the report is the same.
    for headers in (signed(timestamp=timestamp), signed(timestamp=timestamp, secret_key="other")):
        verdict = verify_hmac(request_with(headers), SECRET_KEY, now=NOW)
        assert (verdict.reason, verdict.cause) == (Reason.CLOCK_SKEW, cause)
        assert says in verdict.message
        assert verdict.expected is None


def test_allowed_skew_is_a_setting() -> None:
    assert not verify_hmac(request_with(signed()), SECRET_KEY, now=NOW + 10, allowed_skew=5).ok
    assert verify_hmac(request_with(signed()), SECRET_KEY, now=NOW + 5000, allowed_skew=5000).ok


@pytest.mark.parametrize(("got", "wanted"), list(itertools.permutations(ALL_FORMS, 2)))
def test_a_right_signature_in_a_form_that_is_not_accepted(got: HmacForm, wanted: HmacForm) -> None:
    verdict = verify_hmac(request_with(signed(got)), SECRET_KEY, now=NOW, forms=[wanted])
    assert (verdict.reason, verdict.form) == (Reason.FORM_NOT_ALLOWED, got.value)
    assert f"right in form {got.value}, but this server wants {wanted.value}" in verdict.message
    causes = set((verdict.cause or "").split("+"))
    assert ("url-for-path" in causes) == (got.value.endswith("url") and wanted.value.endswith("path"))
    assert ("path-for-url" in causes) == (got.value.endswith("path") and wanted.value.endswith("url"))
    assert ("nonce-unsigned" in causes) == (got.value < "B" <= wanted.value)
    assert ("nonce-signed" in causes) == (wanted.value < "B" <= got.value)
    assert verdict.difference is not None
    assert verdict.expected != verdict.received


def test_forms_that_are_accepted_are_accepted() -> None:
    forms = [HmacForm.B_PATH, HmacForm.B_URL]
    assert verify_hmac(request_with(signed(HmacForm.B_URL)), SECRET_KEY, now=NOW, forms=forms).ok
    assert not verify_hmac(request_with(signed(HmacForm.A_URL)), SECRET_KEY, now=NOW, forms=forms).ok


def test_no_form_at_all_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="at least one form"):
        verify_hmac(request_with(signed()), SECRET_KEY, now=NOW, forms=[])


def test_a_mismatch_shows_the_string_of_the_form_that_is_wanted() -> None:
    verdict = verify_hmac(request_with(signed(secret_key="x")), SECRET_KEY, now=NOW, forms=[HmacForm.A_URL])
    assert (verdict.reason, verdict.cause, verdict.form) == (Reason.MISMATCH, None, None)
    assert verdict.expected == f"POST\nhttp://{HOST}{TARGET}\n{BODY.decode()}\n{NOW}"
    assert verdict.labels == ("METHOD", "TARGET", "BODY", "TIMESTAMP")


def test_a_nonce_of_form_a_can_be_changed_but_not_that_of_form_b() -> None:
    other = {"X-Bce-Nonce": "99999"}
    assert verify_hmac(request_with(signed(HmacForm.A_PATH) | other), SECRET_KEY, now=NOW).ok
    assert verify_hmac(request_with(signed(HmacForm.B_PATH) | other), SECRET_KEY, now=NOW).reason is Reason.MISMATCH


CHANGES = ("method", "target", "body", "timestamp", "secret", "signature", "nonce")


@settings(deadline=None)
@given(form=st.sampled_from(ALL_FORMS), changed=st.sampled_from(CHANGES), data=st.data())
def test_nothing_that_is_signed_can_be_changed(form: HmacForm, changed: str, data: st.DataObject) -> None:
    headers, secret = signed(form), SECRET_KEY
    request = request_with(headers)
    if changed == "method":
        request = replace(request, method=data.draw(st.text(max_size=6).filter(lambda method: method != "POST")))
    elif changed == "target":
        request = replace(request, target=data.draw(st.text(max_size=80).filter(lambda target: target != TARGET)))
    elif changed == "body":
        cut = data.draw(st.integers(0, len(BODY)))
        body = BODY[:cut] + data.draw(st.binary(max_size=3)) + BODY[cut + 1 :]
        if body == BODY:
            body += b"\n"
        request = replace(request, body=body)
    elif changed == "timestamp":
        off = data.draw(st.integers(-300, 300).filter(bool))
        request = request_with(headers | {"X-Bce-Timestamp": str(NOW + off)})
    elif changed == "secret":
        secret = data.draw(st.text().filter(lambda other: other != SECRET_KEY))
    elif changed == "signature":
        text = headers["X-Bce-Signature"]
        index = data.draw(st.integers(0, len(text) - 1))
        character = data.draw(st.sampled_from("ABCabc019+/=-_é你").filter(lambda other: other != text[index]))
        request = request_with(headers | {"X-Bce-Signature": text[:index] + character + text[index + 1 :]})
    else:
        if form.value.startswith("A"):
            return
        nonce = data.draw(st.text("0123456789ab", min_size=1).filter(lambda other: other != "12345"))
        request = request_with(headers | {"X-Bce-Nonce": nonce})
    assert verify_hmac(request, secret, now=NOW).reason is Reason.MISMATCH


@settings(deadline=None, max_examples=300)
@given(
    method=anything,
    target=anything,
    body=st.binary(max_size=60),
    headers=st.lists(
        st.tuples(
            anything
            | st.sampled_from(
                ["host", "X-BCE-ACCESSKEY", "x-bce-timestamp", "X-Bce-Nonce", "x-bce-signature", "Authorization"]
            ),
            anything | st.sampled_from([str(NOW), "9" * 5000]),
        ),
        max_size=8,
    ).map(tuple),
    secret=st.none() | anything,
)
@example("POST", "/\ud800", b"", tuple((signed() | {"X-Bce-Nonce": "\udcff", "Host": "\ud800"}).items()), "\ud800")
def test_whatever_arrives_there_is_a_verdict(
    method: str, target: str, body: bytes, headers: tuple[tuple[str, str], ...], secret: str | None
) -> None:
    verdict = verify_hmac(HttpRequest(method, target, headers, body), secret, now=NOW)
    assert not verdict.ok
    assert 0 < len(verdict.message) <= MESSAGE_LIMIT
    assert verdict.message.isprintable()
    assert json.loads(json.dumps(verdict.to_dict()))["reason"] == verdict.reason.value
    assert verdict.render().startswith("Signature refused: ")


def test_a_replay_is_a_refusal_made_of_an_acceptance() -> None:
    verdict = replayed(verify_hmac(request_with(signed()), SECRET_KEY, now=NOW), age=1.25)
    assert (verdict.ok, verdict.reason, verdict.cause) == (False, Reason.REPLAYED, "replayed")
    assert (verdict.access_key, verdict.form) == (ACCESS_KEY, "B/path")
    assert "seen 1.2 s ago: sign each attempt afresh" in verdict.message
