"""What the scenarios backoff and outage play on a mock, with a clock of the test's own."""

from __future__ import annotations

from contextlib import suppress

import pytest

from loadtests.planning.play import Play
from loadtests.planning.spelling import PlanError
from loadtests.playing.control import Control, ControlFailed
from loadtests.playing.plays import Stage, unseen
from loadtests.playing.served import tagged
from mock_server import MockServer
from qfkit import Client, QianfanError, RetryPolicy


@pytest.fixture(scope="module")
def server():
    with MockServer(seed=3, quota="none") as server:
        yield server


def staged(server, name, play, *, asks=lambda now: None, run_time=10.0):
    """A stage whose clock moves by its own waits; ``asks`` is called at each of its halts."""
    now = [0.0]

    def sleep(seconds):
        asks(now[0])
        now[0] += seconds

    return Stage(name, play, "v2", Control(server.url), run_time=run_time, sleep=sleep, now=lambda: now[0])


def ask(stage, *questions, attempts=1):
    policy = RetryPolicy(attempts=attempts, base=0.001)
    with Client.from_env(stage.environ, dialect="v2", retry=policy) as client:
        for question in questions:
            with suppress(QianfanError):
                client.chat(question)


def test_a_quota_is_played_to_an_account_of_its_own(server):
    somebody = server.account()
    stage = staged(server, "backoff", Play(quota="rpm=2", schedule="openai"))
    stage.prepare()
    stage.run()
    ask(stage, *(tagged("q", str(number)) for number in range(4)))
    found = stage.section()
    assert found["quota"] == {"rpm": 2}
    assert (found["offered"]["calls"], found["admitted"]["count"], found["refused"]) == (4, 2, 2)
    assert (found["requests"], found["forgotten"], found["client"]) == (4, 0, "qfkit")
    assert found["verdict"]["schedule"]["declared"].startswith("openai")
    assert "calls" not in found["verdict"]
    assert not somebody.requests


def test_what_was_followed_is_counted_once(server):
    stage = staged(server, "backoff", Play())
    stage.prepare()
    ask(stage, "a", "b")
    stage.follow()
    ask(stage, "c")
    stage.follow()
    assert stage.section()["offered"]["calls"] == 3


def test_what_the_journal_forgot_before_it_was_read_is_told():
    with MockServer(seed=3, journal=5, quota="none") as small:
        stage = staged(small, "backoff", Play())
        stage.prepare()
        ask(stage, *"abcd")
        stage.follow()
        ask(stage, *"efghijkl")
        found = stage.section()
    assert (found["requests"], found["forgotten"]) == (9, 3)
    assert found["lines"][-1].startswith("3 requests had no room in the mock's journal and are missing here")


def test_a_mock_that_cannot_judge_a_schedule_judges_the_rest(server, monkeypatch):
    def missing(*_, **__):
        raise ImportError("waits are judged with scipy: pip install 'qfkit[grading]'")

    stage = staged(server, "backoff", Play(schedule="openai"))
    stage.prepare()
    ask(stage, "a")
    monkeypatch.setattr("qfkit.grading.report.judge", missing)
    found = stage.section()
    assert (found["verdict"]["ok"], found["verdict"]["schedule"]) == (True, None)
    assert found["lines"][-1].startswith("the waits were not held against openai: waits are judged with scipy")


def test_the_outage_begins_and_ends_in_time(server):
    seen = []

    def asks(now):
        seen.append(now)
        ask(stage, f"at {now:g}")

    stage = staged(server, "outage", Play(fault="503", fault_at="3s", fault_for="2s"), asks=asks)
    stage.prepare()
    ask(stage, "before")
    stage.run()
    ask(stage, "after")
    found = stage.section()
    assert seen == [0.0, 3.0]
    assert found["fault"] == {"fail": 503, "times": "forever"}
    assert found["struck"]["calls"] == 1
    assert found["struck"]["given_up"] == 1
    assert found["wasted_attempts"] == 1
    assert found["seconds"] > 0


def test_a_run_that_ends_before_the_fault_does_says_so(server):
    stage = staged(server, "outage", Play())
    stage.prepare()
    assert stage.section()["why"] == "the run ended before the fault did: make it longer"


@pytest.mark.parametrize(
    ("dialect", "fault", "step"),
    [
        ("v1", "error", {"fail": 336100}),
        ("v2", "error", {"fail": "internal_error"}),
        ("text_generation", "error", {"fail": 500}),
        ("v2", "429", {"fail": 429}),
        ("v2", "rpm_rate_limit_exceeded", {"fail": "rpm_rate_limit_exceeded"}),
        ("v2", "reset", {"fault": "reset"}),
        ("v2", "hang", {"fault": "hang", "open_for": 4.0}),
    ],
)
def test_faults(server, dialect, fault, step):
    play = Play(fault=fault)
    assert play.step(dialect, 4.0) == {**step, "times": "forever"}
    stage = staged(server, "outage", play)
    stage.prepare()  # and the mock takes it


def test_without_a_word_the_fault_is_in_the_middle():
    assert Play().window(100.0) == (30.0, 50.0)


@pytest.mark.parametrize(
    ("play", "words"),
    [
        (Play(quota="qpm=5"), "--quota knows no 'qpm': choose among qps, rpm"),
        (Play(quota="qps=0"), "qps is a whole number from 1, such as qps=5"),
        (Play(quota="qps"), "qps is a whole number from 1"),
        (Play(schedule="opnai"), "--schedule: there is no schedule 'opnai'; did you mean 'openai'"),
    ],
)
def test_a_backoff_that_cannot_be_played(play, words):
    with pytest.raises(PlanError, match=words):
        play.check("backoff", "v2", 10.0)


@pytest.mark.parametrize(
    ("play", "words"),
    [
        (Play(fault="rset"), "--fault knows no 'rset': it is error, a code such as"),
        (Play(fault_at="8s", fault_for="2s"), "the fault would last until 10 s, and the run 10 s"),
        (Play(fault_at="soon"), "is no time span"),
    ],
)
def test_an_outage_that_cannot_be_played(play, words):
    with pytest.raises(PlanError, match=words):
        play.check("outage", "v2", 10.0)


def test_a_code_that_there_is_not_is_told_by_the_mock(server):
    with pytest.raises(ControlFailed, match="424242"):
        staged(server, "outage", Play(fault="424242")).prepare()


#: Counts of a run by a client of somebody's own, of whose twelve requests two were seen as they left.
SOME = {
    "planned": 10,
    "unsent": 0,
    "calls": 10,
    "sent": 2,
    "recorded": 2,
    "seen": 12,
    "ok": False,
    "differences": ["x"],
}


class TestUnseen:
    def test_what_the_mock_alone_saw_is_no_loss(self):
        found, note = unseen(SOME)
        assert (found["ok"], found["differences"]) == (True, [])
        assert note.startswith("10 requests of the client were seen by the mock alone")

    @pytest.mark.parametrize(
        "change",
        [{"seen": 1}, {"recorded": 1}, {"calls": 9}, {"unsent": 1}, {"seen": None}, {"seen": 2}],
    )
    def test_anything_else_is(self, change):
        assert unseen(SOME | change) == (SOME | change, None)

    def test_what_is_right_stays_so(self):
        right = SOME | {"seen": 2, "ok": True, "differences": []}
        assert unseen(right) == (right, None)
