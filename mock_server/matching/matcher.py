"""What a rule wants of a request, written as options: ``model="ernie-4.0-8k", contains="天气"``.

All options that are given must fit. Each becomes one condition or more; a condition says nothing when it fits, and a
`Mismatch` when not, so that a match and its reasons cannot disagree.

``call`` and ``state`` depend on what came before. They are looked at under the scenario's lock, the others outside
of it, since a predicate may take its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from mock_server.faults.options import Options, option
from mock_server.matching import rules
from mock_server.matching.calling import name_of
from mock_server.matching.conditions import Condition, build
from mock_server.matching.mismatch import Match, Mismatch
from mock_server.matching.question import Question

#: What ``where`` takes.
Predicate: TypeAlias = Callable[[Question], object]


@dataclass(frozen=True)
class Matcher(Options):
    """Which requests a rule is for; the default is all of them.

    Made with `of`, which refuses names and values that are none.
    """

    dialect: str | None = option(None, rules.DIALECT, "the API family")
    operation: str | None = option(None, rules.NAME, "`chat`, `completions`, `embeddings`, `rerank` and so on")
    endpoint: str | None = option(None, rules.NAME, "v1: the path below its prefix, such as `/chat/completions_pro`")
    model: str | None = option(None, rules.NAME, "the model asked for, in any letter case, by any of its names")
    contains: tuple[str, ...] | None = option(
        None,
        rules.TEXTS,
        "all of these are in what the user asked last, or in what `role` and `position` name",
    )
    regex: str | None = option(None, rules.REGEX, "is found there (`re.search`)")
    role: str | None = option(
        None, rules.NAME, "`contains` and `regex` look at the messages of this role; alone: there is such a message"
    )
    position: int | None = option(
        None, rules.POSITION, "they look at this message; alone, or with `role`: there is one there, of that role"
    )
    header: Mapping[str, str | None] | None = option(
        None,
        rules.HEADERS,
        "headers have these values; `/…/` is a regular expression, None: the header is absent",
    )
    json: Mapping[str, Any] | None = option(
        None, rules.JSON, "the body has these members, with equal values; of objects within, the members that are given"
    )
    stream: bool | None = option(None, rules.FLAG, "a stream is asked for, or is not")
    tools: bool | str | None = option(None, rules.TOOLS, "functions are declared, or none, or one of this name")
    attempt: tuple[int, ...] | None = option(
        None,
        rules.NUMBERS,
        "nth time this is asked: `x-stainless-retry-count` + 1 where the client sends it, else by equal path and body",
    )
    where: Predicate | None = option(  # noqa: RUF009 - as all of them, a field of a frozen dataclass
        None, rules.PREDICATE, "this function, called in a thread, finds the request true (Python only)"
    )
    state: str | None = option(None, rules.NAME, "the account is in this state; at first in `start`")
    call: tuple[int, ...] | None = option(None, rules.NUMBERS, "nth request that fits all the rest")

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """What is looked at outside of the lock, the predicate last."""
        return build(self)

    @cached_property
    def size(self) -> int:
        """How many conditions there are in all."""
        return len(self.conditions) + (self.state is not None) + (self.call is not None)

    @property
    def blocking(self) -> bool:
        """It calls a function that may take its time."""
        return self.where is not None

    def match(self, question: Question, counter: int = 1) -> Match:
        """How well ``question`` fits, with every condition that it misses.

        The predicate is asked only when all the rest fits, and the counter is looked at only then.

        Args:
            question: the request.
            counter: how many requests fitted all the rest of the matcher, this one included, if it does.

        Raises:
            CallableFailed: the predicate did.
        """
        missed = [found for each in self.conditions if each is not self._predicate and (found := each(question))]
        if self.state is not None and question.state != self.state:
            missed.append(Mismatch("state", self.state, question.state, "time"))
        if not missed and self._predicate is not None and (found := self._predicate(question)):
            missed.append(found)
        if not missed and self.call is not None and counter not in self.call:
            missed.append(Mismatch("call", rules.plain(self.call), counter, "time"))
        return self.weigh(missed)

    def weigh(self, missed: list[Mismatch]) -> Match:
        """A match that misses these."""
        if not missed:
            return _FITS
        return Match(sum(each.distance for each in missed) / max(self.size, len(missed)), tuple(missed))

    def fits(self, question: Question) -> bool:
        """All conditions but ``state`` and ``call`` fit. Stops at the first that does not.

        Raises:
            CallableFailed: the predicate did.
        """
        for each in self.conditions:  # noqa: SIM110 - no generator: this is done for every rule and request
            if each(question) is not None:
                return False
        return True

    @cached_property
    def _predicate(self) -> Condition | None:
        return self.conditions[-1] if self.where is not None else None

    @cached_property
    def written(self) -> str:
        """The matchers as they would be written in a call; secret headers masked."""
        return ", ".join(f"{name}={self._words(name)}" for name in self.given)

    def to_data(self) -> dict[str, Any]:
        """The matchers as they would be written as data; secret headers masked, a function by its name."""
        return {name: self._data(name) for name in self.given}

    def _words(self, name: str) -> str:
        return name_of(self.where) if name == "where" and self.where else repr(self._data(name))

    def _data(self, name: str) -> Any:
        value = getattr(self, name)
        if name == "where" and value is not None:
            return name_of(value)
        if name == "header" and value is not None:
            return {key: wanted and rules.masked(key, wanted) for key, wanted in value.items()}
        return rules.plain(value) if isinstance(value, tuple) else value


_FITS = Match(0.0)
