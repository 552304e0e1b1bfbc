"""What makes a measurement one to trust: counts that agree, a clock that is right, other tools' words in theirs."""

from __future__ import annotations

import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.measuring.measures import Histogram
from loadtests.measuring.recorder import Recorder
from loadtests.measuring.samples import Attempted, Sample
from loadtests.measuring.tally import Ledger
from loadtests.measuring.timeline import Timeline
from loadtests.measuring.variants import VARIANTS
from loadtests.planning.plan import Plan, Traffic
from loadtests.playing.control import Control
from loadtests.trusting.calibrate import ENOUGH, PIECES, errors, notes, section
from loadtests.trusting.reconcile import reconcile
from loadtests.trusting.trust import ServerCount, Trust
from mock_server import MockServer
from qfkit import Client

moments = st.integers(0, 100_000).map(lambda milliseconds: milliseconds / 1000)


def ledger(*samples: Sample, planned: int | None = None, sent: int | None = None, unsent: int = 0) -> Ledger:
    made = Ledger(
        planned=len(samples) + unsent if planned is None else planned,
        sent=sum(it.requests for it in samples) if sent is None else sent,
        unsent=unsent,
    )
    for sample in samples:
        made.tally(sample.scenario).add(sample)
    return made


def call(**members) -> Sample:
    members.setdefault("attempts", [Attempted(at=0.0, status=200)])
    return Sample(scenario="qps", began=0.0, end=0.1, requests=len(members["attempts"]), **members)


class TestReconciliation:
    def test_all_counts_agree(self):
        calls = [call(), call(warmup=True), call(outcome="cut_off"), call(attempts=[Attempted(at=0.0, status=429)] * 3)]
        found = reconcile(ledger(*calls), 6)
        assert found["ok"]
        assert (found["planned"], found["calls"], found["sent"], found["recorded"], found["seen"]) == (4, 4, 6, 6, 6)

    @pytest.mark.parametrize(
        ("made", "seen", "words"),
        [
            (ledger(call(), planned=2), 1, "calls begun: 2, recorded: 1"),
            (ledger(call(), sent=2), 2, "requests sent: 2, recorded: 1"),
            (ledger(call()), 2, "requests sent: 1, seen by the server: 2"),
            (ledger(call(), call()), 1, "requests sent: 2, seen by the server: 1"),
            (ledger(call(), unsent=3), 1, "calls planned: 4, not sent: 3"),
        ],
    )
    def test_any_difference_is_told_and_fails(self, made, seen, words):
        found = reconcile(made, seen)
        assert not found["ok"]
        assert found["differences"] == [words]

    def test_what_found_no_connection_could_not_be_seen(self):
        refused = Attempted(at=0.0, what="ConnectionFailed", phase="connect")
        made = ledger(call(outcome="failed", attempts=[refused]), call())
        assert reconcile(made, 1)["ok"]
        assert reconcile(made, 2)["differences"] == ["requests sent: 2 (1 found no connection), seen by the server: 2"]

    def test_where_nobody_can_say_what_was_seen_the_other_counts_still_must_agree(self):
        assert reconcile(ledger(call()), None)["ok"]
        assert not reconcile(ledger(call(), sent=5), None)["ok"]


class TestServerCount:
    @pytest.mark.parametrize("journal", [0, 2, 1000])
    def test_it_is_exact_however_much_the_journal_remembers(self, journal):
        with MockServer(journal=journal) as server:
            mine, other = server.default_account, server.account()
            with Client.from_env(mine.env()) as client:
                client.chat("before")
                count = ServerCount(Control(server.url), mine.env())
                for _ in range(4):
                    client.chat("x")
            with Client.from_env(other.env()) as client:
                client.chat("not ours")
            assert count.seen() == 4


class TestNoMock:
    def test_another_server_is_told_of_and_its_counts_are_left_open(self):
        class Nothing(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_error(404)

            def log_message(self, *_):
                pass

        recorder = Recorder("this process", cpu=lambda: 0.0, now=lambda: 0.0)
        trust = Trust(recorder)
        with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            plan = Plan(scenario="qps", traffic=Traffic(host=f"http://127.0.0.1:{server.server_port}"))
            trust.begin(plan, counts=True, makes_load=True, environ={})
            server.shutdown()
        recorder.planned()
        recorder.sent()
        recorder.add(call())
        trust.stop()
        trust.finish(recorder.total, plan)
        found = trust.sections(recorder.total, plan)
        assert found["calibration"] is None
        assert (found["reconciliation"]["ok"], found["reconciliation"]["seen"]) == (True, None)
        assert "is no mock of qfkit" in found["notes"][0]


class TestCalibration:
    def test_a_late_server_is_not_held_against_the_tool(self):
        written = [0.0, 0.5, 0.9, 0.95]  # the head, and three pieces, as the server wrote them
        found = errors([0.503, 0.902, 0.956], written)
        assert found is not None
        first, gaps = found
        assert (first, gaps) == (pytest.approx(0.003), pytest.approx([0.001, 0.004]))

    def test_what_does_not_belong_together_is_not_compared(self):
        assert errors([0.1, 0.2], [0.0, 0.1]) is None
        assert errors([], [0.0]) is None

    def histograms(self, rest: float, load: float, streams: int = ENOUGH) -> dict[str, Histogram]:
        gaps = len(PIECES) - 1
        return {
            "rest ttft": Histogram([rest] * 6),
            "rest itl": Histogram([rest / 10] * 6 * gaps),
            "load ttft": Histogram([load] * streams),
            "load itl": Histogram([load / 10] * streams * gaps),
        }

    @pytest.mark.parametrize(
        ("rest", "load", "streams", "ok"),
        [
            (0.001, 0.004, True, True),
            (0.006, 0.001, True, False),
            (0.001, 0.006, True, False),
            (0.001, 0.006, False, True),
        ],
    )
    def test_the_line_is_five_milliseconds_at_the_median(self, rest, load, streams, ok):
        """Under a load without streams, the error in TTFT and ITL is in no figure: shown, and not judged."""
        found = section(self.histograms(rest, load), streams=streams)
        assert found is not None
        assert found["ok"] is ok
        assert found["at_load"]["ttft_p50_error_ms"] == load * 1000
        assert bool(notes(found)) is (load > 0.005 and not streams)

    def test_one_stream_is_no_median(self):
        found = section(self.histograms(0.001, 0.5, streams=1), streams=True)
        assert found is not None
        assert found["ok"]

    def test_nothing_measured(self):
        assert section({}, streams=True) is None


class TestVariants:
    def stream(self, contents, empties=(), tokens=None) -> Sample:
        return call(
            kind="stream",
            headers=0.01,
            contents=list(contents),
            empties=list(empties),
            output_tokens=tokens,
            ttft=contents[0] if contents else None,
        )

    def test_each_tool_by_its_own_definition(self):
        sample = self.stream([0.2, 0.3, 0.5], [0.05, 0.6], tokens=11)
        found = {name: variant.of(sample) for name, variant in VARIANTS.items()}
        assert found == {
            "ttft (vLLM)": [0.05],
            "itl (vLLM)": pytest.approx([0.15, 0.1, 0.2, 0.1]),
            "tpot (vLLM)": [pytest.approx(0.55 / 10)],
            "itl (GenAI-Perf)": [pytest.approx(0.3 / 10)],
            "itl (LLMPerf)": [pytest.approx(0.5 / 11)],
            "ttft (Qianfan SDK)": [0.01],
        }

    @given(st.lists(moments, min_size=2, max_size=20, unique=True).map(sorted))
    def test_where_each_chunk_is_a_token_and_none_is_empty_the_words_mean_the_same(self, contents):
        sample = self.stream(contents, tokens=len(contents))
        of = {name: variant.of(sample) for name, variant in VARIANTS.items()}
        assert of["ttft (vLLM)"] == [sample.ttft]
        assert of["itl (vLLM)"] == sample.itl
        assert of["tpot (vLLM)"] == of["itl (GenAI-Perf)"] == [pytest.approx(sample.tpot)]

    def test_without_tokens_there_is_no_figure_by_tokens(self):
        sample = self.stream([0.2, 0.3])
        assert [VARIANTS[name].of(sample) for name in ("tpot (vLLM)", "itl (GenAI-Perf)", "itl (LLMPerf)")] == [
            [],
            [],
            [],
        ]

    def test_they_are_in_the_report_of_streams_with_content(self):
        tally = ledger(self.stream([0.2, 0.4], tokens=2), self.stream([], [0.1])).tallies["qps"]
        assert {name: it.count for name, it in tally.variants.items()} == dict.fromkeys(VARIANTS, 1)


class TestTimeline:
    @given(st.lists(moments, max_size=60), st.lists(moments, max_size=60), st.integers(1, 30))
    def test_any_split_adds_up_to_the_same(self, left, right, limit):
        parts = []
        for times in (left, right, left + right):
            timeline = Timeline(limit)
            for moment in times:
                timeline.at(moment).sent += 1
                timeline.at(moment).latency.add(moment)
            parts.append(timeline)
        parts[0].merge(parts[1])
        assert parts[0] == parts[2]
        assert Timeline.from_dict(parts[0].to_dict(), limit) == parts[2]

    @given(st.lists(moments, min_size=1), st.integers(1, 30))
    def test_hours_take_no_more_room_than_minutes_and_nothing_is_lost(self, times, limit):
        timeline = Timeline(limit)
        for moment in times:
            timeline.at(moment).sent += 1
        rows = list(timeline.rows())
        assert len(rows) <= limit
        assert sum(cell.sent for _, cell in rows) == len(times)
        assert all(later[0] - earlier[0] >= timeline.width for earlier, later in itertools.pairwise(rows))
        assert rows[0][0] <= min(times) < rows[0][0] + timeline.width

    def test_cells_are_seconds_until_they_must_be_wider(self):
        timeline = Timeline(limit=4)
        for moment in (8.0, 9.9, 11.0):
            timeline.at(moment).sent += 1
        assert (timeline.width, [moment for moment, _ in timeline.rows()]) == (1, [8, 9, 11])
        timeline.at(12.0).sent += 1
        assert (timeline.width, [(moment, cell.sent) for moment, cell in timeline.rows()]) == (
            2,
            [(8, 2), (10, 1), (12, 1)],
        )
