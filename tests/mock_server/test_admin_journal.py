"""The journal over HTTP: read, followed, verified, exported, cleared."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
import requests

from mock_server import MockServer, Settings, State, create_app
from mock_server.core import handle
from mock_server.routes import admin_journal
from mock_server.scenario import Failure
from qfkit.protocol.dialects import V1_PREFIX
from qfkit.protocol.http import HttpRequest
from qfkit.testing.clock import SkippingClock

V2_CHAT = "/v2/chat/completions"


@pytest.fixture
def state():
    return State(Settings(seed=1))


@pytest.fixture
def client(state):
    return create_app(state=state).test_client()


def ask(state, account, text="你好", **body):
    token = account.credentials.bearer_token
    content = json.dumps({"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": text}], **body}).encode()
    handle(HttpRequest("POST", V2_CHAT, (("Authorization", f"Bearer {token}"),), content, "http"), state).on_end(
        "complete"
    )


@pytest.fixture
def shop(state):
    """An account that asked three times, the second time for a model that there is not."""
    account = state.add_account(name="shop")
    for model in ("ernie-4.0-8k", "no-such-model", "ernie-3.5-8k"):
        ask(state, account, model=model)
    return account


def test_a_code_of_digits_is_a_number(client, state):
    account = state.add_account(name="v1")
    account.scenario.script.add(Failure(code=18))
    path = f"{V1_PREFIX}/chat/completions?access_token={state.issue_access_token(account).value}"
    content = json.dumps({"messages": [{"role": "user", "content": "你好"}]}).encode()
    handle(HttpRequest("POST", path, (), content, "http"), state).on_end("complete")
    assert numbers(client.get("/__admin/journal?code=18")) == [1]
    assert numbers(client.get("/__admin/journal?code=17")) == []


def numbers(response):
    assert response.status_code == 200, response.text
    return [entry["number"] for entry in response.get_json()["entries"]]


def test_a_page_is_what_python_sees(client, state, shop):
    page = client.get("/__admin/journal").get_json()
    assert page["entries"] == json.loads(json.dumps([entry.to_dict() for entry in state.journal.entries()]))
    assert (page["count"], page["forgotten"]) == (3, 0)
    assert shop.credentials.bearer_token not in json.dumps(page)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [1, 2, 3]),
        ("limit=2", [2, 3]),
        ("after=1", [2, 3]),
        ("after=0&limit=2", [1, 2]),
        ("after=3", []),
        ("ok=false", [2]),
        ("ok=true&model=ernie-3.5-8k", [3]),
        ("status=200&limit=1", [3]),
        ("account=shop&dialect=v2&operation=chat", [1, 2, 3]),
        ("account=nobody", []),
        ("contains=no-such", [2]),
        ("stream=true", []),
        ("code=invalid_model", [2]),
        ("code=18", []),
    ],
)
def test_filters(client, shop, query, found):
    assert numbers(client.get(f"/__admin/journal?{query}")) == found
    assert numbers(client.get(f"/__admin/accounts/shop/journal?{query}")) == found


@pytest.mark.parametrize("query", ["limit=10001", "wait=31", "wait=-1", "after=-1", "status=x", "format=xml", "ok=2"])
def test_a_value_out_of_range_is_refused(client, query):
    wrong = client.get(f"/__admin/journal?{query}")
    assert wrong.status_code == 400
    assert wrong.get_json()["error"]["path"] == f"$.{query.partition('=')[0]}"


def test_formats(client, shop):
    lines = client.get("/__admin/journal?format=jsonl")
    assert lines.content_type == "application/x-ndjson"
    assert [json.loads(line)["number"] for line in lines.text.splitlines()] == [1, 2, 3]
    archive = client.get("/__admin/journal?format=har&after=1")
    assert archive.content_type == "application/har+json"
    assert archive.get_json()["log"]["version"] == "1.2"
    assert len(archive.get_json()["log"]["entries"]) == 2


def test_an_account_sees_its_own(client, state, shop):
    ask(state, state.add_account(name="other"))
    assert numbers(client.get("/__admin/accounts/other/journal")) == [4]
    assert client.delete("/__admin/accounts/other/journal").status_code == 204
    assert numbers(client.get("/__admin/accounts/other/journal")) == []
    assert numbers(client.get("/__admin/accounts/shop/journal")) == [1, 2, 3]
    assert client.delete("/__admin/journal").status_code == 204
    assert numbers(client.get("/__admin/accounts/shop/journal")) == numbers(client.get("/__admin/journal")) == []


def verify(client, **check):
    answer = client.post("/__admin/journal/verify", json=check)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def test_verify(client, shop):
    assert verify(client) == {"ok": True, "message": "3 requests fit", "numbers": [1, 2, 3]}
    assert verify(client, exactly=1, where={"ok": False})["numbers"] == [2]
    assert verify(client, never=True, where={"model": "bloomz"})["ok"]
    assert verify(client, at_least=2, at_most=3)["ok"]
    order = [{"model": "ernie-4.0-8k"}, {"model": "ernie-3.5-8k"}]
    assert verify(client, in_order=order)["numbers"] == [1, 3]
    for wrong in (
        {"exactly": 2},
        {"at_most": 2},
        {"at_least": 4},
        {"where": {"model": "bloomz"}},
        {"never": True},
        {"in_order": order[::-1]},
    ):
        told = verify(client, **wrong)
        assert not told["ok"]
        assert len(told["message"]) > 30


def test_a_check_that_contradicts_itself_is_refused(client, shop):
    def refused(**check):
        answer = client.post("/__admin/journal/verify", json=check)
        assert answer.status_code == 400
        return answer.get_json()["error"]["message"]

    assert "alone" in refused(in_order=[{}], exactly=1)
    assert refused(exactly=1, at_least=2)
    assert "did you mean 'model'?" in refused(where={"modle": "x"})


def test_waiting_ends_when_a_request_comes():
    with MockServer() as server:
        account = server.account()
        answers = []
        url = f"{server.url}/__admin/journal?after=0&wait=30"
        follower = threading.Thread(target=lambda: answers.append(requests.get(url, timeout=25)))
        follower.start()
        requests.get(
            f"{server.url}/v2/models",
            headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
            timeout=10,
        )
        follower.join()
        assert [entry["number"] for entry in answers[0].json()["entries"]] == [1]


def test_waiting_ends_with_its_time(client, monkeypatch):
    clock = SkippingClock()
    monkeypatch.setattr(admin_journal, "clock", clock)
    assert numbers(client.get("/__admin/journal?wait=30")) == []
    assert sum(clock.sleeps) == pytest.approx(30, abs=2 * admin_journal.LOOK_EVERY)


def places() -> int:
    """How many may still wait."""
    taken = 0
    while admin_journal._waiting.acquire(blocking=False):
        taken += 1
    for _ in range(taken):
        admin_journal._waiting.release()
    return taken


def test_those_beyond_are_answered_at_once(client, monkeypatch):
    clock = SkippingClock()
    monkeypatch.setattr(admin_journal, "clock", clock)
    for _ in range(admin_journal.WAITING):
        assert admin_journal._waiting.acquire(blocking=False)
    try:
        assert numbers(client.get("/__admin/journal?wait=30")) == []
    finally:
        for _ in range(admin_journal.WAITING):
            admin_journal._waiting.release()
    assert clock.sleeps == ()
    assert places() == admin_journal.WAITING


def test_a_place_is_free_again_when_its_client_has_left():
    with MockServer() as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            sock.sendall(b"GET /__admin/journal?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(20).startswith(b"HTTP/1.1 200")
            assert places() == admin_journal.WAITING - 1
        deadline = time.monotonic() + 10
        while places() < admin_journal.WAITING and time.monotonic() < deadline:
            pass
        assert places() == admin_journal.WAITING
