"""What many processes counted, added up, is what one would have counted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.measuring.recorder import KEY, Recorder
from loadtests.measuring.samples import Attempted, Sample
from loadtests.measuring.tally import Failure, Ledger, Tally
from loadtests.reporting.report import Setting, build
from loadtests.trusting.reconcile import reconcile

moments = st.integers(0, 10_000).map(lambda milliseconds: milliseconds / 1000)
outcomes = st.sampled_from(["ok", "ok", "failed", "cut_off"])
FAILURES = ((429, 18, "", "body"), (None, None, "ConnectionFailed", "connect"), (200, "x", "", "mid-stream"))


@st.composite
def samples(draw, scenario="stream"):
    """Any call: of a closed or an open model, good or not, with content or without."""
    began, outcome = draw(moments), draw(outcomes)
    kind = draw(st.sampled_from(["chat", "stream"]))
    failed = [draw(st.sampled_from(FAILURES)) for _ in range(draw(st.integers(0, 2)) + (outcome == "failed"))]
    results = failed if outcome == "failed" else [*failed, (200, None, "", "")]
    attempts = [
        Attempted(at=began + number, status=status, code=code, what=what, phase=phase, waited=float(number))
        for number, (status, code, what, phase) in enumerate(results)
    ]
    contents = sorted(draw(st.lists(moments, max_size=4))) if kind == "stream" else []
    known = draw(st.sampled_from(["server", "estimated", None]))
    return Sample(
        scenario=scenario,
        kind=kind,
        planned=draw(st.sampled_from([None, began, max(0.0, began - 1.5)])),
        began=began,
        warmup=draw(st.booleans()) and draw(st.booleans()),
        outcome=outcome,
        attempts=attempts,
        requests=len(attempts) + 1,
        token_requests=1,
        headers=draw(moments) if kind == "stream" else None,
        ttft=contents[0] if contents else None,
        e2e=contents[-1] if contents else None,
        end=draw(moments),
        contents=contents,
        output_tokens=None if known is None else draw(st.integers(0, 9)),
        tokens_from=known,
    )


def call(*, began=0.0, end=0.1, scenario="qps", **members) -> Sample:
    members.setdefault("attempts", [Attempted(at=began, status=200)])
    return Sample(scenario=scenario, began=began, end=end, requests=len(members["attempts"]), **members)


def failed(status, code, what="", *, began=0.0, end=0.1, times=1) -> Sample:
    attempt = Attempted(at=began, status=status, code=code, what=what, phase="body" if status else "connect")
    return call(began=began, end=end, outcome="failed", attempts=[attempt] * times)


def tally_of(calls) -> Tally:
    tally = Tally()
    for sample in calls:
        tally.add(sample)
    return tally


class Processor:
    """A processor and a clock that go on by hand."""

    def __init__(self) -> None:
        self.used = self.time = 0.0

    def recorder(self, name: str = "this") -> Recorder:
        return Recorder(name, cpu=lambda: self.used, now=lambda: self.time)


class TestSample:
    @given(samples())
    def test_it_survives_json(self, sample):
        assert Sample.from_dict(json.loads(json.dumps(sample.to_dict()))) == sample

    def test_times_count_from_the_intended_sending(self):
        late = call(planned=100.0, began=100.5, end=2.0)
        assert (late.reference, late.late, late.ended) == (100.0, 0.5, 102.0)
        assert call(began=100.5, end=2.0).ended == 102.5

    def test_gaps_are_between_contents(self):
        sample = call(contents=[0.1, 0.4, 0.5], empties=[0.05, 0.2])
        assert sample.itl == pytest.approx([0.3, 0.1])
        assert sample.tpot == pytest.approx(0.2)
        assert (call(contents=[0.1]).itl, call(contents=[0.1]).tpot) == ([], None)

    @given(st.lists(moments, min_size=2, max_size=50))
    def test_the_mean_gap_is_tpot(self, contents):
        sample = call(contents=sorted(contents))
        assert sample.tpot == pytest.approx(sum(sample.itl) / len(sample.itl))


class TestTally:
    @given(st.lists(samples()), st.lists(samples()))
    def test_two_halves_merged_are_the_whole(self, left, right):
        merged = tally_of(left)
        merged.merge(tally_of(right))
        assert merged == tally_of(left + right)

    @given(st.lists(samples()))
    def test_it_survives_json(self, calls):
        tally = tally_of(calls)
        assert Tally.from_dict(json.loads(json.dumps(tally.to_dict()))) == tally

    @given(st.lists(samples()))
    def test_every_call_is_counted_once(self, calls):
        tally = tally_of(calls)
        measured = [it for it in calls if not it.warmup]
        assert tally.ok + tally.failed + tally.cut_off + tally.warmup_calls == len(calls)
        assert tally.requests + tally.warmup_requests == sum(it.requests for it in calls)
        assert sum(tally.call_failures.values()) == tally.failed == sum(it.outcome == "failed" for it in measured)
        assert tally.durations["latency"].count == tally.ok
        rows = [cell for _, cell in tally.timeline.rows()]
        assert sum(cell.sent for cell in rows) == len(measured)
        assert sum(cell.attempts for cell in rows) == tally.attempts == sum(len(it.attempts) for it in measured)
        assert sum(cell.ok for cell in rows) == tally.ok

    def test_calls_attempts_and_requests_are_three_things(self):
        tally = Tally()
        refused = Attempted(at=5.0, status=429, code=18, phase="body")
        attempts = [refused, refused, Attempted(at=5.5, status=200)]
        tally.add(Sample(scenario="qps", began=5.0, end=1.0, attempts=attempts, requests=4, token_requests=1))
        assert (tally.calls, tally.attempts, tally.requests, tally.token_requests) == (1, 3, 4, 1)
        assert (tally.failed, tally.attempt_failures) == (0, {Failure(429, 18, "", "body"): 2})

    def test_warm_up_is_counted_and_in_no_figure(self):
        tally = tally_of([call(warmup=True), call(warmup=True, outcome="cut_off"), call(end=2.0)])
        assert (tally.warmup_calls, tally.warmup_requests, tally.calls, tally.requests) == (2, 2, 1, 1)
        assert tally.durations["latency"].quantiles(0.0) == [2.0]

    def test_the_time_is_from_the_first_start_to_the_last_end(self):
        tally = tally_of([call(began=7.0, end=1.0), failed(500, 500, began=5.0, end=0.5)])
        assert tally.seconds == pytest.approx(3.0)

    def test_failed_calls_are_not_in_the_latency_of_good_ones(self):
        tally = tally_of([failed(429, 429, end=0.001), call(end=1.0)])
        assert tally.durations["latency"].quantiles(0.0) == [1.0]
        assert tally.durations["failed"].quantiles(0.0) == [0.001]

    def test_goodput_is_what_the_judge_says_and_a_failed_call_is_never_good(self):
        recorder = Processor().recorder()
        recorder.met = lambda sample: (sample.end or 0.0) < 0.5
        for sample in (call(end=0.1), call(end=0.9), failed(429, 18, end=0.1)):
            recorder.add(sample)
        tally = recorder.total.tallies["qps"]
        assert (tally.ok, tally.good, tally.failed) == (2, 1, 1)

    def test_what_was_slept_before_each_attempt_is_kept_by_its_number(self):
        refused = Attempted(at=0.0, status=429, code=18, phase="body")
        attempts = [refused, Attempted(at=1.0, status=429, code=18, phase="body", waited=0.5)]
        tally = tally_of([call(attempts=[*attempts, Attempted(at=2.0, status=200, waited=1.5)])])
        assert {number: waits.quantiles(0.5) for number, waits in tally.waits.items()} == {2: [0.5], 3: [1.5]}

    def test_a_failure_in_words(self):
        assert str(Failure(429, 18)) == "HTTP 429, code 18"
        assert str(Failure(None, None, "ConnectionFailed")) == "no answer, ConnectionFailed"
        assert str(Failure(200, None, "StreamTruncated")) == "HTTP 200, StreamTruncated"

    def test_failures_of_all_kinds_have_an_order(self):
        tally = tally_of([failed(429, 18), failed(None, None, "ConnectionFailed"), failed(429, "rpm"), failed(200, 18)])
        assert [failure.status for failure in tally.failures()] == [None, 200, 429, 429]

    def test_a_call_that_failed_before_its_first_request(self):
        tally = tally_of([call(outcome="failed", attempts=[])])
        assert [str(failure) for failure in tally.failures()] == ["no answer, nothing was sent"]


class TestRecorder:
    def test_a_worker_reports_only_what_is_new_and_the_master_has_it_all(self):
        machine = Processor()
        master, workers = machine.recorder(), [machine.recorder("1"), machine.recorder("2")]
        for turn in range(3):
            for worker in workers:
                worker.add(call(began=float(turn)))
                machine.time += 1
                report: dict = {"stats": "Locust's own"}
                worker.report_to_master(client_id="w", data=report)
                master.worker_report(client_id="w", data=json.loads(json.dumps(report)))
        assert master.total.calls == 6
        assert master.total.tallies["qps"].durations["latency"].count == 6

    @given(st.lists(samples()), st.lists(st.booleans()), st.booleans())
    def test_wherever_the_reports_fall_the_sum_is_the_same(self, calls, cuts, keep):
        machine = Processor()
        worker, master = machine.recorder(), machine.recorder()
        worker.keep_samples = keep
        for index, sample in enumerate(calls):
            worker.add(sample)
            if index < len(cuts) and cuts[index]:
                data: dict = {}
                worker.report_to_master(client_id="w", data=data)
                master.worker_report(client_id="w", data=json.loads(json.dumps(data)))
        data = {}
        worker.report_to_master(client_id="w", data=data)
        master.worker_report(client_id="w", data=json.loads(json.dumps(data)))
        assert master.total.tallies.get("stream", Tally()) == tally_of(calls)
        assert master.total.samples == (calls if keep else [])

    @given(st.lists(st.tuples(samples(), st.integers(0, 2), st.booleans())))
    def test_the_report_of_three_workers_is_that_of_one_process(self, calls):
        """On the same samples, whoever made them, and whenever they were reported."""
        machine = Processor()
        master, alone = machine.recorder(), machine.recorder()
        workers = [machine.recorder(str(number)) for number in range(3)]
        for sample, number, reports in calls:
            workers[number].planned()
            workers[number].add(sample)
            alone.planned()
            alone.add(sample)
            if reports:
                self.report(workers[number], master)
        for worker in workers:
            self.report(worker, master)
        setting = Setting("http://127.0.0.1", "v2", None, users=3, run_time=1.0, seed=0, attempts=1)
        assert build(master.total, setting) == build(alone.total, setting)
        assert reconcile(master.total, None) == reconcile(alone.total, None)

    def report(self, worker, master):
        data: dict = {}
        worker.report_to_master(client_id="w", data=data)
        master.worker_report(client_id="w", data=json.loads(json.dumps(data)))

    def test_a_report_without_ours_is_let_be(self):
        master = Processor().recorder()
        master.worker_report(client_id="w", data={"stats": []})
        assert master.total == Ledger()

    def test_how_busy_the_generator_was(self):
        machine = Processor()
        recorder = machine.recorder("me")
        recorder.add(call())
        machine.used, machine.time = 3.0, 4.0
        assert recorder.total.generators == {"me": 0.75}
        machine.time = 100.0  # idle since: the run is over
        assert recorder.total.generators == {"me": 0.75}

    def test_a_worker_is_known_by_the_name_that_locust_gave_it(self):
        machine = Processor()
        recorder = machine.recorder("me")
        recorder.add(call())
        machine.time = 1.0
        data: dict = {}
        recorder.report_to_master(client_id="host_1", data=data)
        assert list(data[KEY]["generators"]) == ["host_1"]

    def test_a_new_run_forgets_the_last_one(self):
        recorder = Processor().recorder()
        recorder.add(call())
        recorder.lose("worker")
        recorder.reset()
        assert recorder.total == Ledger()

    def test_what_was_taken_stays_in_the_total(self):
        recorder = Processor().recorder()
        recorder.add(call())
        assert (recorder.take().calls, recorder.take().calls, recorder.total.calls) == (1, 0, 1)
