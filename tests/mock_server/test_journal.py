from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server import Settings, State
from mock_server.core import handle
from mock_server.handle import AccountHandle
from mock_server.journal import KEPT_BYTES, Journal, VerificationFailed, redact, redact_target
from qfkit.protocol.http import HttpRequest

SECRET = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", min_size=16, max_size=80)


@given(SECRET, st.sampled_from(["access_token", "client_id", "client_secret"]), st.sampled_from(["?", "?a=1&"]))
def test_no_key_or_token_of_a_query_is_written(secret, name, before):
    written = redact_target(f"/oauth/2.0/token{before}{name}={secret}&z=2")
    assert secret not in written
    assert written.endswith("&z=2")


@given(
    SECRET,
    st.sampled_from(["Authorization", "X-Bce-Signature", "Cookie", "Api-Key"]),
    st.sampled_from(["{}", "Bearer {}", "bce-auth-v1/AK/2024-05-01T08:00:00Z/300/host/{}"]),
)
def test_no_key_token_or_signature_of_a_header_is_written(secret, name, form):
    ((_, written),) = redact(((name, form.format(secret)),))
    assert secret not in written


def test_what_remains_of_a_signature_still_says_whose_it_is():
    value = "bce-auth-v1/AK/2024-05-01T08:00:00Z/300/host;x-bce-date/0123456789abcdef"
    assert redact((("authorization", value),)) == (
        ("authorization", "bce-auth-v1/AK/2024-05-01T08:00:00Z/300/host;x-bce-date/***"),
    )


def test_it_holds_the_last_entries_and_counts_them_all():
    journal = Journal(3)
    for number in range(5):
        journal.add(journal.open(HttpRequest("POST", f"/{number}"), now=float(number)))
    assert [entry.target for entry in journal.entries()] == ["/2", "/3", "/4"]
    assert journal.count == 5
    assert journal.entries()[-1].number == 5
    journal.clear()
    assert repr(journal.entries()) == "(no requests)"


def test_an_entry_says_itself_in_one_line():
    journal = Journal(3)
    entry = journal.open(HttpRequest("POST", "/v2/chat/completions?a=1"), now=0.0)
    entry.status, entry.answered_by, entry.error_code = 429, "fail 18", 18
    assert str(entry) == "#1 POST /v2/chat/completions [nobody] -> 429 code 18 by fail 18"
    assert entry.to_dict()["status"] == 429


# Bounded, and off


def asked(state, account, body=b"{}", token=None):
    headers = (("Authorization", f"Bearer {token or account.credentials.bearer_token}"),)
    reply = handle(HttpRequest("POST", "/v2/chat/completions", headers, body, "http"), state)
    reply.on_end("complete")
    return reply


def chat(text="?"):
    return json.dumps({"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": text}]}).encode()


def test_it_is_bounded_by_bytes_of_all_accounts_together():
    state = State(Settings(journal_bytes=100_000))
    one, two = state.add_account(), state.add_account()
    for number in range(60):
        asked(state, (one, two)[number % 2], chat("长" * 1000))
    for journal in (state.journal, one.journal, two.journal):
        held = journal.entries()
        assert 0 < len(held) < 60
        assert held.forgotten == journal.count - len(held)
    assert state.journal.memory.used <= 100_000
    assert [entry.number for entry in state.journal.entries()][-1] == 60
    for journal in (state.journal, one.journal, two.journal):
        journal.clear()
    assert state.journal.memory.used == 0


def test_switched_off_it_counts_and_keeps_nothing():
    state = State(Settings(journal=0))
    account = state.add_account()
    assert asked(state, account, chat()).status == 200
    assert (len(state.journal.entries()), state.journal.count, account.journal.count) == (0, 1, 1)
    assert state.journal.memory.used == 0


def test_of_a_long_answer_the_beginning_is_kept():
    state = State(Settings())
    account = state.add_account()
    AccountHandle(account, state, "").reply("长" * 50_000)
    asked(state, account, chat())
    answer = account.journal.entries()[0].response
    assert (answer.truncated, len(answer.body), answer.json) == (True, KEPT_BYTES, None)
    assert answer.size > 150_000
    assert answer.to_dict()["truncated"] is True


def test_tokens_that_were_granted_are_masked():
    state = State(Settings())
    keys = state.add_account().credentials
    target = f"/oauth/2.0/token?grant_type=client_credentials&client_id={keys.ak}&client_secret={keys.sk}"
    reply = handle(HttpRequest("POST", target, (), b"", "http"), state)
    granted = json.loads(reply.content)
    written = state.journal.entries().to_jsonl() + json.dumps(state.journal.entries().to_har())
    for secret in (granted["access_token"], granted["refresh_token"], granted["session_secret"], keys.ak, keys.sk):
        assert secret not in written
    assert state.journal.entries()[0].response.json["access_token"].endswith("***")


# Filters and verify


@pytest.fixture
def seen():
    state = State(Settings(seed=3))
    account = state.add_account(name="shop")
    handle_ = AccountHandle(account, state, "")
    handle_.fail(429).then.reply("晴", times=2)
    for text in ("北京天气", "上海天气", "股市"):
        asked(state, account, chat(text))
    asked(state, account, chat(), token="bce-v3/nobody/1")
    return state.journal.entries()


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({}, [1, 2, 3, 4]),
        ({"contains": "天气"}, [1, 2]),
        ({"contains": ["天气", "上海"]}, [2]),
        ({"code": "rpm_rate_limit_exceeded"}, [1]),
        ({"status": [200, 429]}, [1, 2, 3]),
        ({"ok": True, "answered_by": "reply"}, [2, 3]),
        ({"account": "nobody"}, [4]),
        ({"path": "/v2/*", "model": "ERNIE-4.0-8K"}, [1, 2, 3]),
        ({"predicate": lambda entry: entry.number % 2}, [1, 3]),
        ({"signature": "none", "scheme": "bearer", "outcome": "complete"}, [1, 2, 3, 4]),
        ({"model": None}, [1, 2, 3, 4]),
    ],
)
def test_filters(seen, filters, numbers):
    assert [entry.number for entry in seen.where(**filters)] == numbers


def test_filters_with_a_slip_are_told(seen):
    with pytest.raises(TypeError, match="did you mean 'model'"):
        seen.where(modle="x")
    with pytest.raises(ValueError, match="signature is one of ok, wrong, none"):
        seen.where(signature="good")
    with pytest.raises(ValueError, match="ok is True or False"):
        seen.where(ok="yes")


def test_verify_returns_what_fits_or_says_what_came(seen):
    assert len(seen.verify(exactly=2, contains="天气")) == 2
    assert len(seen.verify(at_least=1, at_most=3, ok=True)) == 2
    assert len(seen.verify(never=True, model="none-such")) == 0
    with pytest.raises(VerificationFailed) as caught:
        seen.verify(exactly=1, contains="上海天汽")
    failed = caught.value
    assert failed.wanted == "exactly 1 request with contains='上海天汽'"
    assert len(failed.found) == 0
    assert failed.nearest[0].number == 2
    assert "there were none (of 4 requests recorded)" in str(failed)
    assert "first difference at" in str(failed)
    with pytest.raises(VerificationFailed, match="How to fix: a client that retries asks again"):
        seen.verify(at_most=1, contains="天气")
    for wrong in ({"exactly": 1, "at_least": 1}, {"never": True, "at_most": 1}, {"at_least": 2, "at_most": 1}):
        with pytest.raises(ValueError, match=r"say different things|no number is both"):
            seen.verify(**wrong)


def test_order_is_verified_and_what_came_too_early_is_told(seen):
    found = seen.verify_in_order([{"ok": False}, {"contains": "股市"}])
    assert [entry.number for entry in found] == [1, 3]
    with pytest.raises(VerificationFailed, match="that came too early for it:\n  #1 ") as caught:
        seen.verify_in_order([{"contains": "股市"}, {"contains": "北京"}])
    assert [entry.number for entry in caught.value.found] == [3]


def test_an_archive_is_what_the_specification_says(seen):
    # "HAR 1.2 Spec" (Odvarko, 2012): the members that it requires, and their types.
    archive = json.loads(json.dumps(seen.to_har(comment="x")))
    pair = {"type": "object", "required": ["name", "value"], "properties": {"value": {"type": "string"}}}
    pairs = {"type": "array", "items": pair}
    message = ["httpVersion", "cookies", "headers", "headersSize", "bodySize"]
    entry = {
        "type": "object",
        "required": ["startedDateTime", "time", "request", "response", "cache", "timings"],
        "properties": {
            "startedDateTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$"},
            "time": {"type": "number", "minimum": 0},
            "request": {
                "required": ["method", "url", "queryString", *message],
                "properties": {"headers": pairs, "queryString": pairs, "url": {"pattern": "^https?://"}},
            },
            "response": {
                "required": ["status", "statusText", "content", "redirectURL", *message],
                "properties": {"headers": pairs, "content": {"required": ["size", "mimeType"]}},
            },
            "timings": {
                "required": ["send", "wait", "receive"],
                "additionalProperties": {"type": "number", "minimum": 0},
            },
        },
    }
    log = {"required": ["version", "creator", "entries"], "properties": {"entries": {"type": "array", "items": entry}}}
    jsonschema.validate(archive, {"required": ["log"], "properties": {"log": log}})
    assert archive["log"]["version"] == "1.2"
    assert [each["response"]["status"] for each in archive["log"]["entries"]] == [429, 200, 200, 401]
    first = archive["log"]["entries"][0]
    assert abs(sum(first["timings"].values()) - first["time"]) < 1e-6
