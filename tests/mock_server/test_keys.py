"""Keys that rotate and tokens that end, against a model that knows nothing of the mock."""

from __future__ import annotations

import json
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mock_server import MockServer, Settings, State
from mock_server.core import handle
from mock_server.handle import AccountHandle
from mock_server.state import DuplicateCredentials, UnknownAccount
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.http import HttpRequest

BODY = json.dumps({"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]}).encode()
V1 = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions"


class Clock:
    def __init__(self):
        self.now = 1_714_550_400.0

    def time(self):
        return self.now

    monotonic = time

    def sleep(self, seconds):
        self.now += seconds


def asked(state, target, *headers):
    return handle(HttpRequest("POST", target, headers, BODY, "http"), state)


def v2_status(state, token):
    return asked(state, "/v2/chat/completions", ("Authorization", f"Bearer {token}")).status


def v1_code(state, token):
    return json.loads(asked(state, f"{V1}?access_token={token}").content).get("error_code")


class KeysAndTokens(RuleBasedStateMachine):
    """Any order of rotations, retirements, tokens and time: who is let in is who the model says."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.state = State(Settings(quota="none"), self.clock)
        self.account = AccountHandle(self.state.add_account(), self.state, "http://127.0.0.1:1")
        self.keys = {self.account.credentials.bearer_token: float("inf")}  # key -> when it ends
        self.tokens = {}  # value -> (when it expires, whether it was revoked)

    @rule(keep=st.one_of(st.booleans(), st.integers(0, 100)))
    def rotate(self, keep):
        before = self.account.credentials.bearer_token
        now = self.clock.now
        ends = float("inf") if keep is True else now if keep is False else now + keep
        self.keys[before] = min(self.keys[before], ends)
        self.keys[self.account.rotate(keep_old=keep).bearer_token] = float("inf")

    @rule()
    def retire(self):
        newest = self.account.credentials.bearer_token
        alive = [key for key, until in self.keys.items() if key != newest and until > self.clock.now]
        assert self.account.retire_old_keys() == len(alive)
        self.keys.update(dict.fromkeys(alive, self.clock.now))

    @rule()
    def buy(self):
        token = self.state.issue_access_token(self.state.accounts()[0])
        self.tokens[token.value] = (token.expires, False)

    @precondition(lambda self: self.tokens)
    @rule(revoked=st.booleans())
    def end_tokens(self, revoked):
        now = self.clock.now
        alive = [value for value, (until, gone) in self.tokens.items() if until > now and not gone]
        assert (self.account.revoke_tokens if revoked else self.account.expire_tokens)() == len(alive)
        for value in alive:
            self.tokens[value] = (self.tokens[value][0], True) if revoked else (now, False)

    @rule(seconds=st.integers(1, 80))
    def wait(self, seconds):
        self.clock.sleep(seconds)

    @invariant()
    def who_is_let_in(self):
        for key, until in self.keys.items():
            assert v2_status(self.state, key) == (200 if self.clock.now < until else 401)
        for value, (until, revoked) in self.tokens.items():
            wanted = 110 if revoked else 111 if self.clock.now >= until else None
            assert v1_code(self.state, value) == wanted


TestKeysAndTokens = KeysAndTokens.TestCase
TestKeysAndTokens.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


@pytest.fixture
def mock():
    state = State(Settings(), Clock())
    return state, AccountHandle(state.add_account(), state, "http://127.0.0.1:1")


def test_an_old_key_is_let_in_and_told(mock):
    state, account = mock
    old = account.credentials.bearer_token
    account.rotate()
    assert v2_status(state, old) == 200
    assert account.requests[-1].findings == ("old-key",)
    assert v2_status(state, account.credentials.bearer_token) == 200
    assert account.requests[-1].findings == ()


def test_a_key_that_has_ended_says_when_it_did(mock):
    state, account = mock
    old = account.credentials.bearer_token
    account.rotate(keep_old=60)
    state.clock.sleep(75)
    assert v2_status(state, old) == 401
    assert account.requests[-1].diagnosis == (
        "this key was rotated out at 2024-05-01T08:00:00Z and ended 15 s ago: use the new keys of its account"
    )


def test_keys_may_be_given_and_a_taken_one_changes_nothing(mock):
    state, account = mock
    other = AccountHandle(state.add_account(Credentials(bearer_token="bce-v3/taken/1")), state, "")
    before = account.credentials
    with pytest.raises(DuplicateCredentials, match="bearer_token"):
        account.rotate(bearer_token="bce-v3/taken/1")
    assert account.credentials == before
    assert account.rotate(bearer_token="bce-v3/mine/1").bearer_token == "bce-v3/mine/1"
    assert other.credentials.bearer_token == "bce-v3/taken/1"
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="old keys are kept for ever"):
            account.rotate(keep_old=wrong)


def test_a_pair_that_stays_is_never_refused_while_others_rotate(mock):
    state, account = mock
    stays = account.credentials.bearer_token
    wrong, over = [], threading.Event()

    def look():
        while not over.is_set():
            keys = state.by_api_key(stays)
            if keys is None or keys.why_ended(state.clock.now):
                wrong.append(keys)

    watchers = [threading.Thread(target=look) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    for _ in range(300):
        account.rotate(keep_old=False, bearer_token=stays)
    over.set()
    for watcher in watchers:
        watcher.join()
    assert wrong == []


def test_tokens_are_bounded_and_those_that_ended_go_first(mock, monkeypatch):
    state, _ = mock
    monkeypatch.setattr("mock_server.state.TOKENS_KEPT", 50)
    (account,) = state.accounts()
    first = state.issue_access_token(account)
    for _ in range(500):
        state.issue_bearer_token(account, 0)
    assert len(account.tokens) <= 50
    assert len(state._tokens) == len(account.tokens)
    assert v1_code(state, first.value) is None


def test_a_removed_account_is_gone_with_its_keys_and_its_name_is_free():
    with MockServer(quota="none") as server:
        account = server.account(name="shop", bearer_token="bce-v3/shop/1")
        assert [each.name for each in server.accounts] == ["shop"]
        server.remove(account)
        assert v2_status(server.state, "bce-v3/shop/1") == 401
        again = server.account(name="shop", bearer_token="bce-v3/shop/1")
        assert again is not account
        assert v2_status(server.state, "bce-v3/shop/1") == 200
        assert (len(account.requests), len(again.requests)) == (0, 1)
        with pytest.raises(UnknownAccount, match="did you mean 'shop'"):
            server.state.account("shp")
        server.reset()
        assert (len(again.requests), len(server.requests)) == (0, 0)
