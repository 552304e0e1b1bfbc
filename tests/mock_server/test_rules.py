from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import requests
from rules_helpers import PATHS, V2, ask, question

from mock_server.answers.source import SourceError
from mock_server.core import Later, begin, handle
from mock_server.faults.options import rows
from mock_server.handle import AccountHandle
from mock_server.matching import Matcher, Question
from mock_server.scenario import Answer, Failure, Taken, rule_of
from mock_server.server import MockServer
from mock_server.settings import Settings
from mock_server.state import State
from qfkit.protocol.http import HttpRequest


def mocked(**settings) -> tuple[State, AccountHandle]:
    state = State(Settings(auth="off", quota="none", **settings))
    return state, AccountHandle(state.default_account, state, "http://mock")


def said(state: State, request: HttpRequest | None = None) -> str | int:
    """What is answered: the text, or the status of an error."""
    reply = handle(request or ask(), state)
    data = msgspec.json.decode(reply.content)
    return data["choices"][0]["message"]["content"] if reply.status == 200 else reply.status


# Order


def test_the_highest_priority_answers_then_the_oldest():
    state, account = mocked()
    account.on().reply("second")
    account.on().reply("third")
    account.on(priority=1).reply("first", times=1)
    assert [said(state) for _ in range(3)] == ["first", "second", "second"]
    assert [rule.name for rule in account.rules] == ["rule 3", "rule 1", "rule 2"]


def test_rules_go_before_the_script_and_the_script_before_the_default():
    state, account = mocked()
    account.reply("queued")
    account.on(contains="天气").reply("晴")
    assert said(state, ask("天气")) == "晴"
    assert said(state) == "queued"
    assert account.requests[-1].rule is None
    assert said(state) not in {"晴", "queued"}
    assert account.requests[-1].answered_by == "default"


def test_the_last_step_of_a_rule_stays_unless_it_is_counted():
    state, account = mocked()
    account.on(contains="a").fail(500, times=2).then.reply("ok")
    account.on(contains="b").reply("once", times=1)
    account.reply("queued")
    assert [said(state, ask("a")) for _ in range(4)] == [500, 500, "ok", "ok"]
    assert [said(state, ask("b")) for _ in range(2)] == ["once", "queued"]


def test_a_step_that_is_added_ends_the_stay_of_the_last():
    state, account = mocked()
    rule = account.on().reply("a")
    assert [said(state) for _ in range(3)] == ["a"] * 3
    rule.reply("b")
    assert [said(state) for _ in range(2)] == ["b"] * 2


def test_a_rule_without_steps_takes_no_part_and_one_can_be_removed():
    state, account = mocked()
    account.on()
    rule = account.on().reply("a")
    assert said(state) == "a"
    rule.remove()
    rule.remove()
    assert said(state) != "a"


def test_the_journal_names_the_rule_and_the_handle_its_requests():
    state, account = mocked()
    account.on(model="ernie-4.0-8k")
    rule = account.on(model="ernie-3.5-8k", contains="天气").reply("晴", times=3)
    said(state, ask("天气"))
    said(state)
    entry = account.requests[0]
    assert entry.answered_by == "rule 2 on(model='ernie-3.5-8k', contains='天气'): reply '晴' (1 of 3)"
    assert entry.rule == "rule 2"
    assert [each.number for each in rule.requests] == [entry.number]
    assert rule.times_met == 1
    assert repr(rule) == "<rule 2 on(model='ernie-3.5-8k', contains='天气'): met 1 times>"


# States, loops, counters


def test_states_lead_from_rule_to_rule():
    state, account = mocked()
    account.on(state="start").reply("up").enter("down")
    account.on(state="down").fail(503, times=2, enter="start").then.loop()
    assert [said(state) for _ in range(7)] == ["up", 503, 503, "up", 503, 503, "up"]
    account.state = "elsewhere"
    assert account.state == "elsewhere"
    assert said(state) not in {"up", 503}


def test_the_plain_script_enters_states_and_loops_too():
    state, account = mocked()
    account.reply("a").reply("b", enter="done").loop(2)
    account.on(state="done").reply("done", times=1).enter("again")
    assert [said(state) for _ in range(5)] == ["a", "b", "done", "a", "b"]
    assert account.state == "done"


def test_nth_call_and_nth_attempt():
    state, account = mocked()
    account.on(call=2).fail(500)
    account.on(call=[3, 4]).fail(503)
    answers = [said(state) for _ in range(5)]
    assert [each for each in answers if isinstance(each, int)] == answers[1:4] == [500, 503, 503]
    account.reset()
    account.on(attempt=1).fail(500)
    account.on(attempt=2).reply("second time")
    wanted = [("a", 500), ("b", 500), ("a", "second time"), ("b", "second time")]
    assert [(text, said(state, ask(text))) for text, _ in wanted] == wanted
    assert said(state, ask("c", headers={"x-stainless-retry-count": "1"})) == "second time"


def test_reset_forgets_rules_state_and_counts():
    state, account = mocked()
    account.on(call=1).reply("a", enter="x")
    assert said(state) == "a"
    account.reset()
    assert (account.state, account.rules, account.waiting) == ("start", (), [])
    account.on(call=1).reply("b")
    assert said(state) == "b"
    assert account.rules[0].name == "rule 1"


def test_what_waits_and_what_was_never_met():
    state, account = mocked()
    account.fail(18, times=3).then.reply("好")
    account.on(contains="天气").reply("晴")
    rule = "rule 1 on(contains='天气'): reply '晴'"
    assert account.waiting == ["fail 18 x3", "reply '好' x1", f"{rule} for ever"]
    said(state)
    said(state, ask("天气"))
    assert account.waiting == ["fail 18 x2", "reply '好' x1"]
    assert account.unmet == ["reply '好'"]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda account: account.loop(), "steps before it, and there are none"),
        (lambda account: account.reply("a").loop(0), "whole number from 1"),
        (lambda account: account.reply("a", times="always"), "or 'forever'"),
        (lambda account: account.reply("a", times="forever").reply("b"), "no request could ever meet \"reply 'b'\""),
        (lambda account: account.reply("a").loop().fail(18), "before it goes on for ever"),
        (lambda account: account.enter("x"), "belongs behind a step"),
        (lambda account: account.reply("a").enter(""), "a state is a name"),
        (lambda account: account.reply("a").loop(2).enter("x"), "belongs behind a step"),
        (lambda account: account.on(priority="high"), "priority is a whole number"),
        (lambda account: account.on(contain="x"), "did you mean 'contains'"),
        (lambda account: setattr(account, "strict", "yes"), "strict is True or False"),
        (lambda account: setattr(account, "state", None), "a state is a name"),
    ],
)
def test_a_mistake_is_told_where_it_is_written(write, words):
    with pytest.raises(ValueError, match=words):
        write(mocked()[1])


# Near misses and strict


def test_the_journal_shows_the_three_nearest_rules():
    state, account = mocked()
    account.on(model="ernie-4.0-8k", contains="你好").reply("a")
    account.on(model="ernie-4.0-8k", contains="天气").reply("b")
    account.on(contains="你好").reply("c", times=1)
    account.on(dialect="v1", stream=True, contains="雨").reply("d")
    assert said(state) == "c"
    assert account.requests[-1].near_misses == ()
    said(state)
    entry = account.requests[-1]
    assert entry.answered_by == "default"
    assert entry.near_misses == (
        (
            "rule 1 on(model='ernie-4.0-8k', contains='你好') missed: model: wanted 'ernie-4.0-8k', got 'ernie-3.5-8k' "
            '(first difference at "ernie-|3|.5-8k")'
        ),
        "rule 3 on(contains='你好') missed: steps: wanted 'one that is left', got 'all used up'",
        (
            "rule 2 on(model='ernie-4.0-8k', contains='天气') missed: model: wanted 'ernie-4.0-8k', got 'ernie-3.5-8k' "
            "(first difference at \"ernie-|3|.5-8k\"); contains: wanted '天气', got '你好'"
        ),
    )
    assert entry.diagnosis == entry.near_misses[0]


def test_a_state_and_a_call_that_is_over_are_near():
    state, account = mocked()
    account.on(call=1, contains="你好").reply("a")
    account.on(state="down", contains="你好").reply("b")
    assert said(state) == "a"
    said(state)
    assert account.requests[-1].near_misses == (
        "rule 1 on(call=1, contains='你好') missed: call: wanted 1, got 2",
        "rule 2 on(state='down', contains='你好') missed: state: wanted 'down', got 'start'",
    )


@pytest.mark.parametrize("dialect", PATHS)
def test_strict_refuses_in_the_dialects_own_form(dialect):
    state, account = mocked(unmatched="refuse")
    assert account.strict
    account.on(contains="天气").reply("晴")
    account.reply("queued")
    request = ask(path=PATHS[dialect])
    assert handle(request, state).status == 200
    reply = handle(request, state)
    entry = account.requests[-1]
    assert (reply.status, entry.answered_by, len(entry.near_misses)) == (400, "strict", 1)
    assert entry.error_code == {"v1": 336003, "v2": "invalid_argument", "text_generation": 400}[dialect]
    text = reply.content.decode()
    assert "the nearest is rule 1 on(contains='天气') missed" in text
    assert "unmatched: answer" in text
    account.strict = False
    assert handle(request, state).status == 200


def test_strict_without_rules_says_so():
    state, account = mocked()
    account.strict = True
    assert said(state) == 400
    assert "there are no rules" in str(account.requests[-1].error_message)
    assert account.requests[-1].near_misses == ()


# Chaos


def test_chaos_goes_before_rules():
    state, account = mocked()
    account.on().reply("a")
    strikes = iter([None, Taken(Failure(code=503), "chaos: fail 503")])
    state.default_account.scenario.chaos = SimpleNamespace(strike=lambda question: next(strikes))
    assert [said(state) for _ in range(2)] == ["a", 503]
    assert account.requests[-1].answered_by == "chaos: fail 503"


# Callables


def test_a_predicate_is_left_for_later_and_answers_there():
    state, account = mocked()
    threads = []
    account.on(where=lambda asked: threads.append(threading.current_thread().name) or asked.text == "天气").reply("晴")
    begun = begin(ask("天气"), state)
    assert isinstance(begun, Later)
    assert threads == []
    assert msgspec.json.decode(begun.run().content)["choices"][0]["message"]["content"] == "晴"
    assert said(state, ask("天气")) == "晴"


@pytest.mark.parametrize("dialect", PATHS)
def test_a_predicate_that_raises_is_the_services_error_and_the_journal_says_where(dialect):
    state, account = mocked()

    def broken(asked):
        return asked.json["no such member"]

    account.on(where=broken).reply("a")
    assert handle(ask(path=PATHS[dialect]), state).status == 500
    entry = account.requests[-1]
    assert entry.answered_by == "script"
    assert entry.diagnosis.startswith("broken raised KeyError: 'no such member' (at test_rules.py:")


class Told:
    """A step whose answer takes code of the user's."""

    source, blocking = object(), True

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def describe(self) -> str:
        return "told"

    def apply(self, ordinary):
        if self.error:
            raise self.error
        return ordinary("later")


def test_a_step_that_takes_code_of_the_users_is_left_for_later_though_taken_at_once():
    state, account = mocked()
    script = state.default_account.scenario.script
    script.add(Told())
    script.add(Failure(code=503))
    begun = begin(ask(), state)
    assert isinstance(begun, Later)
    assert said(state) == 503, "the first step was taken when its request came"
    assert msgspec.json.decode(begun.run().content)["choices"][0]["message"]["content"] == "later"
    assert [entry.answered_by for entry in account.requests] == ["told", "fail 503"]
    assert state.default_account.scenario.attempts(ask()) == 3, "who looks at the question may ask for the attempt"


def test_a_source_that_has_nothing_to_say_is_the_services_error():
    state, account = mocked()
    state.default_account.scenario.script.add(Told(SourceError("corpus.txt: cannot be read")))
    assert said(state) == 500
    assert account.requests[0].diagnosis == "corpus.txt: cannot be read"
    assert account.requests[0].answered_by == "told"


def test_a_predicate_does_not_hold_up_other_requests():
    here, go_on = threading.Event(), threading.Event()
    with MockServer(auth="off", quota="none") as server, ThreadPoolExecutor(1) as pool:
        account = server.default_account
        account.on(where=lambda asked: "slow" in asked.text and (here.set() or go_on.wait(30))).reply("slow")
        other = server.account()
        other.reply("quick")

        def post(text, key):
            request = ask(text)
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            found = requests.post(server.url + V2, data=request.body, headers=headers, timeout=30)
            return found.json()["choices"][0]["message"]["content"]

        slow = pool.submit(post, "slow", account.credentials.bearer_token)
        assert here.wait(30)
        assert post("quick", other.credentials.bearer_token) == "quick"
        assert not slow.done()
        go_on.set()
        assert slow.result(30) == "slow"


# Concurrency


def together(threads: int, work, each: int = 1) -> list:
    barrier = threading.Barrier(threads)

    def run(_):
        barrier.wait()
        return [work() for _ in range(each)]

    with ThreadPoolExecutor(threads) as pool:
        return [found for batch in pool.map(run, range(threads)) for found in batch]


@pytest.mark.parametrize("where", [False, True])
def test_64_threads_fail_exactly_as_often_as_scripted(where):
    state, account = mocked()
    matchers = {"where": lambda asked: True} if where else {"contains": "你好"}
    rule = account.on(**matchers).fail(503, times=100, enter="down").then.reply("ok", times=50)
    account.on(state="down", priority=-1).reply("down", times=7)
    account.reply("queued", times=20)
    found = Counter(together(64, lambda: said(state), each=5))
    assert (found[503], found["ok"], found["down"], found["queued"]) == (100, 50, 7, 20)
    assert rule.times_met == 150
    assert account.waiting == []


def test_64_threads_meet_the_nth_call_once_and_each_round_of_a_loop_whole():
    state, account = mocked()
    account.on(call=[5, 50]).fail(418)
    account.on().fail(500, times=3).then.reply("ok").loop()
    found = Counter(together(64, lambda: said(state), each=5))
    assert found == {418: 2, 500: 239, "ok": 79}


def test_attempts_and_numbers_are_each_given_out_once():
    state, _account = mocked()
    scenario = state.default_account.scenario
    seen = together(64, lambda: (scenario.number(), scenario.attempts(ask())), each=4)
    assert sorted(number for number, _ in seen) == sorted(attempt for _, attempt in seen) == list(range(1, 257))


def test_64_threads_fail_exactly_as_often_as_scripted_through_sockets():
    with MockServer(auth="off", quota="none") as server:
        rule = server.default_account.on(contains="你好").fail(503, times=50).then.reply("ok")
        body = ask().body

        def work():
            return requests.post(server.url + V2, data=body, timeout=60).status_code

        assert Counter(together(64, work, each=2)) == {503: 50, 200: 78}
        assert rule.times_met == 128


def test_what_is_remembered_of_attempts_is_bounded():
    scenario = mocked()[0].default_account.scenario
    for number in range(5000):
        scenario.attempts(ask(str(number)))
    assert len(scenario._seen) == 4096
    assert scenario.attempts(ask("4999")) == 2
    assert scenario.attempts(ask("0")) == 1


# As data


def test_a_rule_as_data_is_the_rule_as_written():
    state, account = mocked()
    rule = account.add_rule(
        {
            "on": {"contains": ["天气", "杭州"], "header": {"Authorization": "Bearer secret-token"}},
            "priority": 2,
            "script": [{"fail": 18, "times": 2}, {"reply": "晴", "enter": "told"}, {"loop": 2}],
        }
    )
    data = state.default_account.scenario.to_data()
    assert "secret-token" not in str(data)
    assert data["rules"][0] | {"on": None} == {
        "name": "rule 1",
        "on": None,
        "priority": 2,
        "script": ["fail 18 x2", "reply '晴' x1, then 'told'", "loop 2"],
        "waiting": ["fail 18 x2", "reply '晴' x1", "loop x1"],
        "met": 0,
    }
    assert msgspec.json.decode(msgspec.json.encode(data)) == data
    request = ask("杭州天气", headers={"Authorization": "Bearer secret-token"})
    assert [said(state, request) for _ in range(6)] == [429, 429, "晴", 429, 429, "晴"]
    assert account.state == "told"
    assert rule.times_met == 6


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"onn": {}}, "unknown field `onn` - at `$.rules[0]"),
        ({"on": {"contain": "x"}}, "did you mean 'contains'? - at `$.rules[0].on.contain`"),
        (
            {"on": {"call": 0}},
            "call is a whole number from 1, or a list of such numbers; got 0 - at `$.rules[0].on.call`",
        ),
        (
            {"on": {"where": "x"}},
            "a Python function, which data cannot hold: use on(where=...) - at `$.rules[0].on.where`",
        ),
        ({"on": []}, "Expected `object`, got `array` - at `$.rules[0].on`"),
        ({"priority": "x"}, "Expected `int`, got `str` - at `$.rules[0].priority`"),
        ({"script": [{"fial": 18}]}, "$.rules[0].script[0]"),
        ({"script": [{"loop": 2}]}, "there are none: write it after them - at `$.rules[0].script`"),
    ],
    ids=str,
)
def test_a_rule_that_is_none_says_where(data, words):
    with pytest.raises(msgspec.ValidationError) as caught:
        rule_of(data, "$.rules[0]")
    assert words in str(caught.value)


def test_settings_bring_rules_and_strictness():
    account = {"strict": True, "rules": [{"on": {"contains": "天气"}, "script": [{"reply": "晴"}]}]}
    with MockServer(auth="off", accounts=[account]) as server:
        assert said(server.state, ask("天气")) == "晴"
        assert said(server.state) == 400


def test_a_question_is_built_only_where_somebody_looks_at_it():
    state, account = mocked()
    scenario = state.default_account.scenario
    account.reply("a").fail(18)
    assert scenario.plain
    account.on()
    assert not scenario.plain
    account.reset()
    assert scenario.plain
    assert isinstance(scenario.take(question()).action, Answer)


def test_every_matcher_is_documented_as_it_is():
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")
    for name, says, _, doc in rows(Matcher):
        assert f"| `{name}` | {says.removesuffix(', or None')} | {doc} |\n" in page
    told = page.partition("given a `Question`:")[2].partition(". It is asked last")[0]
    given = {name for name, kind in vars(Question).items() if isinstance(kind, property)} - {"known_model"}
    missing = [name for name in given | set(signature(Question).parameters) if f"`{name}`" not in told]
    assert sorted(missing) == ["asked", "attempts", "request", "route"], "what it is made of is not its face"
