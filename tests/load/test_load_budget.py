"""What may be spent on the real service. Nothing here is sent anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.planning.budget import (
    DOCUMENTED_QPS,
    LONGEST,
    PRICES,
    Budget,
    BudgetSpent,
    Pace,
    Price,
    Purse,
    given_price,
    price_of,
)
from loadtests.planning.spelling import PlanError


class TestPrices:
    @pytest.mark.parametrize(
        ("model", "prompt"),
        [("ernie-4.0-8k", 120), ("ERNIE-3.5-8K", 12), ("ernie-speed-128k", 0), (None, 120), ("ernie-next", 120)],
    )
    def test_the_first_row_that_fits(self, model, prompt):
        assert price_of(model).prompt == prompt

    def test_what_is_not_known_is_reckoned_at_the_dearest(self):
        assert PRICES[-1].models == "*"
        assert all(price.prompt <= PRICES[-1].prompt and price.output <= PRICES[-1].output for price in PRICES)

    def test_every_price_says_where_and_when(self):
        assert all(price.source and price.date[:2] == "20" for price in PRICES)

    def test_by_hand(self):
        assert Price("x", 4, 16, "", "").cost(1_000_000, 500_000) == 12

    def test_ones_own(self):
        assert given_price("4,16")[1:3] == (4, 16)

    @pytest.mark.parametrize("text", ["", "4", "4,16,2", "four,1", "-1,2", "nan,1", "inf,1"])
    def test_what_is_none(self, text):
        with pytest.raises(PlanError, match="such as 4,16"):
            given_price(text)


class TestBudget:
    def test_live_needs_one(self):
        with pytest.raises(PlanError, match="--max-requests N, --max-tokens N or --max-cost YUAN"):
            Budget().check(live=True, rate=None)
        Budget(max_cost=1).check(live=True, rate=None)
        Budget().check(live=False, rate=10_000)

    def test_never_above_the_documented_rate_unless_told(self):
        assert DOCUMENTED_QPS == 100
        with pytest.raises(PlanError, match="--rate 101 is above 100 requests a second, the 100 that the service"):
            Budget(max_requests=9).check(live=True, rate=101)
        Budget(max_requests=9).check(live=True, rate=100)
        Budget(max_requests=9, max_qps=500).check(live=True, rate=400)
        with pytest.raises(PlanError, match="above 5 requests a second, --max-qps"):
            Budget(max_qps=5).check(live=False, rate=6)

    def test_a_price_of_nothing_bounds_nothing(self):
        with pytest.raises(PlanError, match="ernie-speed-8k cost nothing in 2024-06"):
            Budget(max_cost=1).check(live=True, rate=None, model="ernie-speed-8k")
        Budget(max_cost=1, max_tokens=9).check(live=True, rate=None, model="ernie-speed-8k")
        Budget(max_cost=1, price="0,0").check(live=True, rate=None, model="ernie-speed-8k")

    def test_it_is_told_before_anything_is_sent(self):
        words = Budget(max_requests=100, max_cost=5).words(host="https://x", model="ernie-4.0-8k", prompt_tokens=20)
        assert words.splitlines()[0] == "Live: at most 100 requests and 5 yuan go to https://x, at most 100 a second."
        assert "about 20 requests, 41,360 tokens, 4.96 yuan at 120 + 120 yuan for a million tokens" in words
        assert "hlqnms5rn, 2024-01-19" in words
        assert "a guess" in Budget(max_tokens=9_999).words(host="h", model=None, prompt_tokens=20)

    def test_a_model_that_is_free_is_bounded_by_requests_alone(self):
        words = Budget(max_cost=5).words(host="h", model="ernie-speed-8k", prompt_tokens=20)
        assert words == "Live: at most 5 yuan go to h, at most 100 a second."


calls = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50), st.integers(0, LONGEST), st.booleans()), max_size=200)


class TestPurse:
    @given(calls, st.integers(1, 400), st.integers(1, 100_000), st.floats(0.01, 5))
    def test_no_budget_is_ever_exceeded(self, calls, requests, tokens, cost):
        budget = Budget(max_requests=requests, max_tokens=tokens, max_cost=cost)
        purse = Purse(budget, Price("x", 10, 40, "", ""), 50)
        pending = []
        for attempts, prompt, output, late in calls:
            sent = 0
            try:
                for _ in range(attempts):
                    purse.reserve(inference=True)
                    sent += 1
            except BudgetSpent:
                purse.settle(sent, prompt, output)
                break
            pending.append((attempts, prompt, output))
            if not late:
                for one in pending:
                    purse.settle(*one)
                pending.clear()
        for one in pending:
            purse.settle(*one)
        assert purse.requests <= requests
        assert purse.tokens <= tokens
        assert purse.cost <= cost + 1e-9

    def test_what_is_put_back_can_be_spent(self):
        purse = Purse(Budget(max_tokens=2 * (LONGEST + 10)), price_of(None), 10)
        for _ in range(50):
            purse.reserve(inference=True)
            purse.settle(1, 10, 5)
        assert purse.tokens == 750

    def test_what_is_not_known_is_spent(self):
        purse = Purse(Budget(max_tokens=LONGEST + 10), price_of(None), 10)
        purse.reserve(inference=True)
        purse.settle(1, None, None)
        with pytest.raises(BudgetSpent, match="the budget of 2058 tokens is spent"):
            purse.reserve(inference=True)

    def test_a_token_fetch_costs_a_request_alone(self):
        purse = Purse(Budget(max_requests=1, max_tokens=1), price_of(None), 10)
        purse.reserve(inference=False)
        with pytest.raises(BudgetSpent, match="the budget of 1 requests is spent"):
            purse.reserve(inference=False)


class TestPace:
    @given(st.floats(0.2, 50), st.lists(st.floats(0, 0.5), max_size=100))
    def test_no_second_has_more(self, qps, pauses):
        now, sent = [0.0], []
        pace = Pace(qps, lambda: now[0], lambda seconds: now.__setitem__(0, now[0] + seconds + 1e-6))
        for pause in pauses:
            now[0] += pause
            pace.wait()
            sent.append(now[0])
        span, most = max(1.0, 1 / qps), max(1, int(qps))
        assert all(sum(at <= x < at + span for x in sent) <= most for at in sent)

    def test_who_is_slow_does_not_wait(self):
        now, slept = [0.0], []
        pace = Pace(2, lambda: now[0], slept.append)
        for _ in range(5):
            now[0] += 0.6
            pace.wait()
        assert slept == []
