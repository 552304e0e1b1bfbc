"""The control API: what a handle does in Python, over HTTP, with errors that teach and a door that is shut."""

from __future__ import annotations

import json
from functools import reduce
from importlib import import_module

import msgspec
import pytest

from mock_server import MockServer, Settings, State, create_app
from mock_server.core import handle
from mock_server.openapi import document
from mock_server.routes.admin import OPERATIONS
from mock_server.routes.guard import control_guard, is_loopback
from mock_server.settings import ConfigError
from qfkit.protocol.http import HttpRequest

V2_CHAT = "/v2/chat/completions"


@pytest.fixture
def state():
    return State(Settings(seed=1))


@pytest.fixture
def client(state):
    return create_app(state=state).test_client()


@pytest.fixture
def account(state):
    return state.add_account(name="shop")


def ask(state, account, text="你好", **body):
    """One request of the account, through the core."""
    token = account.credentials.bearer_token
    content = json.dumps({"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": text}], **body}).encode()
    reply = handle(HttpRequest("POST", V2_CHAT, (("Authorization", f"Bearer {token}"),), content, "http"), state)
    reply.on_end("complete")
    return reply


def said(response):
    return response.get_json()["error"]["message"]


# Accounts


def test_an_account_shows_its_keys_once(client, state):
    made = client.post("/__admin/accounts", json={"name": "shop", "ak": "my-own-api-key-000000000"})
    assert made.status_code == 201
    keys = made.get_json()["credentials"]
    account = state.account("shop")
    assert keys == {name: getattr(account.credentials, name) for name in keys}
    assert keys["ak"] == "my-own-api-key-000000000"
    assert made.get_json()["env"]["QIANFAN_SK"] == keys["sk"]
    for shown in (client.get("/__admin/accounts/shop"), client.get("/__admin/accounts")):
        assert keys["access_key"] in shown.text
        assert not [name for name in ("secret_key", "ak", "sk", "bearer_token") if keys[name] in shown.text]


def test_a_key_or_a_name_that_is_taken_is_a_conflict(client, account):
    taken = client.post("/__admin/accounts", json={"name": "shop"})
    assert (taken.status_code, taken.get_json()["error"]["code"]) == (409, "conflict")
    assert client.post("/__admin/accounts", json={"ak": account.credentials.ak}).status_code == 409


@pytest.mark.parametrize("name", ["", "a/b", "a b", ".", "x" * 101, "a?b"])
def test_a_name_that_could_not_stand_in_a_path_is_refused(client, state, name):
    assert client.post("/__admin/accounts", json={"name": name}).status_code == 400
    assert state.accounts() == ()


def test_a_deleted_account_is_a_stranger(client, state, account):
    assert client.delete("/__admin/accounts/shop").status_code == 204
    assert ask(state, account).status == 401
    gone = client.delete("/__admin/accounts/shop")
    assert gone.status_code == 404


def test_keys_are_rotated(client, state, account):
    old = account.credentials
    new = client.post("/__admin/accounts/shop/rotate", json={"keep_old": False}).get_json()["credentials"]
    assert new["access_key"] == account.credentials.access_key != old.access_key
    assert ask(state, account).status == 200
    token = old.bearer_token
    refused = handle(HttpRequest("GET", "/v2/models", (("Authorization", f"Bearer {token}"),), b"", "http"), state)
    assert refused.status == 401


@pytest.mark.parametrize("how", ["expire", "revoke"])
def test_tokens_are_ended(client, state, account, how):
    token = state.issue_access_token(account)
    assert client.get("/__admin/accounts/shop").get_json()["tokens"] == 1
    assert client.post(f"/__admin/accounts/shop/tokens/{how}").get_json() == {"tokens": 1}
    assert not token.lives(state.clock.time())
    assert client.post(f"/__admin/accounts/shop/tokens/{how}").get_json() == {"tokens": 0}


def test_an_unknown_account_names_the_nearest(client, account):
    for path in ("shopp", "shopp/quota", "shopp/scenario", "shopp/journal"):
        missing = client.get(f"/__admin/accounts/{path}")
        assert missing.status_code == 404
        assert "did you mean 'shop'?" in said(missing)


# Scenario


def test_steps_and_rules_are_met(client, state, account):
    base = "/__admin/accounts/shop/scenario"
    queued = client.post(f"{base}/steps", json={"steps": [{"fail": 336501}, {"reply": "好"}]}).get_json()
    assert len(queued["waiting"]) == 2
    assert len(client.get("/__admin/accounts/shop").get_json()["waiting"]) == 2
    ruled = client.post(f"{base}/rules", json={"on": {"contains": "天气"}, "script": [{"reply": "晴"}]}).get_json()
    assert ruled["rules"][0]["on"] == {"contains": "天气"}
    assert "晴" in ask(state, account, "天气?").content.decode()
    assert ask(state, account).status == 429
    assert "好" in ask(state, account).content.decode()
    shown = client.get(base).get_json()
    assert (shown["rules"][0]["met"], shown["met"], shown["waiting"]) == (1, 2, [])


def test_a_scenario_is_replaced_or_left_alone(client, account):
    base = "/__admin/accounts/shop/scenario"
    first = client.put(base, json={"script": [{"reply": "a"}], "state": "down", "strict": True}).get_json()
    assert (first["state"], first["strict"], first["waiting"]) == ("down", True, ["reply 'a' x1"])
    wrong = client.put(base, json={"script": [{"reply": "b"}, {"fai": 18}]})
    assert wrong.status_code == 400
    assert wrong.get_json()["error"]["path"] == "$.script[1].fai"
    assert "did you mean 'fail'?" in said(wrong)
    never = client.put(base, json={"script": [{"loop": "forever"}]})
    assert never.get_json()["error"]["path"] == "$.script"
    assert client.get(base).get_json() == first
    assert client.delete(base).get_json()["waiting"] == []


def test_state_and_strict(client, state, account):
    base = "/__admin/accounts/shop/scenario"
    assert client.put(f"{base}/state", json={"state": "down"}).get_json()["state"] == "down"
    assert client.put(f"{base}/strict", json={"strict": True}).get_json()["strict"] is True
    assert ask(state, account).status == 400
    client.put(f"{base}/strict", json={"strict": False})
    assert ask(state, account).status == 200


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("steps", {"steps": [{"reply": "a"}, {"reply": "b", "tims": 2}]}, ("$.steps[1].tims", "did you mean 'times'?")),
        ("steps", {"step": []}, ("$.step", "did you mean 'steps'?")),
        ("steps", {"steps": 1}, ("$.steps", "Expected `array`")),
        ("rules", {"on": {"contain": "x"}, "script": []}, ("$.on.contain", "did you mean 'contains'?")),
        ("rules", {"on": {}, "script": [{"reply": "b", "ttfs": 1}]}, ("$.script[0].ttfs", "did you mean 'ttft'?")),
        ("rules", {"priority": "high"}, ("$.priority", "Expected `int`")),
    ],
)
def test_a_mistake_is_told_with_its_place(client, account, path, body, told):
    wrong = client.post(f"/__admin/accounts/shop/scenario/{path}", json=body)
    assert wrong.status_code == 400
    where, words = told
    assert wrong.get_json()["error"]["path"] == where
    assert words in said(wrong)


# Quota


def test_quota(client, state, account):
    path = "/__admin/accounts/shop/quota"
    assert client.put(f"{path}?model=ERNIE-4.0-8K", json={"rpm": 1}).status_code == 200
    assert [ask(state, account).status for _ in range(2)] == [200, 429]
    shown = client.get(path).get_json()
    assert shown["models"]["ernie-4.0-8k"] == {"limits": {"rpm": 1}, "used": {"rpm": 1}}
    assert client.post(f"{path}/reset").status_code == 200
    assert ask(state, account).status == 200
    client.delete(f"{path}?model=ernie-4.0-8k")
    assert ask(state, account).status == 200
    assert client.put(path, json={"qps": -1}).get_json()["error"]["path"] == "$.qps"


# The server


def test_settings_are_shown_without_secrets():
    keys = {"secret_key": "s3cr3t-of-the-shop-000", "bearer_token": "bce-v3/ALTAK-x/0123456789"}
    settings = msgspec.convert(
        {"seed": 4, "admin_token": "open-sesame-0123", "accounts": [{"name": "shop", "previous": keys, **keys}]},
        Settings,
    )
    client = create_app(settings).test_client()
    shown = client.get("/__admin/settings", headers={"X-Qfkit-Token": "open-sesame-0123"})
    assert shown.get_json()["seed"] == 4
    assert shown.get_json()["accounts"][0]["name"] == "shop"
    assert not [secret for secret in (*keys.values(), "open-sesame-0123") if secret in shown.text]


def test_clock_is_the_servers():
    class Fixed:
        def time(self):
            return 1_700_000_000.25

        monotonic = time

    client = create_app(state=State(clock=Fixed())).test_client()
    assert client.get("/__admin/clock").get_json() == {"time": 1_700_000_000.25, "utc": "2023-11-14T22:13:20.250+00:00"}


@pytest.mark.parametrize("path", ["/__admin/reset", "/__admin/accounts/shop/reset"])
def test_reset_forgets_what_was_scripted_and_seen(client, state, account, path):
    client.post("/__admin/accounts/shop/scenario/steps", json={"steps": [{"reply": "a", "times": 3}]})
    ask(state, account)
    assert client.post(path).status_code == 204
    assert len(account.journal.entries()) == 0
    assert client.get("/__admin/accounts/shop").get_json()["waiting"] == []
    assert ask(state, account).status == 200


# Paths, methods, bodies


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["account", "accounts/", "/accounts", "x/y/z", "health/x", "%00", "accounts/a/b"])
def test_a_path_that_is_none_is_never_html(client, method, path):
    nowhere = client.open(f"/__admin/{path}", method=method)
    assert nowhere.status_code == 404
    assert nowhere.get_json()["error"]["code"] == "not_found"


def test_a_wrong_method_is_told_the_right_ones(client):
    wrong = client.put("/__admin/accounts")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert "use GET, HEAD, POST" in said(wrong)
    assert client.open("/__admin/reset", method="BREW").headers["Allow"] == "POST"
    assert client.head("/__admin/accounts").status_code == 200


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"name": "\\ud800"}', b"nul", b"[]"])
def test_a_body_that_is_no_json_object_is_refused(client, state, body):
    wrong = client.post("/__admin/accounts", data=body)
    assert wrong.status_code == 400
    assert wrong.get_json()["error"]["path"] == "$"
    assert state.accounts() == ()


def test_a_parameter_that_is_none_names_the_nearest(client):
    assert "did you mean 'limit'?" in said(client.get("/__admin/journal?limt=4"))
    assert said(client.get("/__admin/journal?limit=4&limit=5")) == "limit is given 2 times: give it once"
    assert client.get("/__admin/journal?limit=0").get_json()["error"]["path"] == "$.limit"
    assert "it has none" in said(client.get("/__admin/clock?x=1"))


def test_a_bug_is_told_as_json_and_logged(client, state, caplog, monkeypatch):
    monkeypatch.setattr(state, "accounts", lambda: 1 / 0)
    broken = client.get("/__admin/accounts")
    assert (broken.status_code, broken.get_json()["error"]["code"]) == (500, "qfkit_bug")
    assert "ZeroDivisionError" in caplog.text
    assert "Traceback" not in broken.text


# Who may come in


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8866"},
        {"Host": "169.254.169.254"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
    ],
)
def test_web_pages_of_others_are_kept_out(client, headers):
    for path in ("/__admin/accounts", "/__admin/journal", "/metrics"):
        refused = client.get(path, headers=headers)
        assert refused.status_code == 403
        assert "admin_token" in said(refused)


@pytest.mark.parametrize("host", ["127.0.0.1:8866", "localhost", "LOCALHOST:1", "[::1]:80", "127.9.9.9", "a.localhost"])
def test_this_machine_comes_in(client, host):
    assert client.get("/__admin/accounts", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


def test_another_machine_needs_a_token(client):
    far = {"REMOTE_ADDR": "10.0.0.7"}
    assert client.get("/__admin/accounts", environ_overrides=far).status_code == 403


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
def test_with_a_token_every_operation_asks_for_it(row):
    client = create_app(msgspec.convert({"admin_token": "sesame-令牌"}, Settings)).test_client()
    path = f"/__admin{row.path}".replace("{name}", "nobody")
    refused = client.open(path, method=row.method)
    wrong = client.open(path, method=row.method, headers={"Authorization": "Bearer sesame"})
    if row.open:
        assert refused.status_code == 200
        return
    assert (refused.status_code, wrong.status_code) == (401, 401)
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert refused.get_json()["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer sesame"}, {"X-Qfkit-Token": "sesame"}])
def test_with_the_token_any_machine_and_name_come_in(headers):
    client = create_app(msgspec.convert({"admin_token": "sesame"}, Settings)).test_client()
    far = {"REMOTE_ADDR": "10.0.0.7", "HTTP_HOST": "mock.example:8866"}
    assert client.get("/__admin/accounts", headers=headers, environ_overrides=far).status_code == 200
    assert client.get("/metrics", headers=headers, environ_overrides=far).status_code == 200


def test_off_loopback_nothing_starts_without_a_token():
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 is not loopback.*admin_token"):
        control_guard(Settings(), "0.0.0.0")
    with pytest.raises(ConfigError, match="admin_token"):
        MockServer(host="0.0.0.0").start()
    control_guard(msgspec.convert({"admin_token": "sesame"}, Settings), "0.0.0.0")
    for host in ("127.0.0.1", "::1", "localhost", None):
        control_guard(Settings(), host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "localhost.example", "127.0.0.1.example", "[", "2130706433"])
def test_what_is_not_loopback(host):
    assert not is_loopback(host)


# The document


def test_every_operation_is_also_in_python():
    for row in OPERATIONS:
        if row.python is None:
            assert row.open, f"{row.name} has no way in Python"
            continue
        owner, _, member = row.python.partition(".")
        homes = {
            "AccountHandle": "mock_server.handle",
            "MockServer": "mock_server.server",
            "State": "mock_server.state",
            "Quotas": "mock_server.quota",
            "Scenario": "mock_server.scenario",
            "Journal": "mock_server.journal",
            "Entries": "mock_server.journal",
            "metrics": "mock_server",
        }
        thing = getattr(import_module(homes[owner]), owner, None) or import_module(f"{homes[owner]}.{owner}")
        if owner == "State" and member in {"settings", "clock"}:
            thing = State()
        assert reduce(getattr, member.split("."), thing) is not None


def test_the_document_is_served_and_has_every_operation(client):
    served = client.get("/__admin/openapi.json").get_json()
    assert served == json.loads(msgspec.json.encode(document()))
    assert served["openapi"].startswith("3.1")
    found = {(method.upper(), path) for path, methods in served["paths"].items() for method in methods}
    assert found == {(row.method, f"/__admin{row.path}") for row in OPERATIONS}
    names = [row.name for row in OPERATIONS]
    assert len(names) == len(set(names))
