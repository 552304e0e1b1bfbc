from __future__ import annotations

import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import msgspec
import pytest

from mock_server.quota import (
    DOCUMENTED,
    ERROR_CODES,
    RULES,
    UNLIMITED,
    Granted,
    Limits,
    Quota,
    Quotas,
    Refused,
    Remaining,
    error_code,
)
from mock_server.quota.registry import LONGEST_NAME, OTHERS, OWN_COUNTERS
from qfkit.protocol.errors import KINDS, lookup

WINDOWS = ["fixed", "sliding", "bucket"]


class HandClock:
    """Time that moves when it is told to; 2026-09-21 15:00 in China when it begins."""

    def __init__(self):
        self.start, self.now = 1_790_000_000 - 1_790_000_000 % 86_400 + 7 * 3600, 0.0

    def time(self):
        return self.start + self.now

    def monotonic(self):
        return 4321.5 + self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def impatient_threads():
    """Threads that are interrupted all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def granted(quota, tokens=0):
    admission = quota.admit(tokens)
    assert isinstance(admission, Granted), admission
    return admission


def refused(quota, tokens=0):
    admission = quota.admit(tokens)
    assert isinstance(admission, Refused), admission
    return admission


# One quota


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("field", "period"), [("qps", 1), ("rpm", 60)])
def test_a_rate_lets_in_what_fits_and_then_says_how_long_to_wait(clock, window, field, period):
    quota = Quota(Limits(**{field: 3}, window=window), clock)
    for _ in range(3):
        granted(quota)
        clock.sleep(period / 16)
    no = refused(quota)
    wait = {"fixed": period * 13 / 16, "sliding": period * 13 / 16, "bucket": period / 3 - period * 3 / 16}[window]
    assert no.retry_after == pytest.approx(wait, abs=0.001)
    assert (no.quota, no.kind) == (field, f"rate_limit_{field}")
    clock.sleep(no.retry_after)
    granted(quota)


def test_a_fixed_window_opens_as_a_whole_a_sliding_one_bit_by_bit(clock):
    fixed, sliding = Quota(Limits(rpm=2), clock), Quota(Limits(rpm=2, window="sliding"), clock)
    for quota in (fixed, sliding):
        granted(quota)
    clock.sleep(50)
    for quota in (fixed, sliding):
        granted(quota)
    clock.sleep(10)
    assert fixed.used() == {"rpm": 0}
    assert sliding.used() == {"rpm": 1}


def test_a_window_begins_with_its_first_request_wherever_the_clock_stands(clock):
    quota = Quota(Limits(rpm=2), clock)
    clock.sleep(59.9)  # two requests around any full minute share a window
    granted(quota)
    clock.sleep(0.2)
    granted(quota)
    assert refused(quota).retry_after == 59.8


def test_the_tokens_of_a_request_must_fit_as_a_whole(clock):
    quota = Quota(Limits(tpm=100), clock)
    granted(quota, 90)
    assert refused(quota, 11).kind == "rate_limit_tpm"
    granted(quota, 10)
    assert quota.remaining() == Remaining(tpm=100, tokens=0)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_request_larger_than_the_quota_never_fits(clock, window):
    quota = Quota(Limits(tpm=100, window=window), clock)
    no = refused(quota, 101)
    assert no.retry_after is None
    assert no.reason == "TPM 100: this request alone has 101 tokens and never fits; shorten it, or raise tpm"
    granted(quota, 100)


def test_the_day_ends_at_midnight_in_china(clock):
    quota = Quota(Limits(daily=2), clock)
    granted(quota)
    clock.sleep(3600)
    granted(quota)
    no = refused(quota)
    assert no.kind == "quota_daily"
    assert no.retry_after == 8 * 3600
    assert no.reason == "daily 2: 2 requests today, the next day begins in 8 h 0 min, at midnight in China"
    clock.sleep(8 * 3600 - 0.001)
    refused(quota)
    clock.sleep(0.001)
    granted(quota)


def test_a_day_does_not_come_back_when_the_clock_is_set_back(clock):
    quota = Quota(Limits(daily=1), clock)
    clock.sleep(9 * 3600)
    granted(quota)
    clock.start -= 3600
    refused(quota)


def test_a_new_day_comes_while_the_computer_sleeps_and_while_a_test_skips_waits(clock):
    asleep, skipped = Quota(Limits(daily=1), clock), Quota(Limits(daily=1), clock)
    granted(asleep)
    granted(skipped)
    clock.start += 86_400  # the monotonic clock stood still
    granted(asleep)
    clock.start -= 2 * 86_400
    clock.sleep(86_400)  # the wall clock stood still, and more
    granted(skipped)


def test_the_total_is_used_up_for_good(clock):
    quota = Quota(Limits(total=2), clock)
    granted(quota)
    granted(quota)
    clock.sleep(10 * 86_400)
    no = refused(quota)
    assert (no.kind, no.retry_after) == ("quota_total", None)
    assert no.reason == "total 2: all requests that there are have been let in; raise total, or reset the account"


def test_a_place_is_free_again_when_the_delivery_has_ended(clock):
    quota = Quota(Limits(concurrency=2), clock)
    first = granted(quota)
    granted(quota)
    clock.sleep(100)
    no = refused(quota)
    assert (no.quota, no.kind, no.retry_after) == ("concurrency", "rate_limit_qps", 1)
    assert no.reason == "concurrency 2: 2 answers are still on their way; wait until one of them has ended"
    first.release()
    first.release()  # hung up, and then ended: one place all the same
    granted(quota)
    refused(quota)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("field", [rule.field for rule in RULES])
def test_zero_lets_nothing_in_and_says_so(clock, window, field):
    quota = Quota(Limits(**{field: 0}, window=window), clock)
    no = refused(quota)
    assert no.retry_after is None
    assert no.reason.endswith(f" 0: nothing is let in; raise {field}, or leave it out for no limit")
    clock.sleep(100)
    assert refused(quota).kind == no.kind


# What it says


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        ("fixed", "RPM 60: 60 requests in this minute, the next window begins in 12.3 s"),
        ("sliding", "RPM 60: 60 requests in the last minute, it fits in 12.3 s"),
        ("bucket", "RPM 60: 0 requests in the bucket, it fits in 0.3 s"),
    ],
)
def test_the_reason_is_one_teaching_line(clock, window, reason):
    quota = Quota(Limits(rpm=60, window=window), clock)
    for _ in range(60):
        granted(quota)
    clock.sleep(47.7)
    for _ in range(47 if window == "bucket" else 0):
        granted(quota)
    assert refused(quota).reason == reason


def test_every_quota_that_refuses_is_named_and_the_longest_wait_counts(clock):
    quota = Quota(Limits(qps=1, rpm=1, tpm=100), clock)
    granted(quota, 90)
    no = refused(quota, 20)
    assert no.kind == "rate_limit_qps"  # the gateway speaks first
    assert no.retry_after == 60
    assert no.reason == (
        "QPS 1: 1 requests in this second, the next window begins in 1 s; "
        "RPM 1: 1 requests in this minute, the next window begins in 60 s; "
        "TPM 100: 90 tokens in this minute and this request has 20, the next window begins in 60 s"
    )


def test_a_wait_that_never_ends_is_no_wait(clock):
    quota = Quota(Limits(rpm=1, total=1), clock)
    granted(quota)
    assert refused(quota).retry_after is None


def test_waits_are_rounded_up_to_whole_milliseconds(clock):
    quota = Quota(Limits(rpm=1), clock)
    granted(quota)
    clock.sleep(0.0001)
    assert refused(quota).retry_after == 60
    clock.sleep(0.0010)
    assert refused(quota).retry_after == 59.999


def test_what_is_left_is_told_with_each_admission(clock):
    quota = Quota(Limits(rpm=2, tpm=10), clock)
    assert quota.remaining() == Remaining(2, 10, 2, 10)
    assert granted(quota, 3).remaining == Remaining(2, 10, 1, 7)
    assert refused(quota, 8).remaining == Remaining(2, 10, 1, 7)
    assert granted(quota, 7).remaining == Remaining(2, 10, 0, 0)


def test_v1_headers_are_true_to_the_state():
    assert Remaining(300, 300_000, 299, 299_999).headers(1) == [
        ("X-Ratelimit-Limit-Requests", "300"),
        ("X-Ratelimit-Limit-Tokens", "300000"),
        ("X-Ratelimit-Remaining-Requests", "299"),
        ("X-Ratelimit-Remaining-Tokens", "299999"),
    ]


def test_v1_headers_without_a_limit_do_not_slow_the_sdk():
    assert [value for _, value in UNLIMITED.remaining.headers(7)] == ["3000", "300000", "2999", "299993"]
    assert UNLIMITED.remaining.headers(10**6)[3][1] == "0"


# All or nothing


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("refusing", ["tpm", "concurrency", "total", "daily", "qps"])
def test_a_refused_request_counts_nowhere(clock, window, refusing):
    generous = dict.fromkeys(["qps", "rpm", "tpm", "daily", "total", "concurrency"], 50)
    quota = Quota(Limits(**generous | {refusing: 5}, window=window), clock)
    for _ in range(5):
        granted(quota, 1)
    before = quota.used()
    for _ in range(100):
        assert refused(quota, 1).quota == refusing
    assert quota.used() == before


# What was really used


@pytest.mark.parametrize("window", WINDOWS)
def test_the_answer_counts_when_it_is_known_and_may_go_over_the_quota(clock, window):
    quota = Quota(Limits(tpm=100, window=window), clock)
    admission = granted(quota, 10)
    assert quota.used() == {"tpm": 10}
    admission.settle(150)
    admission.settle(150)  # the first call counts
    assert quota.used() == {"tpm": 150}
    assert quota.remaining().tokens == 0
    no = refused(quota, 1)
    clock.sleep(no.retry_after)
    granted(quota, 1)


@pytest.mark.parametrize(("window", "left"), [("fixed", 98), ("sliding", 98), ("bucket", 50)])
def test_what_was_taken_too_much_is_given_back(clock, window, left):
    quota = Quota(Limits(tpm=100, window=window), clock)
    granted(quota, 50).settle(2)
    assert quota.remaining().tokens == left


@pytest.mark.parametrize("window", WINDOWS)
def test_nothing_is_given_back_to_a_window_that_never_lost_it(clock, window):
    quota = Quota(Limits(tpm=100, window=window), clock)
    old = granted(quota, 100)
    clock.sleep(61)
    granted(quota, 100)
    old.settle(0)
    assert quota.remaining().tokens == 0


def test_an_answer_that_ends_late_counts_in_the_window_in_which_it_ends(clock):
    quota = Quota(Limits(tpm=100), clock)
    old = granted(quota, 10)
    clock.sleep(61)
    granted(quota, 5)
    old.settle(40)
    assert quota.used() == {"tpm": 35}


def test_tokens_are_never_negative(clock):
    with pytest.raises(ValueError, match="from 0; got -1"):
        granted(Quota(Limits(tpm=5), clock)).settle(-1)


# Without limits


def test_without_limits_nobody_looks_at_lock_or_clock():
    class Broken:
        def time(self):
            return 0.0

        def monotonic(self):
            if self.used:
                raise AssertionError("the clock was read")
            self.used = True
            return 0.0

        used = False

        def sleep(self, seconds):
            raise AssertionError

    quota = Quota(Limits(), Broken())
    quota._lock.acquire()
    admission = quota.admit(10**9)
    assert admission is UNLIMITED
    admission.settle(10**9)
    admission.release()
    assert not quota.counts_tokens


# Many threads


@pytest.mark.parametrize("window", WINDOWS)
def test_64_threads_are_let_in_exactly_as_often_as_the_quota_says(clock, window, impatient_threads):
    quota = Quota(Limits(qps=900, rpm=500, daily=700, total=800, concurrency=600, window=window), clock)
    with ThreadPoolExecutor(64) as pool:
        kinds = Counter(pool.map(lambda _: type(quota.admit()).__name__, range(2000)))
    assert kinds == {"Granted": 500, "Refused": 1500}
    assert quota.used() == dict.fromkeys(["total", "daily", "qps", "concurrency", "rpm"], 500)


@pytest.mark.parametrize("window", WINDOWS)
def test_64_threads_never_take_too_many_tokens_and_are_never_refused_what_fits(clock, window, impatient_threads):
    quota = Quota(Limits(rpm=10_000, tpm=10_000, window=window), clock)
    random = Random(7)
    sizes = [random.randint(1, 60) for _ in range(1500)]
    with ThreadPoolExecutor(64) as pool:
        admissions = list(pool.map(quota.admit, sizes))
    let_in = [size for size, admission in zip(sizes, admissions, strict=True) if isinstance(admission, Granted)]
    turned_away = [(size, no) for size, no in zip(sizes, admissions, strict=True) if isinstance(no, Refused)]
    assert quota.used() == {"rpm": len(let_in), "tpm": sum(let_in)}
    assert sum(let_in) <= 10_000
    assert turned_away
    assert all(no.remaining.tokens < size for size, no in turned_away)


def test_64_threads_never_have_more_answers_on_their_way_than_allowed(clock, impatient_threads):
    quota = Quota(Limits(concurrency=5, tpm=10**9), clock)
    lock, busy, peak, served = threading.Lock(), 0, 0, 0

    def ask(_):
        nonlocal busy, peak, served
        admission = quota.admit(1)
        if isinstance(admission, Refused):
            return
        with lock:
            busy, served = busy + 1, served + 1
            peak = max(peak, busy)
        admission.settle(3)
        with lock:
            busy -= 1
        admission.release()

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(ask, range(3000)))
    assert 1 <= peak <= 5
    assert quota.used() == {"concurrency": 0, "tpm": 3 * served}


def test_64_threads_find_one_quota_for_one_model(impatient_threads):
    for _ in range(20):
        quotas = Quotas(default=Limits(rpm=5))
        with ThreadPoolExecutor(64) as pool:
            kinds = Counter(pool.map(lambda _: type(quotas.of("ernie-4.0-8k").admit()).__name__, range(128)))  # noqa: B023
        assert kinds["Granted"] == 5


# Limits


@pytest.mark.parametrize("value", [-1, 1.5, True, "60", 10**12 + 1, [5]])
@pytest.mark.parametrize("rule", RULES)
def test_a_limit_is_a_whole_number(rule, value):
    with pytest.raises(ValueError, match=f"^{rule.field} is a whole number of {rule.counts}.* from 0 .*; got "):
        Limits(**{rule.field: value})


def test_a_misspelt_window_finds_its_name():
    with pytest.raises(ValueError, match=r"one of fixed, sliding, bucket; got 'slidng'; did you mean 'sliding'\?"):
        Limits(rpm=1, window="slidng")
    with pytest.raises(ValueError, match=r"got None$"):
        Limits(window=None)


def test_limits_are_plain_data():
    limits = Limits(rpm=60, tpm=0, window="sliding")
    assert limits.to_dict() == {"tpm": 0, "rpm": 60, "window": "sliding"}
    assert Limits(**limits.to_dict()) == limits
    assert msgspec.convert({"rpm": 60, "tpm": 0, "window": "sliding"}, Limits) == limits  # as a configuration reads it
    with pytest.raises(msgspec.ValidationError, match="rpm is a whole number of requests a minute from 0"):
        msgspec.convert({"rpm": -1}, Limits)


# Error codes


def test_every_refusal_has_a_row_in_every_dialect():
    for dialect, codes in ERROR_CODES.items():
        for kind, code in codes.items():
            assert kind in KINDS
            assert error_code(dialect, kind) == code
            assert lookup(dialect, code) is not None


@pytest.mark.parametrize(
    ("field", "v1", "v2"),
    [
        ("qps", 18, "user_rate_limit_exceeded"),
        ("concurrency", 18, "user_rate_limit_exceeded"),
        ("rpm", 336501, "rpm_rate_limit_exceeded"),
        ("tpm", 336502, "tpm_rate_limit_exceeded"),
        ("daily", 17, "account_overdue"),
        ("total", 19, "account_overdue"),
    ],
)
def test_refusals_have_the_service_s_codes_and_statuses(clock, field, v1, v2):
    kind = refused(Quota(Limits(**{field: 0}), clock)).kind
    assert (error_code("v1", kind), lookup("v1", v1).status) == (v1, 200)
    assert error_code("v2", kind) == v2
    assert lookup("v2", v2).status == (403 if v2 == "account_overdue" else 429)
    assert (error_code("text_generation", kind), lookup("text_generation", 429).status) == (429, 429)


@pytest.mark.parametrize(("dialect", "kind"), [("v3", "quota_daily"), ("v1", "auth")])
def test_an_unknown_refusal_names_the_known_ones(dialect, kind):
    with pytest.raises(LookupError, match=f"{kind!r} in dialect {dialect!r}; dialects are v1, v2, text_generation"):
        error_code(dialect, kind)


# The quotas of an account


def test_nothing_is_limited_but_what_is_documented_for_text_generation(clock):
    quotas = Quotas(clock)
    assert quotas.of("ernie-3.5-8k").admit(10**9) is UNLIMITED
    for _ in range(100):
        granted(quotas.of("text_generation"))
    assert refused(quotas.of("text_generation")).kind == "rate_limit_qps"


def test_what_the_service_documents_can_be_asked_for(clock):
    quotas = Quotas(clock, models=DOCUMENTED)
    assert quotas.of("ERNIE-Bot").remaining() == Remaining(300, 300_000, 300, 300_000)
    assert quotas.of("ernie-4.0-8k").admit() is UNLIMITED


def test_each_model_is_counted_by_itself_in_any_spelling(clock):
    quotas = Quotas(clock, default=Limits(rpm=2))
    granted(quotas.of("ernie-3.5-8k"))
    granted(quotas.of("ERNIE-3.5-8K"))
    refused(quotas.of("ernie-bot"))
    granted(quotas.of("ernie-4.0-8k"))
    granted(quotas.of("My_Service"))
    assert quotas.of("my_service") is quotas.of("My_Service")


def test_a_model_s_own_limits_replace_the_account_s(clock):
    quotas = Quotas(clock, default=Limits(rpm=1), models={"ernie-4.0-8k": Limits(total=5)})
    assert quotas.of("ernie-4.0-8k").limits == Limits(total=5)
    quotas.set(Limits(), "ERNIE-4.0-8K")
    assert quotas.of("ernie-4.0-8k").admit() is UNLIMITED
    assert quotas.of("ernie-3.5-8k").limits == Limits(rpm=1)


def test_the_account_s_limits_replace_text_generation_s_too(clock):
    quotas = Quotas(clock)
    quotas.of("text_generation")
    quotas.set(Limits())
    assert quotas.of("text_generation").admit() is UNLIMITED
    quotas.set(Limits(rpm=1))
    granted(quotas.of("text_generation"))
    assert refused(quotas.of("text_generation")).kind == "rate_limit_rpm"


def test_new_limits_begin_to_count_anew_and_leave_other_models_alone(clock):
    quotas = Quotas(clock, default=Limits(concurrency=1), models={"a": Limits(total=1), "b": Limits(total=1)})
    on_its_way = granted(quotas.of("ernie-4.0-8k"))
    for name in ("a", "b"):
        granted(quotas.of(name))
    quotas.set(Limits(total=1), "b")
    quotas.set(Limits(concurrency=1))
    refused(quotas.of("a"))
    granted(quotas.of("b"))
    granted(quotas.of("ernie-4.0-8k"))
    on_its_way.release()  # was counted before, and frees no place now
    refused(quotas.of("ernie-4.0-8k"))


def test_reset_forgets_what_was_used_and_keeps_the_limits(clock):
    quotas = Quotas(clock, default=Limits(total=1))
    granted(quotas.of("a"))
    quotas.reset()
    granted(quotas.of("a"))
    refused(quotas.of("a"))


def test_accounts_share_nothing(clock):
    one, other = Quotas(clock, default=Limits(total=1)), Quotas(clock, default=Limits(total=1))
    granted(one.of("a"))
    granted(other.of("a"))


def test_the_state_is_plain_data(clock):
    quotas = Quotas(clock, default=Limits(rpm=5), models={"ernie-4.0-8k": Limits(tpm=9)})
    granted(quotas.of("a"))
    assert quotas.to_dict() == {
        "default": {"rpm": 5, "window": "fixed"},
        "models": {
            "ernie-4.0-8k": {"limits": {"tpm": 9, "window": "fixed"}, "used": {}},
            "a": {"limits": {"rpm": 5, "window": "fixed"}, "used": {"rpm": 1}},
        },
    }
    assert Quotas(clock).to_dict() == {"default": None, "models": {}}


def test_made_up_names_do_not_fill_the_memory(clock):
    quotas = Quotas(clock, default=Limits(total=1), models={"mine": Limits(total=1)})
    for number in range(3 * OWN_COUNTERS):
        quotas.of(f"made-up-{number}").admit()
    assert len(quotas.to_dict()["models"]) <= OWN_COUNTERS + 2
    assert len(quotas._named) <= OWN_COUNTERS
    refused(quotas.of("made-up-0"))
    refused(quotas.of("one-more"))  # counted together with the others
    granted(quotas.of("mine"))
    granted(quotas.of("ernie-4.0-8k"))
    assert quotas.of("x" * (LONGEST_NAME + 1)) is quotas.of(OTHERS)
