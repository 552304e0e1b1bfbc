"""An answer as it is being written: an iterator of chunks that owns a connection and gives it back."""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from qfkit.client.attempts import Attempt, AttemptLog, Running, resumed
from qfkit.client.events import ChunkReader
from qfkit.client.exceptions import (
    APIError,
    QianfanError,
    StreamError,
    StreamTruncated,
    TimeoutExceeded,
    TransportError,
)
from qfkit.client.replies import Reply
from qfkit.client.resume import Resumption, Skipper
from qfkit.protocol.messages import Chunk, Json, Marks, Usage

if TYPE_CHECKING:
    from qfkit.client.safety.findings import Finding


class Source(Protocol):
    """Where the bytes of a stream come from: an `Answer`, or a recording."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the HTTP answer."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in the pieces in which they arrive."""
        ...

    def finish(self) -> None:
        """Read what may still follow, then close."""
        ...

    def close(self) -> None:
        """Let go of the connection. Safe to repeat."""
        ...


class Stream(Iterator[Chunk]):
    """A streamed answer.

    `Client.stream` returns it when the first content is there: errors before that are raised there, after the same
    retries as for a whole answer. Iterate over it once, in one thread. Its connection goes back to the pool when the
    answer is complete, and is closed when the stream is closed, fails, or is dropped before its end.

    Attributes:
        usage: tokens that the service counted, None until it says.
        finish_reason: why the answer ended, None until it has.
        id: the service's id of the answer.
        model: the model that answers (v2), or that was asked (v1).
        ttft: seconds from the start of the call to the first content, waits included; None if there was none.
        latency: seconds from the start of the call to the last chunk handed out.
        arrived: the clock's monotonic time when the bytes of the last chunk handed out had come; None before the first.
            Chunks before the first content come long before they are handed out.
        headers: of the HTTP answer; names in any case.
        request_id: the service's id of the request.
        cached: it is replayed from the client's cache; nothing was sent.
        safety: what the rules of a `Safety` did so far.

    Raises:
        UnsafeContent: an output rule refuses it; the connection is closed.
        StreamTruncated: it ended, or stalled for the read timeout, before the service said that it was done.
        StreamError: the service reported an error in the middle, or sent what cannot be read.
    """

    safety: tuple[Finding, ...] = ()

    def __init__(
        self,
        *,
        answer: Source,
        reader: ChunkReader,
        log: AttemptLog,
        running: Running,
        model: str | None,
        request_id: str | None,
        on_end: Callable[[Stream, QianfanError | None], None],
        on_close: Callable[[], None],
        record: list[Json] | None = None,
        cached: bool = False,
        resumption: Resumption | None = None,
    ) -> None:
        self._answer = answer
        self._pieces = answer.chunks()
        self._reader = reader
        self._log = log
        self._running = running
        self._on_end = on_end
        self._on_close = on_close  # may come more than once, and from a finalizer
        self._record = record  # of the events handed out, for a cache
        self._resumption = resumption
        self._first_log = log
        self._past: tuple[Attempt, ...] = ()  # attempts before the stream was taken up again
        self._all: tuple[Attempt, ...] = ()  # once it could not be taken up
        self._waited = 0.0
        self._skips: tuple[Skipper, Skipper] | None = None  # of text and reasoning
        self.cached = cached
        self._ready: deque[tuple[Chunk, float]] = deque()  # and the moment when it came
        self._failures: list[QianfanError] = []  # one at most; popped when raised, see `raise_if`
        self._ended = False
        self._told = False
        self._calls: list[Json] = []
        self._last: Json = {}
        self._marks = Marks()  # the last ones: an answer may be taken back after it began
        self._count = 0
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.id: str | None = None
        self.model = model
        self.ttft: float | None = None
        self.arrived: float | None = None
        self.latency = 0.0
        self.headers: Mapping[str, str] = answer.headers
        self.request_id = request_id

    def __repr__(self) -> str:
        state = "complete" if self.complete else "closed" if self._ended else "open"
        return f"<Stream {state}, {self._count} chunks, {len(self.text)} characters>"

    @property
    def text(self) -> str:
        """What has been handed out of the answer; after the loop all of it."""
        return _joined(self._text)

    @property
    def reasoning(self) -> str:
        """What has been handed out of a reasoning model's thoughts."""
        return _joined(self._reasoning)

    @property
    def complete(self) -> bool:
        """The service has said that the answer is done."""
        return self._reader.complete

    @property
    def ended(self) -> bool:
        """Nothing more will come: it was read to its end, failed, or was closed."""
        return self._ended and not self._ready and not self._failures

    def on_end(self, told: Callable[[Stream, QianfanError | None], None]) -> None:
        """Have ``told`` called when the answer has been read to its end, or with the error when it failed.

        Not when the stream is closed or dropped before. ``told`` must not hold the stream, or dropping it would not
        close its connection.
        """
        before = self._on_end

        def both(stream: Stream, error: QianfanError | None) -> None:
            before(stream, error)
            told(stream, error)

        self._on_end = both

    @property
    def tool_calls(self) -> tuple[Json, ...]:
        """What the model wants called, as far as it has come, pieces put together."""
        return tuple(self._calls)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The HTTP requests that it took; the last one lasts until the stream ends."""
        if self._all:
            return self._all
        attempts = self._log.attempts()
        if not self._past:
            return attempts
        later = self._log.began - self._first_log.began
        return resumed(self._past, attempts, later=later, waited=self._waited)

    def open(self) -> None:
        """Read up to the first content, or to the end of an answer that has none. `Client.stream` does this.

        Raises:
            QianfanError: what the attempt failed with.
        """
        while not self._ended:
            self._pull()
            if any(_has_content(chunk) for chunk, _ in self._ready):
                self.ttft = self._log.elapsed()
                return
        if self._failures:
            raise self._failures.pop()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Chunk:
        while True:
            while not self._ready and not self._ended:
                self._pull()
            if self._ready:
                came, self.arrived = self._ready.popleft()
                chunk = self._unsaid(came)
                if chunk is not None:
                    return self._hand_out(chunk)
            elif not self._failures or not self._resume():
                break
        if self._failures:
            self._failures[0] = self._spoiled(self._failures[0])
        if not self._told and (self._failures or self.complete):
            self._told = True
            self._on_end(self, self._failures[0] if self._failures else None)
        if self._failures:
            raise self._failures.pop()
        raise StopIteration

    def reply(self) -> Reply:
        """Read the rest, and return the whole as `Client.chat` would have.

        Raises:
            StreamError: as iterating does.
        """
        for _ in self:
            pass
        last, marks = self._last, self._marks
        return Reply(
            text=self.text,
            reasoning=self.reasoning,
            usage=self.usage,
            finish_reason=self.finish_reason,
            tool_calls=self.tool_calls,
            id=self.id,
            model=self.model,
            is_truncated=last.get("is_truncated") is True or self.finish_reason == "length",
            need_clear_history=marks.need_clear_history,
            flag=marks.flag,
            ban_round=marks.ban_round,
            request_id=self.request_id,
            attempts=self.attempts,
            latency=self.latency,
            headers=self.headers,
            raw=last,
            cached=self.cached,
        )

    def close(self) -> None:
        """Stop reading. The service sees its connection closed, unless the answer is complete. Safe to repeat."""
        self._ready.clear()
        self._failures.clear()
        if not self._ended:
            self._finish(None)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Nothing in here refers back to the stream, so a loop left by `break` closes its connection at once.
        if "_on_close" in self.__dict__:
            self._answer.close()
            self._on_close()

    def _pull(self) -> None:
        """Read once: chunks go to ``_ready``, what went wrong to ``_failures``."""
        if self._reader.done:  # all has been handed out: now there is time to wait for the end of the body
            self._answer.finish()
            self._finish(None)
            return
        reader = self._reader
        try:
            piece = next(self._pieces, b"")
        except TransportError as error:
            self._came(reader.close(whole=False))
            broken = error if isinstance(error, TimeoutExceeded) else StreamTruncated(error.summary, retryable=True)
            self._finish(reader.take_failure() or (None if reader.complete else broken))
            return
        except BaseException:  # KeyboardInterrupt: nobody will read on
            self.close()
            raise
        self._came(reader.feed(piece) if piece else reader.close(whole=True))
        if reader.failure is not None:
            self._finish(reader.take_failure())
        elif reader.done:
            self._log.end(self._running)
        elif not piece:
            ended = StreamTruncated("the body ended before the service said that the answer was done", retryable=True)
            self._finish(None if reader.complete else ended)

    def _came(self, chunks: Sequence[Chunk]) -> None:
        now = self._log.now()
        self._ready.extend((chunk, now) for chunk in chunks)

    def _finish(self, failure: QianfanError | None) -> None:
        self._ended = True
        if failure is not None:
            self._failures.append(failure)
        if not self._reader.done:
            self._log.end(self._running, failure)
        self._answer.close()
        self._on_close()

    def _resume(self) -> bool:
        """Go on after the failure, with another call; whether there is one."""
        resumption = self._resumption
        if resumption is None or self._calls:  # half a tool call can be neither shown to a model nor left out
            return False
        failure = self._failures.pop()
        try:
            found = resumption.after(failure, self.text, self._first_log.elapsed())
        except QianfanError as error:
            ended = max((it.started + it.elapsed for it in error.attempts), default=0.0)
            later = self._first_log.elapsed() - ended
            waited = later - max(it.started + it.elapsed for it in self.attempts)
            self._all = resumed(self.attempts, error.attempts, later=later, waited=waited)
            self._failures.append(error)
            return False
        if found is None:
            self._failures.append(failure)
            return False
        self._past = self.attempts
        other, self._waited = found
        self._take_over(other)
        if resumption.mode == "replay":
            self._skips = Skipper(self.text), Skipper(self.reasoning)
        if self._record is not None:
            self._record.clear()  # what is kept for others is one answer, not two halves
            self._record = None
        return True

    def _take_over(self, other: Stream) -> None:
        """Read on from ``other``, which is then a shell: what it held is closed by this stream."""
        self._answer, self._pieces, self._reader = other._answer, other._pieces, other._reader
        self._ready, self._failures, self._ended = other._ready, other._failures, other._ended
        self._log, self._running, self._on_close = other._log, other._running, other._on_close
        self.headers, self.request_id = other.headers, other.request_id
        del other._on_close

    def _unsaid(self, chunk: Chunk) -> Chunk | None:
        """What of a chunk was not handed out before the stream was taken up; None when that is nothing."""
        if self._skips is None:
            return chunk
        said, thought = self._skips
        text, reasoning = said(chunk.text), thought(chunk.reasoning)
        if text is None or reasoning is None or (chunk.is_last and said.short):
            self._ready.clear()
            self._finish(
                StreamError(
                    f"asked again, the service gives another answer, which differs after {said.where} characters; "
                    "resume='continue' goes on without asking for the same one"
                )
            )
            return None
        if not (text or reasoning or chunk.is_last or chunk.usage or chunk.tool_calls):
            return None
        return dataclasses.replace(chunk, text=text, reasoning=reasoning)

    def _spoiled(self, failure: QianfanError) -> StreamError:
        """``failure``, now that content has been handed out: no retry, and the text so far comes along."""
        said = f"after {self._count} chunks ({len(self.text)} characters)"
        if isinstance(failure, (TransportError, StreamTruncated)):
            error: StreamError = StreamTruncated(
                f"the stream broke off {said}: {failure.summary}. What came is in .text",
                text=self.text,
                chunks=self._count,
            )
        else:
            advice = "" if isinstance(failure, APIError) else ". What came is in .text"
            error = StreamError(
                f"the stream failed {said}: {failure.args[0]}{advice}", text=self.text, chunks=self._count
            )
        error.attempts = self.attempts
        error.__cause__ = failure
        return error

    def _hand_out(self, chunk: Chunk) -> Chunk:
        self._count += 1
        self.latency = self._first_log.elapsed()
        self._text.append(chunk.text)
        self._reasoning.append(chunk.reasoning)
        self.usage = chunk.usage or self.usage
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self._last = raw = chunk.raw
        self._marks = Marks.read(raw) or self._marks
        if self._record is not None:
            self._record.append(raw)
        if isinstance(found := raw.get("id"), str):
            self.id = found
            self.request_id = self.request_id or found
        if isinstance(found := raw.get("model"), str):
            self.model = found
        for piece in chunk.tool_calls:
            _add_tool_call(self._calls, piece)
        return chunk


def _joined(pieces: list[str]) -> str:
    # In place, so that asking after each chunk does not join the same pieces over and over.
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""


def _has_content(chunk: Chunk) -> bool:
    return bool(chunk.text or chunk.reasoning or chunk.tool_calls)


def _add_tool_call(calls: list[Json], piece: Json) -> None:
    """Add a delta: v2 sends a call in pieces that share an ``index`` (4.3), v1 whole."""
    index = piece.get("index")
    known = next((call for call in calls if index is not None and call.get("index") == index), None)
    if known is None:
        calls.append(copy.deepcopy(piece))
        return
    function: Any = known.setdefault("function", {})
    more = piece.get("function")
    if isinstance(function, dict) and isinstance(more, dict) and isinstance(more.get("arguments"), str):
        function["arguments"] = f"{function.get('arguments') or ''}{more['arguments']}"
