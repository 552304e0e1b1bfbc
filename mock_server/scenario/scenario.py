"""What an account's requests will meet: chaos, then rules, then the plain script, then the default or a refusal.

Exact under concurrency: whatever depends on what came before (steps, states, counters) is looked at and changed under
one lock. What may take its time, a rule's predicate, is asked before, without it; so the lock is never held for long.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import blake2b
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from mock_server.matching import Question
from mock_server.scenario.rules import Rule
from mock_server.scenario.script import UNSCRIPTED, Script, Taken, Waiting, state_name
from mock_server.scenario.steps import Failure

if TYPE_CHECKING:
    from qfkit.protocol.http import HttpRequest

#: The state that every scenario starts in.
START = "start"

#: What the journal says answered where a strict account refused.
REFUSED = "strict"

#: Different requests of which an account remembers how often they came.
REMEMBERED = 4096

#: Near misses that are told of one request.
NEAREST = 3


class Chaos(Protocol):
    """Whatever breaks requests at random."""

    def describe(self) -> str:
        """As it would be written in a call."""

    def strike(self, question: Question) -> Taken | None:
        """What becomes of this request; None lets it pass."""


class Scenario:
    """All that an account's requests meet. Safe for any number of threads.

    Args:
        strict: a request that no rule and no step wants is refused, instead of answered with something made up.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._lock = threading.Lock()
        self.script = Script(self._lock)
        self._rules: tuple[Rule, ...] = ()
        self._numbers = count(1)
        self._added = 0
        self._state = START
        self._strict = strict
        self._chaos: Chaos | None = None
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._counts = False
        #: Taking may call a function that takes its time.
        self.blocking = False
        self._plain = not strict

    # Writing

    def add(self, rule: Rule) -> Rule:
        """Put a rule among the others: by priority, then by age."""
        with self._lock:
            self._added += 1
            number = self._added
        rule.attach(self._lock, number)
        with self._lock:
            self._rules = tuple(sorted((*self._rules, rule), key=lambda each: (-each.priority, each.number)))
            self._look()
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule away; one that is gone already is fine."""
        with self._lock:
            self._rules = tuple(each for each in self._rules if each is not rule)
            self._look()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in the order in which they are asked."""
        return self._rules

    @property
    def strict(self) -> bool:
        """Whether a request that nothing wants is refused."""
        return self._strict

    @strict.setter
    def strict(self, strict: bool) -> None:
        if type(strict) is not bool:
            raise ValueError(f"strict is True or False; got {strict!r}")
        with self._lock:
            self._strict = strict
            self._look()

    @property
    def chaos(self) -> Chaos | None:
        """What breaks requests at random, before any rule; None for nothing."""
        return self._chaos

    @chaos.setter
    def chaos(self, chaos: Chaos | None) -> None:
        with self._lock:
            self._chaos = chaos
            self._look()

    @property
    def state(self) -> str:
        """The named state, `START` at first."""
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        state_name(state)
        with self._lock:
            self._state = state

    def _look(self) -> None:
        """What `take` has to look at follows from what there is; said once, not for every request."""
        self._plain = not self._rules and self._chaos is None and not self._strict
        self.blocking = any(rule.matcher.blocking for rule in self._rules)
        self._counts = any(rule.matcher.attempt is not None for rule in self._rules)

    # Taking

    @property
    def plain(self) -> bool:
        """Nothing looks at the question: `take_plain` will do."""
        return self._plain and not self.script.asks

    @property
    def counts_attempts(self) -> bool:
        """A rule or a step may ask how often the same came before, so every request has to be counted."""
        return self._counts or self.script.asks or any(rule.script.asks for rule in self._rules)

    def number(self) -> int:
        """The number of the next request, from 1; each is given out once."""
        return next(self._numbers)

    def attempts(self, request: HttpRequest) -> int:
        """How often this very path and body came, this time included; the latest `REMEMBERED` are remembered."""
        path = request.path.encode("utf-8", "surrogatepass")
        key = blake2b(b"%b\0%b" % (path, request.body), digest_size=16).digest()
        with self._lock:
            seen = self._seen.pop(key, 0) + 1
            self._seen[key] = seen
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            return seen

    def take_plain(self) -> Taken:
        """What a request meets when the scenario is `plain`."""
        with self._lock:
            taken = self.script.next()
            if taken is None:
                return UNSCRIPTED
            if taken.enter is not None:
                self._state = taken.enter
            return taken

    def take(self, question: Question) -> Taken:
        """What a request meets; takes the step and enters its state.

        Raises:
            CallableFailed: a rule's predicate did.
        """
        if (chaos := self._chaos) is not None and (struck := chaos.strike(question)) is not None:
            return struck
        rules = self._rules
        while True:
            fitting, sure = self._fitting(rules, question)
            with self._lock:
                if sure is not None and sure.script.over:
                    continue  # it was given a last step meanwhile, and others met it
                taken = self._first(fitting) or self.script.next()
                if taken is not None:
                    if taken.enter is not None:
                        self._state = taken.enter
                    return taken
                state, strict = self._state, self._strict
            return self._unwanted(question, rules, state, strict=strict)

    def _fitting(self, rules: tuple[Rule, ...], question: Question) -> tuple[list[Rule], Rule | None]:
        """The rules that fit but for what is looked at under the lock, as far as they matter; the one sure to answer.

        A rule that counts requests counts all that fit it, also those that a rule before it answers. The others need
        not be asked behind one that is sure to answer, nor when their steps are used up.
        """
        fitting: list[Rule] = []
        sure: Rule | None = None
        for rule in rules:
            if sure is not None and rule.matcher.call is None:
                continue
            if not rule.sure and rule.matcher.call is None:
                with self._lock:
                    if rule.script.over:
                        continue
            if rule.matcher.fits(question):
                fitting.append(rule)
                if sure is None and rule.sure:
                    sure = rule
        return fitting, sure

    def _first(self, fitting: list[Rule]) -> Taken | None:
        taken: Taken | None = None
        for rule in fitting:
            if rule.counted(self._state) and taken is None:
                taken = rule.next()
        return taken

    def _unwanted(self, question: Question, rules: tuple[Rule, ...], state: str, *, strict: bool) -> Taken:
        """The default answer or the refusal, with the rules that were nearest."""
        missed = sorted(((rule.missed(question, state), rule) for rule in rules), key=lambda pair: pair[0].distance)
        near = tuple(
            f"{rule} missed: {'; '.join(each.line() for each in match.mismatches)}" for match, rule in missed[:NEAREST]
        )
        if not strict:
            return Taken(UNSCRIPTED.action, UNSCRIPTED.name, near_misses=near)
        nearest = f"the nearest is {near[0]}" if near else "there are no rules"
        message = (
            f"qfkit strict mode: no rule and no step of the script wants this request; {nearest}. "
            "Add a rule with on(...) or a step with reply(...), or set strict = False (settings: unmatched: answer)"
        )
        return Taken(Failure(code=400, message=message), REFUSED, near_misses=near)

    # Reading

    def waiting(self) -> list[str]:
        """Steps that wait for a request, in words: the script's, then those of rules."""
        return [each.step for each in self.waiting_steps()]

    def waiting_steps(self) -> list[Waiting]:
        """As `waiting`, with where each was written."""
        rules = sorted(self._rules, key=attrgetter("number"))
        of_rules = ((rule, each) for rule in rules for each in rule.script.waiting_steps())
        return [
            *self.script.waiting_steps(),
            *(Waiting(f"{rule}: {each.step}", each.met, each.written_at) for rule, each in of_rules),
        ]

    def unmet(self) -> list[str]:
        """Steps that no request has met, in words: the script's, then those of rules."""
        rules = sorted(self._rules, key=attrgetter("number"))
        return [*self.script.unmet(), *(f"{rule}: {words}" for rule in rules for words in rule.script.unmet())]

    def clear(self) -> None:
        """Forget rules, steps, chaos, state and what was counted; strict stays as it is."""
        self.script.clear()
        with self._lock:
            self._rules = ()
            self._chaos = None
            self._state = START
            self._numbers = count(1)
            self._added = 0
            self._seen.clear()
            self._look()

    def to_data(self) -> dict[str, Any]:
        """All of it as JSON-ready data: rules in the order in which they are asked."""
        return {
            "state": self._state,
            "strict": self._strict,
            "chaos": self._chaos.describe() if self._chaos is not None else None,
            "rules": [rule.to_data() for rule in self._rules],
            "script": self.script.written(),
            "waiting": self.script.waiting(),
            "met": self.script.met,
        }
