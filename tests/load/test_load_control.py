"""The mock's control API as a load test uses it, against a real mock and against what is none."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from loadtests.planning.spelling import PlanError
from loadtests.playing.control import Control, ControlFailed
from mock_server import MockServer
from qfkit import Client, QianfanError, RetryPolicy


@pytest.fixture
def control():
    with MockServer(seed=3) as server:
        control = Control.from_env(server.url, {})
        yield control
        control.close()


@pytest.fixture
def account(control):
    return control.new_account("load-test")


def asked(account, *texts: str) -> None:
    with Client.from_env(account.env, retry=RetryPolicy(attempts=1)) as client:
        for text in texts:
            with suppress(QianfanError):
                client.chat(text)


def test_what_came_is_read_once_in_order_and_with_what_was_asked(account):
    asked(account, "a", "b")
    assert [(seen.question, seen.ok, seen.retry_after) for seen in account.read()] == [
        ("a", True, None),
        ("b", True, None),
    ]
    asked(account, "c")
    (last,) = account.read()
    assert (last.question, last.status, last.token_fetch) == ("c", 200, False)
    assert last.ended >= last.time
    assert list(account.read()) == []


def test_quota_and_state_change_what_requests_meet(account):
    account.rule({"state": "down"}, {"fail": 500, "times": "forever"}, priority=9)
    account.quota(qps=1)
    asked(account, "a", "b")
    account.quota()
    account.enter("down")
    asked(account, "c")
    account.enter("start")
    asked(account, "d")
    found = [(seen.question, seen.status, seen.answered_by) for seen in account.read()]
    assert [row[:2] for row in found] == [("a", 200), ("b", 429), ("c", 500), ("d", 200)]
    assert found[1][2] == "quota"


def test_a_refusal_says_how_long_to_wait(account):
    account.quota(qps=1)
    asked(account, "a", "b")
    *_, refused = account.read()
    assert 0 < refused.retry_after <= 1


def test_a_verdict(account):
    asked(account, "a")
    assert account.verdict()["ok"] is True
    assert account.verdict("openai")["schedule"]["answer"] == "unclear"
    with pytest.raises(ControlFailed, match="there is no schedule 'opnai'; did you mean 'openai'"):
        account.verdict("opnai")


def test_an_account_that_is_gone(control, account):
    account.delete()
    with pytest.raises(ControlFailed, match="no account is named 'load-test'"):
        account.quota(qps=1)


def test_the_mocks_time(control):
    assert abs(control.now() - time.time()) < 5


def test_nobody_is_there():
    with pytest.raises(PlanError, match="start one with 'qfkit mock'"):
        Control("http://127.0.0.1:9").now()


def test_a_token_is_wanted():
    with MockServer(admin_token="very-secret-token") as server:
        with pytest.raises(ControlFailed, match="this is not the token: send"):
            Control(server.url, "another").now()
        assert Control.from_env(server.url, {"QFKIT_ADMIN_TOKEN": "very-secret-token"}).now() > 0


@pytest.mark.parametrize(("status", "body"), [(404, b"<html>"), (200, b"hello"), (200, b'{"time": "noon"}')])
def test_somebody_else_is_there(status, body):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.handle_request)
        thread.start()
        with pytest.raises(ControlFailed, match=r"is that a mock of qfkit|is it a mock"):
            Control(f"http://127.0.0.1:{other.server_port}").now()
        thread.join()


def test_no_proxy_of_the_environment_stands_between(control, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert control.now() > 0
    with pytest.raises(requests.ConnectionError):
        requests.get(control.url, timeout=5)
