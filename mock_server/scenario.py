"""What an account's requests will meet: a script of steps, taken one after the other, exactly once each.

A step is taken under the account's lock, so ``times=k`` meets exactly k requests however many threads ask.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from math import ceil
from typing import Any, TypeAlias

from qfkit.protocol.errors import translate

RetryAfter: TypeAlias = float | str | datetime


@dataclass(frozen=True, slots=True)
class Pace:
    """When the pieces of a stream leave.

    Attributes:
        ttft: seconds from the request to the first content.
        interval: seconds between pieces after that.
    """

    ttft: float = 0.0
    interval: float = 0.0

    def __post_init__(self) -> None:
        for name in ("ttft", "interval"):
            value = getattr(self, name)
            if not 0 <= value <= 3600:
                raise ValueError(f"{name} is in seconds, from 0 to 3600; got {value!r}")

    def at(self, index: int) -> float:
        """When piece ``index`` (from 0) leaves, in seconds after the request."""
        return self.ttft + index * self.interval


IMMEDIATE = Pace()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Say something.

    Attributes:
        text: the whole answer; None lets the mock make one up.
        pieces: how a stream is cut up; None lets the mock choose.
        reasoning: thoughts of a reasoning model (v2).
        tool_calls: function calls, each ``{"name": ..., "arguments": {...} or JSON text}``.
        finish_reason: overrides the service's own.
        pace: when the pieces of a stream leave.
        cut_after: the connection closes after this many events of content; None plays the stream to its end.
    """

    text: str | None = None
    pieces: tuple[str, ...] | None = None
    reasoning: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    finish_reason: str | None = None
    pace: Pace = IMMEDIATE
    cut_after: int | None = None

    def describe(self) -> str:
        """A few words for the journal."""
        if self.pieces is not None:
            cut = f", cut after {self.cut_after}" if self.cut_after is not None else ""
            return f"stream of {len(self.pieces)} pieces{cut}"
        return (
            f"reply {_short(self.text or '')!r}"
            if self.text is not None
            else "tool call"
            if self.tool_calls
            else "default"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Refuse, in the service's own form.

    Attributes:
        code: a Qianfan code, a v2 string code or an HTTP status (400 to 599).
        message: other words than the error table's.
        retry_after: the ``Retry-After`` header: seconds, a moment, or its very text.
    """

    code: int | str
    message: str | None = None
    retry_after: RetryAfter | None = None

    def __post_init__(self) -> None:
        translate(self.code, "v1")  # an unknown code is refused where the user wrote it, not when a request meets it
        if isinstance(self.retry_after, (int, float)) and not 0 <= self.retry_after <= 86400:
            raise ValueError(f"retry_after is in seconds, from 0 to 86400; got {self.retry_after!r}")

    def describe(self) -> str:
        """A few words for the journal."""
        return f"fail {self.code}"

    def headers(self) -> list[tuple[str, str]]:
        """``Retry-After`` as RFC 9110 10.2.3 has it.

        Its seconds are whole, so a fraction is rounded up there and given exactly in ``retry-after-ms``, which
        openai-python and the Qianfan JavaScript SDK read first.
        """
        if self.retry_after is None:
            return []
        if isinstance(self.retry_after, str):
            return [("Retry-After", self.retry_after)]
        if isinstance(self.retry_after, datetime):
            return [("Retry-After", format_datetime(self.retry_after, usegmt=True))]
        headers = [("Retry-After", str(ceil(self.retry_after)))]
        if self.retry_after != int(self.retry_after):
            headers.append(("retry-after-ms", str(round(self.retry_after * 1000))))
        return headers


Action: TypeAlias = Answer | Failure

#: What a request gets when no step is waiting.
DEFAULT = Answer()


@dataclass(frozen=True, slots=True)
class Taken:
    """The step that a request met: what to do, and its name for the journal."""

    action: Action
    name: str


class Script:
    """Steps in the order they were queued. Safe for any number of threads."""

    __slots__ = ("_lock", "_steps")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: deque[tuple[Action, int, int]] = deque()  # action, times in all, times left

    def add(self, action: Action, times: int = 1) -> None:
        """Queue ``action`` for the next ``times`` requests (1 or more) that no earlier step takes.

        Raises:
            ValueError: ``times`` is not a whole number of 1 or more.
        """
        if type(times) is not int or times < 1:
            raise ValueError(f"times is how many requests meet this step: a whole number from 1; got {times!r}")
        with self._lock:
            self._steps.append((action, times, times))

    def take(self) -> Taken:
        """The action for one request; each step is given out exactly as often as it was queued."""
        with self._lock:
            if not self._steps:
                return Taken(DEFAULT, "default")
            action, times, left = self._steps[0]
            if left == 1:
                self._steps.popleft()
            else:
                self._steps[0] = (action, times, left - 1)
        count = f" ({times - left + 1} of {times})" if times > 1 else ""
        return Taken(action, f"{action.describe()}{count}")

    def waiting(self) -> list[str]:
        """Steps that no request has met yet, in words."""
        with self._lock:
            return [f"{action.describe()} x{left}" for action, _, left in self._steps]

    def clear(self) -> None:
        """Forget every step."""
        with self._lock:
            self._steps.clear()


def tool_call(name: str, arguments: dict[str, Any] | str) -> dict[str, Any]:
    """A function call for `Answer.tool_calls`."""
    return {"name": name, "arguments": arguments}


def pieces_of(pieces: Sequence[str]) -> tuple[str, ...]:
    """A stream's pieces, checked: a bare string would be cut into its characters by accident.

    Raises:
        TypeError: ``pieces`` is a string or holds something else than strings.
    """
    if isinstance(pieces, str) or not all(isinstance(piece, str) for piece in pieces):
        raise TypeError(f"stream() takes a list of strings, one a chunk, such as ['你', '好']; got {pieces!r}")
    return tuple(pieces)


def _short(text: str, limit: int = 20) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
