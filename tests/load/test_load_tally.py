"""What many processes counted, added up, is what one would have counted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.measures import StreamTimer
from loadtests.recorder import KEY, Recorder
from loadtests.tally import Failure, Ledger, Tally

moments = st.integers(0, 10_000).map(lambda milliseconds: milliseconds / 1000)


@st.composite
def outcomes(draw):
    """What one call came to: how to count it."""
    began, latency = draw(moments), draw(moments)
    kind = draw(st.sampled_from(["chat", "stream", "failed", "cut off"]))
    requests = draw(st.integers(1, 3))
    if kind == "stream":
        timer = StreamTimer(0.0)
        timer.headers_arrived(draw(moments))
        now = 0.0
        for gap in draw(st.lists(moments, max_size=4)):
            now += gap
            timer.chunk_arrived(now, draw(st.sampled_from(["", "x"])))
        return lambda tally: (
            tally.succeeded(began=began, latency=latency, timer=timer),
            tally.sent(requests=requests, token_requests=1),
        )
    if kind == "failed":
        failure = draw(st.sampled_from([Failure(429, 18), Failure(None, None, "ConnectionFailed"), Failure(200, "x")]))
        return lambda tally: (
            tally.failed_with(failure, began=began, latency=latency),
            tally.attempts_failed([failure] * requests),
            tally.sent(requests=requests, token_requests=0),
        )
    if kind == "cut off":
        return lambda tally: tally.interrupted()
    return lambda tally: tally.succeeded(began=began, latency=latency)


def tally_of(calls) -> Tally:
    tally = Tally()
    for count in calls:
        count(tally)
    return tally


class Processor:
    """A processor and a clock that go on by hand."""

    def __init__(self) -> None:
        self.used = self.time = 0.0

    def recorder(self, name: str = "this") -> Recorder:
        return Recorder(name, cpu=lambda: self.used, now=lambda: self.time)


class TestTally:
    @given(st.lists(outcomes()), st.lists(outcomes()))
    def test_two_halves_merged_are_the_whole(self, left, right):
        merged = tally_of(left)
        merged.merge(tally_of(right))
        assert merged == tally_of(left + right)

    @given(st.lists(outcomes()))
    def test_it_survives_json(self, calls):
        tally = tally_of(calls)
        assert Tally.from_dict(json.loads(json.dumps(tally.to_dict()))) == tally

    def test_calls_attempts_and_requests_are_three_things(self):
        tally = Tally()
        tally.sent(requests=4, token_requests=1)
        tally.attempts_failed([Failure(429, 18), Failure(429, 18)])
        tally.succeeded(began=5.0, latency=1.0)
        assert (tally.calls, tally.attempts, tally.requests, tally.token_requests) == (1, 3, 4, 1)
        assert (tally.failed, tally.attempt_failures[Failure(429, 18)]) == (0, 2)

    def test_the_time_is_from_the_first_start_to_the_last_end(self):
        tally = Tally()
        tally.succeeded(began=7.0, latency=1.0)
        tally.failed_with(Failure(500, 500), began=5.0, latency=0.5)
        assert tally.seconds == pytest.approx(3.0)

    def test_failed_calls_are_not_in_the_latency_of_good_ones(self):
        tally = Tally()
        tally.failed_with(Failure(429, 429), began=0.0, latency=0.001)
        tally.succeeded(began=0.0, latency=1.0)
        assert tally.durations["latency"].quantiles(0.0) == [1.0]
        assert tally.durations["failed"].quantiles(0.0) == [0.001]

    def test_a_failure_in_words(self):
        assert str(Failure(429, 18)) == "HTTP 429, code 18"
        assert str(Failure(None, None, "ConnectionFailed")) == "no answer, ConnectionFailed"
        assert str(Failure(200, None, "StreamTruncated")) == "HTTP 200, StreamTruncated"

    def test_failures_of_all_kinds_have_an_order(self):
        tally = Tally()
        kinds = [Failure(429, 18), Failure(None, None, "ConnectionFailed"), Failure(429, "rpm"), Failure(200, 18)]
        tally.attempts_failed(kinds)
        assert [failure.status for failure in tally.failures()] == [None, 200, 429, 429]


class TestRecorder:
    def test_a_worker_reports_only_what_is_new_and_the_master_has_it_all(self):
        machine = Processor()
        master, workers = machine.recorder(), [machine.recorder("1"), machine.recorder("2")]
        for turn in range(3):
            for worker in workers:
                worker.tally("qps").succeeded(began=float(turn), latency=0.1)
                machine.time += 1
                report: dict = {"stats": "Locust's own"}
                worker.report_to_master(client_id="w", data=report)
                master.worker_report(client_id="w", data=json.loads(json.dumps(report)))
        assert master.total.calls == 6
        assert master.total.tallies["qps"].durations["latency"].count == 6

    @given(st.lists(outcomes()), st.lists(st.booleans()))
    def test_wherever_the_reports_fall_the_sum_is_the_same(self, calls, cuts):
        machine = Processor()
        worker, master = machine.recorder(), machine.recorder()
        for index, count in enumerate(calls):
            count(worker.tally("stream"))
            if index < len(cuts) and cuts[index]:
                data: dict = {}
                worker.report_to_master(client_id="w", data=data)
                master.worker_report(client_id="w", data=data)
        data = {}
        worker.report_to_master(client_id="w", data=data)
        master.worker_report(client_id="w", data=data)
        assert master.total.tallies.get("stream", Tally()) == tally_of(calls)

    def test_a_report_without_ours_is_let_be(self):
        master = Processor().recorder()
        master.worker_report(client_id="w", data={"stats": []})
        assert master.total == Ledger()

    def test_how_busy_the_generator_was(self):
        machine = Processor()
        recorder = machine.recorder("me")
        recorder.tally("qps").succeeded(began=0.0, latency=1.0)
        machine.used, machine.time = 3.0, 4.0
        assert recorder.total.generators == {"me": 0.75}
        machine.time = 100.0  # idle since: the run is over
        assert recorder.total.generators == {"me": 0.75}

    def test_a_worker_is_known_by_the_name_that_locust_gave_it(self):
        machine = Processor()
        recorder = machine.recorder("me")
        recorder.tally("qps").succeeded(began=0.0, latency=1.0)
        machine.time = 1.0
        data: dict = {}
        recorder.report_to_master(client_id="host_1", data=data)
        assert list(data[KEY]["generators"]) == ["host_1"]

    def test_a_new_run_forgets_the_last_one(self):
        recorder = Processor().recorder()
        recorder.tally("qps").succeeded(began=0.0, latency=1.0)
        recorder.lose("worker")
        recorder.reset()
        assert recorder.total == Ledger()

    def test_what_was_taken_stays_in_the_total(self):
        recorder = Processor().recorder()
        recorder.tally("qps").succeeded(began=0.0, latency=1.0)
        assert (recorder.take().calls, recorder.take().calls, recorder.total.calls) == (1, 0, 1)
