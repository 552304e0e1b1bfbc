"""How scripts are written in Python: one method a kind of step, each of which returns what it was called on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mock_server.answers.kinds import Answerer, Computed, Corpus, Echo, read_text
from mock_server.answers.kinds import Sequence as Texts
from mock_server.answers.refusals import refusal
from mock_server.answers.tools import CallTool
from mock_server.scenario import Action, Answer, Custom, Failure, RetryAfter, Times, answer, stream
from mock_server.scenario.data import Loop, step_of

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from mock_server.answers.keywords import AnswerKeywords


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
        text: str | Answerer | None = None,
        *,
        times: Times | None = None,
        enter: str | None = None,
        **options: Unpack[AnswerKeywords],
    ) -> Self:
        """Queue an answer.

        Args:
            text: what the model says. None with ``tool_calls`` says nothing beside the calls; None alone makes it up.
                A function is given the `Question` and returns a text, pieces of a stream (also as a generator), or
                ``{"text": ..., "finish_reason": ...}``; it runs in a thread of its own and may take its time.
            times: how many requests get it, from 1, or ``"forever"``. Left out: one, but the last step of a rule
                stays for ever.
            enter: the state that the account is in after the last of them.
            options: what the answer has beside its text (``reasoning``, ``tool_calls``, ``finish_reason``,
                ``search_results``, ``usage``, ``flag``, ``need_clear_history``, ``ban_round``, ``truncated``; see
                ``docs/answers.md``), and what happens to it when the request asks for a stream, as in `stream`.

        Raises:
            ValueError: ``times`` is under 1, a tool call has no name, or an option is out of its range.
            TypeError: there is no such option, or ``text`` is neither a text nor a function of one argument.
        """
        if text is None or isinstance(text, str):
            return self._say(answer(text, options), times, enter)
        if not callable(text):
            raise TypeError(f"reply() takes a text, a function that is given the question, or nothing; got {text!r}")
        return self._say(answer(None, options, source=Computed(text)), times, enter)

    def template(
        self,
        source: str,
        *,
        times: Times | None = None,
        enter: str | None = None,
        **options: Unpack[AnswerKeywords],
    ) -> Self:
        """Queue an answer that a Jinja template writes, in Jinja's sandbox: ``"第{{ number }}次: {{ text }}"``.

        Args:
            source: the template. It sees ``q``, the `Question`, and of it ``text``, ``model``, ``number``, ``attempt``,
                ``state`` and others by name; ``turn`` counts the requests that met this step, from 1.
            times: how many requests get it, from 1, or ``"forever"``. Left out: one, but the last step of a rule
                stays for ever.
            enter: the state that the account is in after the last of them.
            options: as in `reply`.

        Raises:
            ValueError: it is no template; the message has the line. Or as `reply`.
        """
        from mock_server.answers.templates import Template  # noqa: PLC0415 - most mocks need no Jinja

        return self._say(answer(None, options, source=Template(source)), times, enter)

    def echo(
        self,
        prefix: str = "",
        *,
        times: Times | None = None,
        enter: str | None = None,
        **options: Unpack[AnswerKeywords],
    ) -> Self:
        """Queue an answer that says what the user asked last, after ``prefix``. Otherwise as `reply`."""
        return self._say(answer(None, options, source=Echo(prefix)), times, enter)

    def sequence(
        self,
        texts: Sequence[str],
        *,
        cycle: bool = False,
        times: Times | None = None,
        enter: str | None = None,
        **options: Unpack[AnswerKeywords],
    ) -> Self:
        """Queue a step whose nth request gets the nth text.

        Args:
            texts: one or more.
            cycle: the first comes again after the last; else the last stays.
            times: how many requests get one, from 1, or ``"forever"``; left out, as many as there are texts, or with
                ``cycle`` all that come.
            enter: the state that the account is in after the last of them.
            options: as in `reply`.

        Raises:
            ValueError: there is no text. Or as `reply`.
        """
        source = Texts.of(texts, cycle=cycle)
        if times is None:
            times = "forever" if cycle else len(source.texts)
        return self._say(answer(None, options, source=source), times, enter)

    def file(
        self,
        path: str | Path,
        *,
        times: Times | None = None,
        enter: str | None = None,
        **options: Unpack[AnswerKeywords],
    ) -> Self:
        """Queue the text of a file, which is read now.

        Raises:
            ValueError: it cannot be read. Or as `reply`.
        """
        return self._say(answer(read_text(path, "file"), options), times, enter)

    def corpus(
        self,
        path: str | Path,
        *,
        order: str = "in turn",
        times: Times | None = None,
        enter: str | None = None,
        **options: Unpack[AnswerKeywords],
    ) -> Self:
        """Queue answers from a file, which is read now.

        Args:
            path: a file with an answer a line; or of JSON lines, ``{"prompt": ..., "answer": ...}``: then the answer is
                the one whose prompt has most words in common with the question.
            order: where no prompt decides: ``in turn``, or ``random`` (the same for the same seed).
            times: how many requests get one; left out, all that come.
            enter: the state that the account is in after the last of them.
            options: as in `reply`.

        Raises:
            ValueError: the file cannot be read, or a line of it is none. Or as `reply`.
        """
        source = Corpus.read(path, order)
        return self._say(answer(None, options, source=source), "forever" if times is None else times, enter)

    def call_tool(
        self,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        *,
        times: Times | None = None,
        enter: str | None = None,
        **options: Unpack[AnswerKeywords],
    ) -> Self:
        """Queue a call of a tool that the request declares: v1 ``functions``, v2 ``tools``.

        Args:
            name: of the tool; None for the one that ``tool_choice`` names, or the first.
            arguments: of the call; None makes them up, valid against the declared schema.
            times: how many requests get it, from 1, or ``"forever"``. Left out: one, but the last step of a rule
                stays for ever.
            enter: the state that the account is in after the last of them.
            options: as in `reply`.
        """
        return self._say(answer(None, options, source=CallTool(name, arguments)), times, enter)

    def refuse(
        self,
        kind: str,
        *,
        times: Times | None = None,
        enter: str | None = None,
        **options: Unpack[AnswerKeywords],
    ) -> Self:
        """Queue an answer by which the service's content filter refuses; for errors there is `fail`.

        Args:
            kind: ``sensitive-input``, ``sensitive-history``, ``sensitive-output``, ``banned-topic``, ``low-risk`` or
                ``content_filter``; ``docs/answers.md`` says what each looks like.
            times: how many requests get it, from 1, or ``"forever"``. Left out: one, but the last step of a rule
                stays for ever.
            enter: the state that the account is in after the last of them.
            options: as in `reply`; they go before those of the kind.

        Raises:
            ValueError: there is no such kind; the message names the nearest.
        """
        found = refusal(kind)
        return self._say(answer(found.text, {**found.options, **options}), times, enter)

    def _say(self, step: Answer, times: Times | None, enter: str | None) -> Self:
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
        **options: Unpack[AnswerKeywords],
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
            options: of the stream; and what the answer has beside its text, as in `reply`.

        Raises:
            TypeError: ``pieces`` is not what it should be, or there is no such option.
            ValueError: an option is out of its range, contradicts another one, or waits for an event that this stream
                will not have.
        """
        self._queue(stream(pieces, options), times, enter)
        return self

    def fault(self, kind: str, *, times: Times | None = None, enter: str | None = None, **options: Any) -> Self:
        """Queue a fault of a whole answer: ``fault("reset")``, ``fault("slow-headers", interval=0.01)``.

        Args:
            kind: ``close``, ``reset``, ``hang``, ``delay``, ``slow-headers``, ``slow-body``, ``wrong-length``,
                ``bad-gzip``, ``garbage``, ``bad-status-line``, ``malformed-chunk``, ``html``, ``proxy-error`` or
                ``large-body``;
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

    def step(self, action: Custom, *, times: Times | None = None, enter: str | None = None) -> Self:
        """Queue a step of your own, for bytes that no other step sends.

        Args:
            action: its ``apply(ordinary)`` returns the `mock_server.delivery.Reply` to one request; its ``describe()``
                a few words for the journal. It runs on the mock's own thread, and must not take its time.
            times: how many requests meet it, from 1, or ``"forever"``. Left out: one, but the last step of a rule
                stays for ever.
            enter: the state that the account is in after the last of them.

        Raises:
            TypeError: it has no such methods.
        """
        for name in ("apply", "describe"):
            if not callable(getattr(action, name, None)):
                raise TypeError(f"step() takes an object with apply(ordinary) and describe(); {action!r} has no {name}")
        self._queue(action, times, enter)
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
