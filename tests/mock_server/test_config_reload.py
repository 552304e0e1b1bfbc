"""A file that changes while the mock runs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mock_server import MockServer
from mock_server.config.applying import Applied, apply, set_up
from mock_server.config.document import parse
from mock_server.config.watching import EVERY, Watcher
from mock_server.core import handle
from mock_server.settings import ConfigError, Settings, build, load
from mock_server.state import DuplicateCredentials, State
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.http import HttpRequest
from qfkit.testing.clock import SkippingClock

TWO = "accounts:\n  - {name: a, bearer_token: key-a, script: [{reply: one}]}\n  - {name: b, script: [{fail: 18}]}\n"


def running(text: str) -> State:
    state = State(settings(text))
    set_up(state)
    return state


def ask(state: State, key: str) -> int:
    body = '{"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]}'.encode()
    headers = (("Authorization", f"Bearer {key}"), ("Content-Type", "application/json"), ("Host", "mock"))
    return handle(HttpRequest("POST", "/v2/chat/completions", headers, body), state).status


def settings(text: str) -> Settings:
    return build(parse(text, {}).data)


def test_nothing_changes_where_nothing_has_changed() -> None:
    state = running(TWO)
    before = [(account, account.scenario, account.quotas, account.credentials) for account in state.accounts()]
    assert apply(state, settings(TWO)) == Applied()
    assert [(each, each.scenario, each.quotas, each.credentials) for each in state.accounts()] == before


def test_only_what_has_changed_begins_anew() -> None:
    state = running(TWO)
    assert ask(state, "key-a") == 200
    first, second = state.accounts()
    quotas, kept = first.quotas, second.scenario
    applied = apply(state, settings(TWO.replace("reply: one", "reply: two")))
    assert (applied.added, applied.changed, applied.removed) == ((), ("a",), ())
    assert state.accounts() == (first, second)
    assert first.scenario.script.waiting() == ["reply 'two' x1"]
    assert (first.quotas, second.scenario) == (quotas, kept)
    assert len(first.journal.entries()) == 1


def test_accounts_come_and_go_and_those_of_others_stay() -> None:
    state = running(TWO)
    mine = state.add_account(Credentials(bearer_token="mine"), "mine")
    applied = apply(state, settings("accounts: [{name: b, script: [{fail: 18}]}, {name: c, bearer_token: key-c}]"))
    assert str(applied) == "added c; removed a"
    assert [account.name for account in state.accounts()] == ["b", "mine", "c"]
    assert (ask(state, "key-a"), ask(state, "key-c"), ask(state, "mine")) == (401, 200, 200)
    assert state.account("mine") is mine


def test_tokens_stay() -> None:
    state = running(TWO)
    token = state.issue_bearer_token(state.account("a"), 100.0)
    apply(state, settings(TWO.replace("reply: one", "reply: two")))
    assert ask(state, token.value) == 200


def test_keys_change_and_old_ones_end() -> None:
    state = running(TWO)
    apply(state, settings(TWO.replace("key-a", "key-new")))
    assert (ask(state, "key-a"), ask(state, "key-new")) == (401, 200)


def test_old_keys_are_added_and_taken_away() -> None:
    state = running(TWO)
    apply(state, settings(TWO.replace("script: [{reply: one}]", "previous: {bearer_token: key-old}")))
    assert ask(state, "key-old") == 200
    apply(state, settings(TWO))
    assert ask(state, "key-old") == 401


def test_what_the_settings_decide_for_all_accounts_reaches_them() -> None:
    accounts = "accounts: [{name: a, bearer_token: key-a}, {name: b, bearer_token: key-b, strict: false}]\n"
    state = running(accounts)
    apply(state, settings(f"unmatched: refuse\n{accounts}"))
    assert (ask(state, "key-a"), ask(state, "key-b")) == (400, 200)


def test_a_quota_changes() -> None:
    state = running(TWO)
    apply(state, settings(TWO.replace("script: [{reply: one}]", "quota: {rpm: 1, models: {ernie-4.0-8k: {rpm: 0}}}")))
    assert ask(state, "key-a") == 429


@pytest.mark.parametrize(
    "changed",
    [
        "accounts: [{name: c, bearer_token: mine}]",
        "accounts: [{name: mine}]",
        "accounts: [{name: a, bearer_token: mine}]",
    ],
)
def test_what_would_take_the_keys_of_another_changes_nothing(changed: str) -> None:
    state = running(TWO)
    state.add_account(Credentials(bearer_token="mine"), "mine")
    before = state.settings
    with pytest.raises(DuplicateCredentials):
        apply(state, settings(changed))
    assert state.settings is before
    assert [account.name for account in state.accounts()] == ["a", "b", "mine"]


def test_a_key_that_comes_back_with_another_secret_changes_nothing() -> None:
    state = running("accounts: [{name: a, access_key: k, secret_key: one}]")
    with pytest.raises(DuplicateCredentials, match="start the mock anew"):
        apply(state, settings("accounts: [{name: a, access_key: k, secret_key: two, script: [{fail: 18}]}]"))
    assert state.account("a").scenario.script.waiting() == []


# The watcher


class Watched:
    def __init__(self, tmp_path: Path) -> None:
        self.file = tmp_path / "mock.yaml"
        self.file.write_text(TWO, "utf-8")
        self.state = State(load(self.file))
        set_up(self.state)
        self.told: list[str] = []
        self.clock = SkippingClock()
        self.watcher = Watcher(self.state, self.file, {"seed": 9}, self.told.append, self.clock)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_change_is_used_and_told(watched: Watched) -> None:
    assert not watched.watcher.poll()
    watched.file.write_text(TWO.replace("reply: one", "reply: twice"), "utf-8")
    assert watched.watcher.poll()
    assert watched.state.account("a").scenario.script.waiting() == ["reply 'twice' x1"]
    assert watched.state.settings.seed == 9
    assert watched.told == [f"{watched.file} has changed and is in use: changed a"]
    assert not watched.watcher.poll()


def test_the_last_good_one_stays_until_there_is_another(watched: Watched) -> None:
    good = watched.state.settings
    watched.file.write_text("seeed: 3\n", "utf-8")
    assert not watched.watcher.poll()
    assert watched.state.settings is good
    assert f"{watched.file}:1:1: 'seeed' is not a setting" in watched.told[0]
    assert "the settings from before it stay" in watched.told[0]
    assert not watched.watcher.poll()
    assert len(watched.told) == 1, "one mistake is told once"
    watched.file.write_text(TWO + "auth: warn\n", "utf-8")
    assert watched.watcher.poll()
    assert watched.state.settings.auth == "warn"


def test_a_file_that_is_gone_for_a_while_is_told(watched: Watched) -> None:
    watched.file.unlink()
    assert not watched.watcher.poll()
    assert "cannot be read" in watched.told[0]
    watched.file.write_text(TWO, "utf-8")
    assert watched.watcher.poll()


def test_another_file_in_its_place_is_seen(watched: Watched) -> None:
    beside = watched.file.with_suffix(".new")
    beside.write_text(TWO.replace("one", "two"), "utf-8")
    beside.replace(watched.file)
    assert watched.watcher.poll()


def test_it_looks_at_intervals_until_it_is_stopped(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    looks = []

    def poll() -> bool:
        looks.append(None)
        if len(looks) == 3:
            stop.set()
        return False

    monkeypatch.setattr(watched.watcher, "poll", poll)
    watched.watcher.run(stop)
    assert watched.clock.sleeps == (EVERY,) * 3


# In a test's process


def test_a_mock_reloads_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mock.yaml"
    file.write_text(TWO, "utf-8")
    with MockServer(config=file, seed=5) as server:
        account = server.default_account
        file.write_text(TWO.replace("one", "two"), "utf-8")
        assert server.reload().changed == ("a",)
        assert account.waiting == ["reply 'two' x1"]
        assert server.settings.seed == 5
        file.write_text("seeed: 1", "utf-8")
        with pytest.raises(ConfigError, match="seeed"):
            server.reload()
        assert account.waiting == ["reply 'two' x1"]


def test_a_mock_without_a_file_has_nothing_to_reload() -> None:
    with MockServer() as server, pytest.raises(RuntimeError, match="no configuration file"):
        server.reload()
