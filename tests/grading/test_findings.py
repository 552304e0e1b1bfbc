"""Each code has its deliberately bad client, in virtual time, that is caught by exactly that code."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from traces import Trace, exponential, failing, full, merged

from qfkit.grading import CODES, Limits, grade
from qfkit.grading.schedules import named

BAD = {}


def bad(code):
    def register(client):
        BAD.setdefault(code, []).append(client)
        return client

    return register


def jittered():
    return full(Random(5))


@bad("not-retried")
def gives_up_at_once(trace):
    trace.ask("busy")


@bad("not-retried")
def gives_up_on_a_torn_answer(trace):
    trace.ask("torn")


@bad("body-code-unnoticed")
def looks_at_the_status_alone(trace):
    trace.ask("v1 busy")


@bad("permanent-retried")
def tries_everything_again(trace):
    trace.call(["bad", "bad", "bad"], jittered())


@bad("retry-after-undercut")
def has_a_mind_of_its_own(trace):
    trace.call(["asked", "ok"], [0.7])


@bad("no-backoff")
def hammers(trace):
    trace.call(failing(3), [0.001, 0.002, 0.001])


@bad("no-backoff")
def hammers_once_a_call(trace):
    for number in range(3):
        trace.call(failing(1), [0.001], f"q{number}", agent="python-httpx/0.28")


@bad("backoff-not-growing")
def sleeps_a_second(trace):
    trace.call(failing(3), [1.0, 1.0, 1.0])


@bad("backoff-not-growing")
def sleeps_about_a_second(trace):
    random = Random(3)
    for number in range(30):
        trace.call(failing(3), lambda _: random.uniform(0.8, 1.2), f"q{number}")


@bad("backoff-not-growing")
def shrinks(trace):
    for number in range(2):
        trace.call(failing(3), [2.0 - 0.2 * number, 1.0 + 0.1 * number, 0.5], f"q{number}")


@bad("cap-exceeded")
def has_no_cap(trace):
    trace.call(failing(3), [31.0, 74.0, 190.0])


@bad("no-jitter")
def knows_no_chance(trace):
    for number in range(3):
        trace.call(failing(3), exponential, f"q{number}")


@bad("too-many-attempts")
def never_stops(trace):
    trace.call(failing(12), jittered())


@bad("amplification-over-budget")
def multiplies(trace):
    waits = jittered()
    for number in range(10):
        trace.call(failing(6), waits, f"q{number}")


@bad("layers-stacked")
def wraps_a_library_that_counts(trace):
    random = Random(2)
    for _ in range(3):
        for count in range(3):
            trace.ask("busy", retry_count=count)
            trace.now += random.uniform(0.75, 1.0) * 0.5 * 2**count


@bad("layers-stacked")
def wraps_a_library_that_does_not(trace):
    trace.call(failing(9), [0.5, 1.0, 3.0, 0.5, 1.0, 6.0, 0.5, 1.0, 9.0])


@bad("token-not-refreshed")
def sends_the_old_token(trace):
    trace.fetch()
    trace.call(["stale", "stale"], [0.3], token="a")


@bad("token-not-refreshed")
def gives_the_token_up(trace):
    trace.fetch()
    trace.ask("v1 ok", "before", token="a")
    trace.ask("stale", token="a")


@bad("token-storm")
def fetches_in_every_thread(trace):
    trace.fetch()
    for number in range(6):
        trace.ask("stale", f"q{number}", token="a")
    for _ in range(6):
        trace.fetch()
    for number in range(6):
        trace.ask("v1 ok", f"q{number}", token="b")


@bad("truncated-accepted")
def takes_what_it_gets(trace):
    trace.ask("cut")


@bad("truncated-accepted")
def takes_it_after_a_retry(trace):
    trace.call(["busy", "cut"], [0.4])


@bad("retried-after-content")
def begins_anew(trace):
    trace.call(["cut", "stream"], [0.4])


@bad("signature-reused")
def signs_once(trace):
    signed = trace.signed(trace.now, "n1")
    again = trace.signed(trace.now, "n1", reason="replayed")
    trace.ask("asked", scheme="hmac", signed=signed)
    trace.now += 2.0
    trace.ask("bad", scheme="hmac", signed=again, code=401, status=401, dialect="text_generation")


@bad("timestamp-stale")
def takes_the_time_too_early(trace):
    began = trace.now
    trace.ask("busy", scheme="hmac", signed=trace.signed(began, "n1"))
    trace.now += 80.0
    trace.ask("ok", scheme="hmac", signed=trace.signed(began, "n2"))


@bad("forms-mixed")
def signs_in_two_places(trace):
    trace.ask("ok", "a", scheme="hmac", signed=trace.signed(trace.now, "n1"))
    trace.ask("ok", "b", scheme="hmac", signed=trace.signed(trace.now, "n2", form="A/url"))


@bad("secret-in-clear")
def tells_its_secret(trace):
    trace.ask("ok", findings=("secret-in-clear: secret_key in the body",))


@bad("stream-abandoned")
def walks_away(trace):
    trace.ask("stream", outcome="pending", ended=None, due=trace.now + 2.0)
    trace.now += 60.0
    trace.ask("ok", "other")


@pytest.mark.parametrize(
    ("code", "client"),
    [(code, client) for code, clients in BAD.items() for client in clients],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_bad_client_is_caught_by_exactly_its_code(code, client):
    trace = Trace()
    client(trace)
    verdict = grade(trace.seen)
    assert verdict.codes == (code,), verdict.render()
    assert not verdict.ok
    (finding,) = verdict.against
    assert finding.severity == CODES[code].severity
    assert finding.evidence
    assert set(finding.attempts) <= {one.number for one in trace.seen}


def herd(size, waits, rounds=2):
    """Clients that ask different questions at the same time."""
    traces = []
    for number in range(size):
        trace = Trace(1_700_000_000.0 + number * 0.0005)
        trace.call(failing(rounds), waits(number), f"q{number}")
        traces.append(trace)
    return merged(*traces)


def test_twenty_clients_in_step_are_a_herd():
    verdict = grade(herd(20, lambda _: exponential))
    assert verdict.codes == ("lockstep",), verdict.render()
    assert len(verdict.against[0].evidence) == 2
    assert "20 calls" in verdict.render()


@pytest.mark.parametrize("seed", range(20))
def test_twenty_clients_with_jitter_are_none(seed):
    assert grade(herd(20, lambda number: full(Random(seed * 100 + number)))).ok


def test_a_herd_that_asks_the_same_question_is_one_all_the_same():
    traces = []
    for number in range(20):
        trace = Trace(1_700_000_000.0 + number * 0.0005)
        trace.call(failing(1), exponential)
        traces.append(trace)
    assert grade(merged(*traces)).codes == ("lockstep",)


def test_every_code_has_a_bad_client():
    informing = {code for code, row in CODES.items() if row.severity == "info"}
    assert set(BAD) | informing | {"lockstep", "schedule-broken"} == set(CODES)


def test_one_fetch_long_after_a_token_has_ended_is_no_storm():
    trace = Trace()
    trace.fetch()
    trace.call(["stale", "v1 ok"], [0.0], "before", token="a")
    trace.now += 60.0
    trace.fetch()
    trace.ask("v1 ok", "after", token="b")
    assert "token-storm" not in grade(trace.seen).codes


def test_a_schedule_that_is_not_kept_is_the_only_finding():
    trace, random = Trace(), Random(1)
    for number in range(8):
        trace.call(failing(3), lambda n: 0.5 * 2 ** (n - 1) * random.uniform(0.5, 1.0), f"q{number}")
    verdict = grade(trace.seen, schedule=named("aws-full", base=0.5, cap=8))
    assert verdict.codes == ("schedule-broken",), verdict.render()
    assert verdict.judgement.answer == "broken"
    assert grade(trace.seen, schedule="aws-equal:base=0.5,cap=8").ok


@pytest.mark.parametrize("client", [hammers, sleeps_a_second, has_no_cap])
def test_a_schedule_that_is_broken_answers_for_the_shape_of_its_waits(client):
    trace = Trace()
    client(trace)
    assert grade(trace.seen, schedule="openai").codes == ("schedule-broken",)


def test_a_schedule_without_jitter_needs_none():
    trace = Trace()
    knows_no_chance(trace)
    assert grade(trace.seen, schedule="exponential:base=0.5,cap=8").ok


def test_a_schedule_may_have_more_attempts():
    trace = Trace()
    never_stops(trace)
    assert grade(trace.seen, limits=Limits(attempts=13)).ok
    schedule = named("aws-full", base=0.5, cap=8)
    assert grade(trace.seen, schedule=replace(schedule, attempts=13)).ok


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        ("no-backoff", Limits(instant=0.0)),
        ("cap-exceeded", Limits(cap=200)),
        ("amplification-over-budget", Limits(amplification=8)),
        ("retry-after-undercut", Limits(tolerance=1.0)),
        ("timestamp-stale", Limits(stale_signature=90)),
        ("stream-abandoned", Limits(abandoned=100)),
        ("token-storm", Limits(storm=7)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_lines_can_be_moved(code, limits):
    for client in BAD[code][:1]:
        trace = Trace()
        client(trace)
        assert code not in grade(trace.seen, limits=limits).codes


def test_a_declared_outcome_is_no_finding():
    for client in (gives_up_at_once, looks_at_the_status_alone, takes_what_it_gets, gives_the_token_up):
        trace = Trace()
        client(trace)
        assert grade(trace.seen, noticed={one.number for one in trace.seen}).ok


def test_a_first_retry_at_once_is_the_habit_of_urllib3():
    trace = Trace()
    for number in range(4):
        trace.call(failing(1), [0.0], f"q{number}", agent="python-requests/2.32.3")
    assert grade(trace.seen).ok


def test_what_is_retried_elsewhere_may_be_given_up_for_want_of_budget():
    trace = Trace()
    trace.call(failing(2), full(Random(4)), "a")
    trace.ask("busy", "b")
    assert grade(trace.seen).ok


def test_a_wait_that_was_asked_for_may_be_long_and_is_no_herd():
    trace = Trace()
    trace.ask("asked", retry_after=400.0)
    trace.now += 400.0
    trace.ask("ok")
    assert grade(trace.seen).ok
    traces = []
    for number in range(20):
        one = Trace()
        one.call(["asked", "ok"], [1.5], f"q{number}")
        traces.append(one)
    assert grade(merged(*traces)).ok


def test_one_who_is_asked_to_wait_for_long_may_give_up():
    trace = Trace()
    trace.ask("asked", retry_after=3600.0)
    assert grade(trace.seen).ok


def test_a_clock_that_is_wrong_is_not_a_stale_time_stamp():
    trace = Trace()
    for number in range(4):
        trace.ask("ok", f"q{number}", scheme="hmac", signed=trace.signed(trace.now - 200, f"n{number}"))
        trace.now += 30
    assert grade(trace.seen).ok


def test_signing_again_after_a_refusal_is_no_retry_of_a_permanent_error():
    trace = Trace()
    signed = trace.signed(trace.now, "n1", reason="expired")
    trace.ask("bad", scheme="hmac", signed=signed, code=401, status=401, dialect="text_generation")
    trace.ask("ok", scheme="hmac", signed=trace.signed(trace.now, "n2"), dialect="text_generation")
    assert grade(trace.seen).ok


def test_skipped_waits_are_not_judged_and_the_verdict_says_so():
    trace = Trace()
    trace.call(["asked", "asked", "ok"], [0.0, 0.0])
    assert grade(trace.seen).codes == ("retry-after-undercut",)
    verdict = grade(trace.seen, waits_seen=False)
    assert verdict.ok
    assert [finding.code for finding in verdict.findings] == ["waits-not-seen"]


def test_thousands_of_good_calls_are_told_off_for_no_chance():
    traces = []
    for number in range(2000):
        trace = Trace(1_700_000_000.0 + number * 0.001)
        trace.call(failing(2), full(Random(number)), f"q{number}")
        traces.append(trace)
    assert grade(merged(*traces)).ok


@pytest.mark.parametrize("size", [5, 8, 20, 200])
def test_a_herd_is_found_whatever_its_size_and_though_its_threads_start_one_by_one(size):
    random = Random(size)
    traces = []
    for number in range(size):
        trace = Trace(1_700_000_000.0 + random.uniform(0.0, 0.04))
        trace.call(failing(2), lambda n: exponential(n) + random.uniform(0.0, 0.008), f"q{number}")
        traces.append(trace)
    verdict = grade(merged(*traces))
    assert verdict.codes == ("lockstep",), verdict.render()


@pytest.mark.parametrize("size", [5, 6, 8, 20])
def test_a_few_clients_that_draw_a_quarter_of_the_wait_are_a_herd_by_rare_chance_only(size):
    found = 0
    for seed in range(200):
        random = Random(seed)
        traces = []
        for number in range(size):
            trace = Trace(1_700_000_000.0 + number * 0.0005)
            waits = [0.5 * random.uniform(0.75, 1.0), random.uniform(0.75, 1.0)]
            trace.call(failing(2), waits, f"q{number}")
            traces.append(trace)
        found += "lockstep" in grade(merged(*traces)).codes
    assert found <= 4
