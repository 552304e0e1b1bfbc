"""Going on after a stream broke off in the middle, for those who ask for it.

Without it, a stream is never sent again once content has been handed out: whoever reads it has used that content
already, and a model asked again says something else. Two ways to go on all the same:

* ``replay`` asks the same question again and leaves out what was handed out before. It is right where the same question
  has the same answer (a mock, a cache in front of the service, temperature near 0), and notices when it has not.
* ``continue`` shows the model what it said so far and asks for the rest. The seam may show: a model may repeat a word,
  or begin a new sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal, TypeAlias

from qfkit.client.exceptions import ConfigurationError, QianfanError
from qfkit.client.retry import RetryPolicy
from qfkit.clock import Clock
from qfkit.protocol.messages import Message

if TYPE_CHECKING:
    from qfkit.client.streaming import Stream

Resume: TypeAlias = Literal["replay", "continue"]

MODES: tuple[str, ...] = ("replay", "continue")

#: What the model is asked, in the language of most who ask it.
GO_ON = "请从中断处继续输出, 不要重复已经输出的内容, 也不要添加任何说明。"


@dataclass(slots=True, kw_only=True, eq=False)
class Resumption:
    """How one stream goes on.

    Attributes:
        mode: see above.
        ask: makes the call again, given what was said so far, and returns the stream that goes on.
        policy: bounds how often, and says how long to wait before it.
        clock: sleeps.
        random: where jitter is drawn.
        logged: told of each resumption, with the failure and the wait in seconds.
        made: resumptions so far.
    """

    mode: Resume
    ask: Callable[[str], Stream]
    policy: RetryPolicy
    clock: Clock
    random: Random
    logged: Callable[[QianfanError, float], None]
    made: int = 0

    def after(self, failure: QianfanError, text: str, elapsed: float) -> tuple[Stream, float] | None:
        """The stream that goes on after ``failure``, and the seconds waited for it; None when there shall be none.

        Raises:
            QianfanError: the new call failed for good.
        """
        self.made += 1
        decision = self.policy.decide(failure, failures=self.made, elapsed=elapsed, random=self.random)
        if decision.wait is None:
            return None
        self.logged(failure, decision.wait)
        self.clock.sleep(decision.wait)
        return self.ask(text), decision.wait


def check_mode(mode: str | None) -> None:
    """Refuse what is no way to go on.

    Raises:
        ConfigurationError: names the ways there are.
    """
    if mode is not None and mode not in MODES:
        raise ConfigurationError(f"resume is one of {', '.join(MODES)}, or None; got {mode!r}")


def to_continue(messages: Sequence[Message], text: str) -> Sequence[Message]:
    """The conversation that asks for the rest of an answer of which ``text`` has come."""
    if not text:
        return messages
    return [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": GO_ON}]


class Skipper:
    """Leaves out the beginning of an answer that was handed out before."""

    __slots__ = ("_done", "_rest")

    def __init__(self, text: str) -> None:
        self._rest = text
        self._done = 0

    def __call__(self, piece: str) -> str | None:
        """What is new in ``piece``; None when the answer is another one than before."""
        if piece.startswith(self._rest):
            new, self._done, self._rest = piece[len(self._rest) :], self._done + len(self._rest), ""
            return new
        if self._rest.startswith(piece):
            self._rest, self._done = self._rest[len(piece) :], self._done + len(piece)
            return ""
        return None

    @property
    def where(self) -> int:
        """Characters that were the same, whole pieces only."""
        return self._done

    @property
    def short(self) -> int:
        """Characters that have not come again yet."""
        return len(self._rest)
