from __future__ import annotations

import re
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from mock_server.settings import Settings
from mock_server.state import State
from qfkit.protocol.credentials import Credentials


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(st.integers(-(2**40), 2**40))
def test_ids_look_as_the_services_own(seed):
    state = State(Settings(seed=seed))
    ids = [state.request_id() for _ in range(50)]
    assert all(re.fullmatch(r"as-[a-z0-9]{10}", one) for one in ids)
    assert len(set(ids)) == 50
    text = state.uuid()
    assert UUID(text).version == 4
    assert str(UUID(text)) == text
    assert UUID(text).variant == UUID("12345678-1234-4234-8234-123456789abc").variant


def test_a_token_lives_as_long_as_it_says_and_ends_when_told():
    clock = Clock()
    state = State(clock=clock)
    account = state.add_account()
    oauth, bearer = state.issue_access_token(account), state.issue_bearer_token(account, 60)
    parts = oauth.value.split(".")
    assert (parts[0], parts[2], int(parts[3])) == ("24", "2592000", int(clock.now) + 2_592_000)
    assert state.token(bearer.value) is bearer
    assert bearer.expires == clock.now + 60
    clock.sleep(61)
    assert state.expire_tokens(account) == 1  # the bearer token had ended by itself
    assert oauth.expires == clock.now


def test_a_signed_request_is_remembered_until_its_age_refuses_it():
    clock = Clock()
    state = State(Settings(skew=10), clock)
    seen = ("nonce", "signature")
    assert state.seen_before(*seen, clock.now) is None
    first = clock.now
    clock.sleep(20)
    assert state.seen_before(*seen, clock.now) == first
    clock.sleep(1)
    assert state.seen_before(*seen, clock.now) is None


def test_keys_are_found_whoever_owns_them_and_only_by_their_own_name():
    state = State()
    one = state.add_account(Credentials(access_key="a", ak="b", bearer_token="c"))
    state.add_account()
    found = (state.by_access_key("a"), state.by_ak("b"), state.by_api_key("c"))
    assert [keys.account for keys in found] == [one, one, one]
    assert state.by_access_key("b") is None
    assert state.default_account is one
    assert len(state.accounts()) == 2


def test_a_state_without_accounts_makes_its_default_one():
    state = State()
    assert state.default_account is state.default_account
    assert len(state.accounts()) == 1
