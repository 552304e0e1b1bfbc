"""How scripts are written in Python: one method a kind of step, each of which returns what it was called on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from mock_server.scenario import Action, Failure, RetryAfter, Times, answer, stream
from mock_server.scenario.data import Loop, step_of

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from mock_server.faults.keywords import DeliveryOptions


class Scripting(ABC):
    """Queues steps; whoever inherits says where to, in `_queue`."""

    __slots__ = ()

    @abstractmethod
    def _queue(self, action: Action, times: Times | None, enter: str | None = None) -> None:
        """Put a step behind those that wait.

        Args:
            action: what it does.
            times: how many requests meet it; None where it was not said, and the script decides.
            enter: the state that the account is in after the last of them.
        """

    @abstractmethod
    def _loop(self, times: Times) -> None:
        """Play all steps so far again, ``times`` times in all."""

    @property
    def then(self) -> Self:
        """The handle itself, so that a script reads as a sentence: ``fail(18).then.reply("ok")``."""
        return self

    def reply(
        self,
        text: str | None = None,
        *,
        times: Times | None = None,
        enter: str | None = None,
        reasoning: str = "",
        tool_calls: Sequence[Mapping[str, Any]] = (),
        finish_reason: str | None = None,
        **delivery: Unpack[DeliveryOptions],
    ) -> Self:
        """Queue an answer.

        Args:
            text: what the model says. None with ``tool_calls`` says nothing beside the calls; None alone makes it up.
            times: how many requests get it, from 1, or ``"forever"``. Left out: one, but the last step of a rule
                stays for ever.
            enter: the state that the account is in after the last of them.
            reasoning: v2 ``reasoning_content``.
            tool_calls: each ``{"name": "get_weather", "arguments": {...}}``; v1 has room for the first one.
            finish_reason: instead of the service's own for such an answer.
            delivery: what happens to it when the request asks for a stream, as in `stream`.

        Raises:
            ValueError: ``times`` is under 1, a tool call has no name, or an option is out of its range.
            TypeError: there is no such option.
        """
        step = answer(
            text,
            reasoning=reasoning,
            tool_calls=tool_calls,
            finish_reason=finish_reason,
            delivery=cast("dict[str, Any]", delivery),
        )
        self._queue(step, times, enter)
        return self

    def fail(
        self,
        code: int | str,
        *,
        times: Times | None = None,
        enter: str | None = None,
        retry_after: RetryAfter | None = None,
        message: str | None = None,
    ) -> Self:
        """Queue an error, in the form of the dialect that meets it.

        Args:
            code: a Qianfan code (``18``), a v2 code (``"rpm_rate_limit_exceeded"``) or an HTTP status (400 to 599).
            times: how many requests meet it, from 1, or ``"forever"``. Left out: one, but the last step of a rule
                stays for ever.
            enter: the state that the account is in after the last of them.
            retry_after: ``Retry-After``: seconds (0 to 86400), a moment with a time zone, or the header's very text.
            message: instead of the service's own words.

        Raises:
            ValueError: the code is not known (the message names the nearest), or a number is out of range.
        """
        self._queue(Failure(code=code, message=message, retry_after=retry_after), times, enter)
        return self

    def stream(
        self,
        pieces: Sequence[str] | str,
        *,
        times: Times | None = None,
        enter: str | None = None,
        **delivery: Unpack[DeliveryOptions],
    ) -> Self:
        """Queue an answer whose stream is cut up, timed, damaged and ended as given.

        A request that asks for no stream gets the text whole. The most used options; ``docs/faults.md`` has them all:

        * ``ttft``, ``interval``: seconds to the first content and between events; or ``tokens_per_second``; with
          ``jitter="uniform"``, ``"normal"`` or ``"lognormal"``;
        * ``cut_after=n``: exactly n events arrive; ``cut="incomplete"``, ``"clean"`` or ``"reset"`` says how it ends;
        * ``stall_after=n, stall=seconds``: n events, then silence; for ever when ``stall`` is left out;
        * ``error_after=n, error=code``: n events, then an error event.

        Args:
            pieces: the text of each event, in order; or one text, and ``chunk="character"``, ``"token"``, ``"word"``
                or a number of characters to cut it by.
            times: how many requests get it, from 1, or ``"forever"``. Left out: one, but the last step of a rule
                stays for ever.
            enter: the state that the account is in after the last of them.
            delivery: the options.

        Raises:
            TypeError: ``pieces`` is not what it should be, or there is no such option.
            ValueError: an option is out of its range, contradicts another one, or waits for an event that this stream
                will not have.
        """
        self._queue(stream(pieces, cast("dict[str, Any]", delivery)), times, enter)
        return self

    def fault(self, kind: str, *, times: Times | None = None, enter: str | None = None, **options: Any) -> Self:
        """Queue a fault of a whole answer: ``fault("reset")``, ``fault("slow-headers", interval=0.01)``.

        Args:
            kind: ``close``, ``reset``, ``hang``, ``slow-headers``, ``slow-body``, ``wrong-length``, ``bad-gzip``,
                ``garbage``, ``bad-status-line``, ``malformed-chunk``, ``html``, ``proxy-error`` or ``large-body``;
                WireMock's and toxiproxy's names for these do as well.
            times: how many requests meet it, from 1, or ``"forever"``. Left out: one, but the last step of a rule
                stays for ever.
            enter: the state that the account is in after the last of them.
            options: those of the kind, listed in ``docs/faults.md``.

        Raises:
            TypeError: there is no such fault, or it has no such option.
            ValueError: a value is out of its range.
        """
        from mock_server.faults.whole import fault_of  # noqa: PLC0415 - most who start a mock break nothing

        self._queue(fault_of(kind, options), times, enter)
        return self

    def play(self, steps: Sequence[Mapping[str, Any]]) -> Self:
        """Queue steps written as data, as the configuration file has them: ``[{"fail": 18, "times": 2}]``.

        Raises:
            ValueError: a step is none; the message says which and why.
        """
        for index, data in enumerate(steps):
            step = step_of(dict(data), f"$[{index}]")
            if isinstance(step, Loop):
                self._loop(step.times)
            else:
                self._queue(step.action, step.times, step.enter)
        return self

    def loop(self, times: Times = "forever") -> Self:
        """Start all steps queued so far again when they are through.

        Args:
            times: how often they are played in all, from 1.

        Raises:
            ValueError: ``times`` is under 1, or there is no step to start again.
        """
        self._loop(times)
        return self
