"""Output rules that look at what an answer is about, and at what the service itself says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qfkit.client.exceptions import ConfigurationError
from qfkit.client.safety.findings import Place
from qfkit.client.safety.screens import ACTIONS, MASK, Screen, SentenceScreen, refusal
from qfkit.client.safety.words import fold
from qfkit.protocol.messages import Json


@dataclass(frozen=True, slots=True)
class Topic:
    """What makes a text one about a topic: all that is given must hold.

    Attributes:
        name: of the topic, in findings and in `UnsafeContent.kind`.
        all_of: each of these words is in it.
        any_of: at least one of these is.
        none_of: none of these is: what makes it harmless, such as 新闻.
        pattern: a regular expression that is found in it.
        check: any function of your own that says yes to it.

    Words and pattern are looked for in the text folded as a `WordList` does; ``check`` gets it as it came.

    Raises:
        ConfigurationError: nothing is given that could hold.
    """

    name: str
    all_of: Sequence[str] = ()
    any_of: Sequence[str] = ()
    none_of: Sequence[str] = ()
    pattern: str | re.Pattern[str] | None = None
    check: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        for name in ("all_of", "any_of", "none_of"):
            given = getattr(self, name)
            if isinstance(given, str) or not all(isinstance(word, str) and word for word in given):
                raise ConfigurationError(f"Topic {self.name!r}: {name} is a list of words; got {given!r}")
            object.__setattr__(self, name, tuple(given))
        if not (self.all_of or self.any_of or self.pattern or self.check):
            raise ConfigurationError(
                f"Topic {self.name!r} says nothing of itself: give all_of, any_of, pattern or check"
            )
        if isinstance(self.pattern, str):
            try:
                object.__setattr__(self, "pattern", re.compile(self.pattern))
            except re.error as error:
                raise ConfigurationError(f"Topic {self.name!r}: pattern is no regular expression: {error}") from None

    def fits(self, text: str) -> bool:
        """Whether ``text`` is about it."""
        folded = fold(text)
        return (
            all(fold(word) in folded for word in self.all_of)
            and (not self.any_of or any(fold(word) in folded for word in self.any_of))
            and not any(fold(word) in folded for word in self.none_of)
            and (self.pattern is None or re.search(self.pattern, folded) is not None)
            and (self.check is None or bool(self.check(text)))
        )


@dataclass(frozen=True, slots=True)
class Topics:
    """Restricts what answers may be about.

    Attributes:
        topics: the restricted ones.
        action: ``raise`` `UnsafeContent`; ``mask``: ``***`` in place of what fits; ``drop``: nothing in its place.
        scope: what must fit: a ``sentence``, or the whole ``answer``, of which a stream then says nothing before its
            end.
        name: in findings and the log.

    Raises:
        ConfigurationError: no topics, or no such action or scope.
    """

    topics: Sequence[Topic]
    action: Literal["raise", "mask", "drop"] = "raise"
    scope: Literal["sentence", "answer"] = "sentence"
    name: str = "Topics"

    def __post_init__(self) -> None:
        if self.action not in ACTIONS or self.scope not in {"sentence", "answer"}:
            raise ConfigurationError(
                f"Topics.action is one of {', '.join(ACTIONS)} and scope is 'sentence' or 'answer'; "
                f"got {self.action!r} and {self.scope!r}"
            )
        object.__setattr__(self, "topics", tuple(self.topics))
        if not self.topics or not all(isinstance(topic, Topic) for topic in self.topics):
            raise ConfigurationError("Topics takes a list of Topic values, one or more")

    def screen(self, place: Place) -> Screen:
        """See `OutputRule.screen`."""

        def judge(text: str, position: int) -> str:
            topic = next((topic for topic in self.topics if topic.fits(text)), None)
            if topic is None:
                return text
            if self.action == "raise":
                raise refusal(self.name, topic.name, text.strip(), place, position=position, text="")
            place.note(self.name, topic.name, self.action, position)
            return MASK if self.action == "mask" else ""

        return SentenceScreen(judge, whole=self.scope == "answer")


#: v2's marks (wire reference 4.2): 0 safe, 1 low risk, 2 banned topic but showable, 3 not showable, 4 withdraw.
LEVELS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class ServiceFlags:
    """Heeds what the service says of its own answer.

    v1 and text_generation (3.3): ``need_clear_history``, ``ban_round``, a ``flag`` other than 0, ``is_safe`` 0 (but for
    function calls, where it means nothing). v2 (4.2): ``flag`` from ``level`` on, ``need_clear_history``,
    ``ban_round``. All of them: ``finish_reason`` ``content_filter``.

    Attributes:
        action: ``raise`` `UnsafeContent`; ``mask``: the answer is ``***``; ``drop``: it is empty. In a stream that is
            so from the flagged event on, for what was said before is said: `UnsafeContent.kind` is ``flag 4`` where
            the service asks to withdraw it.
        level: the lowest flag of v2 that counts, 1 to 4.
        name: in findings and the log.
    """

    action: Literal["raise", "mask", "drop"] = "raise"
    level: int = 3
    name: str = "ServiceFlags"

    def __post_init__(self) -> None:
        if self.action not in ACTIONS or self.level not in LEVELS:
            raise ConfigurationError(
                f"ServiceFlags.action is one of {', '.join(ACTIONS)} and level is 1 to 4; "
                f"got {self.action!r} and {self.level!r}"
            )

    def mark(self, raw: Json) -> str | None:
        """What the service has against an answer or an event of a stream; None if nothing."""
        choices = raw.get("choices")
        in_choices = isinstance(choices, list) and bool(choices) and isinstance(choices[0], Mapping)
        said: Mapping[str, Any] = choices[0] if in_choices and isinstance(choices, list) else raw
        lowest = self.level if in_choices else 1
        flag = said.get("flag")
        if isinstance(flag, int) and flag >= lowest:
            return f"flag {flag}"
        if said.get("finish_reason") == "content_filter":
            return "content_filter"
        if said.get("need_clear_history") is True:
            return "need_clear_history"
        if said.get("ban_round") not in {None, 0}:
            return "ban_round"
        # The fixtures of the official SDK show is_safe 0 on function calls (3.3).
        if said.get("is_safe") == 0 and "function_call" not in said:
            return "is_safe 0"
        return None
