"""A script against the plainest model there is: the list of what it should give, written out."""

from __future__ import annotations

from itertools import islice

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from rules_helpers import question

from mock_server.matching import Matcher
from mock_server.scenario import Failure, Rule, Scenario

STATES = ("start", "up", "down")
TIMES = st.none() | st.integers(1, 4) | st.just("forever")


class Model:
    """Steps as a tree of what was written: unrolled anew for every request, and met ones skipped."""

    def __init__(self, *, last_stays: bool) -> None:
        self.last_stays = last_stays
        self.steps: list[tuple] = []
        self.given = 0

    def unrolled(self, upto=None):
        """(name, state to enter) of each request in turn, for ever if need be."""
        steps = self.steps if upto is None else self.steps[:upto]
        loops = [index for index, step in enumerate(steps) if step[0] == "loop"]
        start = 0
        if loops:
            last = loops[-1]
            rounds = steps[last][1]
            played = 0
            while rounds == "forever" or played < rounds:
                yield from self.unrolled(last)
                played += 1
            start = last + 1
        for index in range(start, len(steps)):
            _, name, times, enter = steps[index]
            stays = times == "forever" or (times is None and self.last_stays and index == len(self.steps) - 1)
            while stays:
                yield name, enter
            for turn in range(times or 1):
                yield name, enter if turn == (times or 1) - 1 else None

    def take(self):
        found = next(islice(self.unrolled(), self.given, None), None)
        if found is not None:
            self.given += 1
        return found

    @property
    def endless(self) -> bool:
        return any(
            (step[0] == "loop" and step[1] == "forever") or (step[0] == "step" and step[2] == "forever")
            for step in self.steps
        )


class ScriptMachine(RuleBasedStateMachine):
    """One rule that is always asked, one for the state ``down`` above it, and the plain script behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.scenario = Scenario()
        self.rule = self.scenario.add(Rule(Matcher.of({}, "on()")))
        self.down = self.scenario.add(Rule(Matcher.of({"state": "down"}, "on()"), priority=1))
        self.scripts = {"rule": self.rule.script, "down": self.down.script, "plain": self.scenario.script}
        self.models = {name: Model(last_stays=name != "plain") for name in self.scripts}
        self.state = "start"
        self.codes = iter(range(400, 600))

    where = st.sampled_from(["rule", "down", "plain"])

    @rule(where=where, times=TIMES, enter=st.none() | st.sampled_from(STATES))
    def add(self, where, times, enter):
        model, code = self.models[where], next(self.codes, None)
        if code is None or model.endless:
            return
        if not model.last_stays or not self.stays_now(model):
            self.scripts[where].add(Failure(code=code), times, enter)
            model.steps.append(("step", code, times, enter))

    def stays_now(self, model) -> bool:
        """Its last step was met more often than once because it was the last: what follows is no longer a list."""
        last = model.steps[-1] if model.steps else None
        return bool(last and last[0] == "step" and last[2] is None and model.given)

    @rule(where=where, times=st.integers(1, 3) | st.just("forever"))
    def loop(self, where, times):
        model = self.models[where]
        if model.steps and not model.endless and not self.stays_now(model):
            self.scripts[where].loop(times)
            model.steps.append(("loop", times))

    @rule(where=where, rounds=st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3)), min_size=2, max_size=3))
    def add_loops(self, where, rounds):
        for times, played in rounds:
            self.add(where, times, None)
            self.loop(where, played)

    @rule(state=st.sampled_from(STATES))
    def enter(self, state):
        self.scenario.state = self.state = state

    @rule(requests=st.integers(1, 12))
    @precondition(lambda self: any(model.steps for model in self.models.values()))
    def take(self, requests):
        for _ in range(requests):
            self.take_one()

    def take_one(self):
        names = ["down", "rule", "plain"] if self.state == "down" else ["rule", "plain"]
        wanted = next((found for name in names if (found := self.models[name].take())), None)
        taken = self.scenario.take(question(state=self.scenario.state))
        if wanted is None:
            assert taken.name == "default"
            return
        code, enter = wanted
        assert taken.action == Failure(code=code)
        assert taken.enter == enter
        self.state = enter or self.state

    @invariant()
    def what_was_met_is_counted(self):
        assert self.scenario.state == self.state
        for name, script in self.scripts.items():
            assert script.met == self.models[name].given

    @invariant()
    def what_waits_is_what_the_model_would_give(self):
        for name, script in self.scripts.items():
            model = self.models[name]
            if next(islice(model.unrolled(), model.given, None), None) is None:
                assert script.waiting() == []
            elif not model.given:
                assert script.waiting()


ScriptMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
test_a_script_gives_what_it_was_written_to_give = ScriptMachine.TestCase
