"""What is read off an entry of the journal."""

from __future__ import annotations

import json

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from qfkit.grading import Observation, Signed, observations
from qfkit.grading.observed import of_journal
from qfkit.protocol.errors import ERRORS

V2 = "/v2/chat/completions"


def entry(**more):
    """An entry as `Entry.to_dict` writes it."""
    return {
        "number": 1,
        "time": 1000.0,
        "method": "POST",
        "target": V2,
        "headers": [["Authorization", "Bearer bce-***"]],
        "dialect": "v2",
        "operation": "chat",
        "scheme": "bearer",
        "signature": None,
        "body": {"messages": []},
        "status": 200,
        "error_code": None,
        "answered_by": "default",
        "findings": [],
        "response": {"headers": [], "body": {"object": "chat.completion"}, "truncated": False},
        "outcome": "complete",
        "chunks": 0,
        "chunks_sent": 0,
        "duration": 0.5,
        "ended": 1000.25,
        "due": 1000.0,
        "token": "abcd0123",
        **more,
    }


def answer(body, *headers):
    return {"headers": [list(pair) for pair in headers], "body": body, "truncated": False}


def test_the_plain_case():
    one = of_journal(entry())
    assert (one.number, one.began, one.ended, one.due, one.token) == (1, 1000.0, 1000.25, 1000.0, "abcd0123")
    assert (one.fate, one.pieces, one.broken, one.streamed, one.code, one.kind) == ("done", 1, False, False, None, None)


def test_a_journal_of_an_older_mock_has_only_the_duration():
    data = entry()
    for name in ("ended", "due", "token"):
        del data[name]
    assert of_journal(data).ended == 1000.5


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("Retry-After", "7"),), 7.0),
        ((("retry-after", "0.5"),), 0.5),
        ((("Retry-After-Ms", "250"), ("Retry-After", "7")), 0.25),
        ((("Retry-After", "Wed, 01 May 2024 08:00:09 GMT"), ("Date", "Wed, 01 May 2024 08:00:00 GMT")), 8.0),
        ((("Retry-After", "Wed, 01 May 2024 08:00:00 GMT"), ("Date", "Wed, 01 May 2024 08:00:09 GMT")), 0.0),
        ((("Retry-After", "soon"), ("Date", "Wed, 01 May 2024 08:00:00 GMT")), None),
        ((("Retry-After", "nan"),), None),
        ((("Retry-After", "-3"),), None),
        ((), None),
    ],
)
def test_retry_after(headers, seconds):
    assert of_journal(entry(status=429, response=answer({}, *headers))).retry_after == seconds


def test_every_error_of_the_table_is_judged_by_the_table():
    for spec in ERRORS:
        if spec.dialect not in {"text_generation", "v1", "v2"}:
            continue
        body = (
            {"error": {"code": spec.code, "message": spec.message}}
            if spec.dialect == "v2"
            else {
                "error_code": spec.code,
                "error_msg": spec.message,
            }
        )
        one = of_journal(entry(dialect=spec.dialect, status=spec.status, error_code=spec.code, response=answer(body)))
        if spec.kind == "token_expired" or spec.code == "invalid_iam_token":
            assert one.fate == "stale"
        else:
            assert one.fate == ("retryable" if spec.retryable else "permanent"), spec


@pytest.mark.parametrize(("status", "fate"), [(502, "retryable"), (503, "retryable"), (404, "permanent"), (0, "done")])
def test_an_answer_that_is_no_json_is_judged_by_its_status(status, fate):
    assert of_journal(entry(status=status, response=answer("<html>"))).fate == fate


CHUNK = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
END = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(
    ("text", "sent", "outcome", "fate", "pieces"),
    [
        (CHUNK * 3 + END, 5, "complete", "done", 3),
        (CHUNK * 3, 3, "complete", "broken", 3),
        (CHUNK * 3, 3, "cut", "broken", 3),
        (CHUNK * 3 + END, 2, "reset", "broken", 2),
        (CHUNK * 3 + END, 2, "hung up", "left", 2),
        (CHUNK * 3 + END, 0, "pending", "pending", 0),
        (CHUNK + 'data: {"error":{"code":"x"}}\n\n' + END, 4, "complete", "broken", 1),
        (CHUNK + '{"error_code":336100}\n' + END, 4, "complete", "broken", 1),
        ('{"result":"a"}\n{"result":"","is_end":true}\n', 2, "complete", "done", 1),
        (
            'data: {"choices":[{"delta":{"reasoning_content":"a"}}]}\r\rdata: {broken\r\r' + END,
            4,
            "complete",
            "done",
            1,
        ),
        ("", 0, "complete", "broken", 0),
    ],
)
def test_streams(text, sent, outcome, fate, pieces):
    chunks = text.count("\n\n") + text.count("\r\r") or text.count("\n") or 1
    one = of_journal(entry(chunks=chunks, chunks_sent=sent, outcome=outcome, response=answer(text)))
    assert (one.fate, one.pieces, one.streamed) == (fate, pieces, True)
    assert (one.ended is None) == (outcome == "pending")


def test_what_was_asked_is_told_apart_and_what_varies_is_left_out():
    def content(**more):
        return of_journal(entry(**more)).content

    same = content()
    assert content(body={"messages": [], "extra_parameters": {"id": 1}}) == same
    assert content(target=f"{V2}?access_token=24.x***") == same
    assert content(headers=[]) == same
    assert content(body={"messages": ["x"]}) != same
    assert content(target="/v2/embeddings") != same
    assert content(body="no json \ud800") != same


@pytest.mark.parametrize(
    ("name", "value", "field", "wanted"),
    [
        ("X-Qfkit-Call-Id", "a", "call_id", "a"),
        ("Idempotency-Key", "b", "call_id", "b"),
        ("x-stainless-retry-count", "2", "retry_count", 2),
        ("x-stainless-retry-count", "two", "retry_count", None),
        ("User-Agent", "me/1", "agent", "me/1"),
    ],
)
def test_headers(name, value, field, wanted):
    assert getattr(of_journal(entry(headers=[[name, value]])), field) == wanted


def test_signatures():
    verified = {"scheme": "hmac", "form": "B/path", "reason": "ok"}
    headers = [["X-Bce-Timestamp", "1700"], ["x-bce-nonce", "n"], ["X-Bce-Signature", "abcd***"]]
    one = of_journal(entry(headers=headers, signature=verified))
    assert one.signed == Signed(timestamp=1700.0, nonce="n", mark="abcd***", form="B/path", reason="ok")
    headers = [["Authorization", "bce-auth-v1/ALTAK/2024-05-01T08:00:00Z/1800/host/***"]]
    one = of_journal(entry(headers=headers, signature={**verified, "scheme": "bce-auth-v1"}))
    assert one.signed.timestamp == 1714550400.0
    one = of_journal(entry(headers=[["Authorization", "bce-auth-v1/x/y"]], signature={**verified, "scheme": "x"}))
    assert one.signed.timestamp is None


@pytest.mark.parametrize("data", [{}, {"number": 1}, entry(headers=None), entry(time="x"), entry(response=[])])
def test_what_is_no_entry_is_refused(data):
    if data.get("response", 1) == []:
        assert of_journal(data).pieces == 1
        return
    with pytest.raises(ValueError, match=r"no entry of a journal|could not convert"):
        of_journal(data)


def test_they_come_in_the_order_of_arrival():
    seen = observations([entry(number=2, time=1001.0), entry(number=1)])
    assert [one.number for one in seen] == [1, 2]


def test_what_is_read_back_says_what_is_wrong():
    good = Observation(number=1, began=0.0).to_dict()
    with pytest.raises(ValueError, match="'numbr' is no member"):
        Observation.from_dict({**good, "numbr": 1})
    del good["began"]
    with pytest.raises(ValueError, match="'began'"):
        Observation.from_dict(good)


@given(
    st.builds(
        Observation,
        number=st.integers(1),
        began=st.floats(0, 1e10),
        ended=st.none() | st.floats(0, 1e10),
        code=st.none() | st.integers() | st.text(),
        signed=st.none() | st.builds(Signed, timestamp=st.none() | st.floats(0, 1e10), nonce=st.none() | st.text()),
        findings=st.lists(st.text()).map(tuple),
        retry_after=st.none() | st.floats(0, 1e5),
    )
)
def test_json_there_and_back(one):
    assert Observation.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_a_real_journal_over_http(mock, account):
    account.fail(18).reply("好")
    for _ in range(2):
        requests.post(
            f"{account.url}{V2}",
            json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "q"}]},
            headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
            timeout=10,
        )
    page = requests.get(f"{mock.url}/__admin/accounts/{account.name}/journal", timeout=10).json()
    seen = observations(page["entries"])
    assert [one.fate for one in seen] == ["retryable", "done"]
    assert seen[0].content == seen[1].content
    assert seen[0].token == seen[1].token is not None
    assert seen == observations(each.to_dict() for each in account.requests)
    text = json.dumps([one.to_dict() for one in seen])
    assert not any(secret in text for secret in account.credentials.secrets())
