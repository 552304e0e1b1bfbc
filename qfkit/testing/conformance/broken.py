"""Torture for stream readers, part two: how streams end, and what is wrong with those that are not whole.

What is broken stays broken for every retry: a client may try again or not, and in the end it has to say so.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from mock_server.delivery import Wire
from qfkit.testing.conformance.case import Case, Expected, Outcome
from qfkit.testing.conformance.shape import PIECES, TEXT, Shape
from qfkit.testing.conformance.stage import Stage
from qfkit.testing.conformance.streams import reads

Bytes: TypeAlias = bytes | Sequence[bytes] | Sequence[tuple[float, bytes]]

_MARKED = ("v2",)
_ENDED = ("v1", "v2")  # text_generation documents no end: a body that HTTP says is whole is whole
_EVENTS = "wire reference 3.4 and 4.3"

_RAISE = (
    "Take an answer for whole only when its end event has come (is_end, finish_reason, [DONE]); when it has not, raise "
    "an error that holds the text so far."
)
#: The longest that a reader may take for a stream that is complete, in seconds of real time, and how long the mock then
#: keeps the connection open.
_PROMPT, _OPEN = 2.0, 3.0


def breaks(
    name: str,
    what: str,
    made: Callable[[Shape], Bytes],
    *,
    why: str,
    do: str = _RAISE,
    so_far: str = TEXT,
    how: dict[str, Any] | None = None,
    expected: Expected | None = None,
    **options: Any,
) -> Case:
    """A stream that has to end in an error; arguments as `reads`."""
    return Case(
        name=name,
        what=what,
        expected=expected or Expected(fails=True, so_far=so_far),
        why=why,
        do=do,
        script=lambda stage: stage.raw(made(stage.shape), **(how or {})),
        streamed=True,
        needs=options.pop("needs", ("stream",)),
        **options,
    )


# Ends


def _end(name: str, what: str, made: Callable[[Shape], Any], **options: Any) -> Case:
    do = options.pop("do", "Stop at [DONE]; without it, take the answer for whole if its end event had come.")
    return reads(f"ends/{name}", what, made, do=do, sse_only=options.pop("sse_only", False), **options)


def _prompt(_stage: Stage, outcome: Outcome) -> str | None:
    if outcome.elapsed < _PROMPT:
        return None
    return f"it was done after {outcome.elapsed:.1f} s: it waited for the connection to close"


_ENDS = (
    _end(
        "no-done",
        "finish_reason comes, [DONE] does not",
        lambda it: it.says(*PIECES) + it.event(it.last()),
        dialects=_MARKED,
        why="wire reference 4.3; openai-python ends there as well",
    ),
    _end(
        "done-alone",
        "[DONE] comes, finish_reason did not",
        lambda it: it.says(*PIECES) + it.done,
        dialects=_MARKED,
        why="[DONE] says that the answer is done",
        level="recommended",
    ),
    _end(
        "events-behind-done",
        "another event with text comes after [DONE]",
        lambda it: it.stream() + it.says("多余的话"),
        dialects=_MARKED,
        why="OpenAI's API reference: [DONE] terminates the stream",
    ),
    _end(
        "garbage-behind-done",
        "bytes that are nothing come after [DONE]",
        lambda it: it.stream() + b"\xff\xfe{{{\n\n",
        dialects=_MARKED,
        why="OpenAI's API reference: [DONE] terminates the stream",
    ),
    _end(
        "open-connection",
        f"after the end the connection stays open for {_OPEN:g} s",
        lambda it: [(0.0, it.stream()), (_OPEN, b"\n")],
        dialects=_ENDED,
        expected=Expected(text=TEXT, attempts=(1, 1), also=_prompt, words=f"is done within {_PROMPT:g} seconds"),
        why=f"{_EVENTS}: the end event or [DONE] ends the answer, not the connection",
        level="recommended",
        do="Stop reading at the end of the answer, so that the last word is not held back by a slow connection.",
    ),
    _end(
        "nothing-said",
        "the answer is empty, and ends as it should",
        lambda it: it.tail,
        text="",
        why="a model may say nothing; that is no error",
        do="Return an empty text; do not count on a first piece.",
        level="recommended",
    ),
    _end(
        "one-piece",
        "the whole answer is one event",
        lambda it: it.stream(TEXT),
        why="how a stream is cut is the service's business",
    ),
)


# Cuts


def _cut(name: str, what: str, made: Callable[[Shape], Bytes], **options: Any) -> Case:
    why = options.pop("why", "RFC 9112, 8: a body that lacks its end is incomplete, and has to be taken for that")
    return breaks(f"cuts/{name}", what, made, why=why, **options)


def _event_cut(shape: Shape) -> bytes:
    return shape.says(*PIECES[:2]) + shape.says(PIECES[2])[:-6]  # brackets and line ends


def _gzip_cut(shape: Shape) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(shape.says(*PIECES)) + packer.flush(zlib.Z_SYNC_FLUSH)


def _bad_chunk(shape: Shape) -> bytes:
    good = shape.says(*PIECES[:2])
    return b"%x\r\n%b\r\nzz\r\n\x81\x82\x83" % (len(good), good)


_NO_END = f"{_EVENTS}: the last event says is_end or finish_reason, and v2 says [DONE]"
_CUTS = (
    _cut(
        "connection-closed",
        "the connection closes after two of three pieces",
        lambda it: it.says(*PIECES[:2]),
        how={"ending": "cut"},
    ),
    _cut(
        "connection-reset",
        "the connection is reset after two of three pieces",
        lambda it: it.says(*PIECES[:2]),
        how={"ending": "reset"},
    ),
    _cut(
        "no-end-event",
        "the body ends in order, and no end event came",
        lambda it: it.says(*PIECES),
        dialects=_ENDED,
        why=_NO_END,
    ),
    _cut(
        "inside-an-event",
        "the body ends in order, inside the JSON of an event",
        _event_cut,
        why=_NO_END,
        dialects=_ENDED,
    ),
    _cut(
        "inside-an-event-closed", "the connection closes inside the JSON of an event", _event_cut, how={"ending": "cut"}
    ),
    _cut(
        "inside-a-character",
        "the connection closes inside a character",
        lambda it: it.says(*PIECES[:2]) + it.says(PIECES[2]).partition("声".encode())[0] + "声".encode()[:1],
        how={"ending": "cut"},
    ),
    _cut(
        "before-the-first",
        "the connection closes after the head",
        lambda _: b"\n",
        how={"ending": "cut"},
        so_far="",
    ),
    _cut(
        "nothing",
        "the connection closes without an answer",
        lambda _: b"",
        how={"ending": "cut", "wire": Wire(headless=True)},
        so_far="",
    ),
    _cut(
        "empty-body", "the stream is empty, and ends in order", lambda _: b"", why=_NO_END, so_far="", dialects=_ENDED
    ),
    _cut(
        "short-of-its-length",
        "Content-Length promises more than comes",
        lambda it: it.says(*PIECES[:2]),
        how={
            "streamed": False,
            "ending": "cut",
            "content_type": "text/event-stream; charset=utf-8",
            "wire": Wire(length_by=40),
        },
        needs=("stream", "sse"),
    ),
    _cut(
        "bad-chunk",
        "bytes that are no chunk follow the first pieces",
        _bad_chunk,
        how={"ending": "cut", "wire": Wire(raw_chunks=True)},
        why="RFC 9112, 7.1: a chunk begins with its size",
    ),
    _cut(
        "inside-gzip",
        "the compressed stream is cut",
        _gzip_cut,
        how={"ending": "cut", "headers": [("Content-Encoding", "gzip")]},
    ),
)


# Stalls


def _silence(stage: Stage) -> float:
    """More than the client waits, in seconds."""
    return 2 * stage.read_timeout + 0.5


def _stalls(stage: Stage, first: Sequence[str], rest: Sequence[str]) -> None:
    shape = stage.shape
    later = [(_silence(stage), shape.says(*rest) + shape.tail)]
    stage.raw([(0.0, shape.says(*first)), *later] if first else later)


def _kept_alive(stage: Stage) -> None:
    shape, gap = stage.shape, stage.read_timeout / 2
    comments = [(gap * number, b": keep-alive\n\n") for number in range(1, 5)]
    stage.raw([(0.0, shape.says(PIECES[0])), *comments, (gap * 5, shape.says(*PIECES[1:]) + shape.tail)])


_TIMEOUT = "Give every request a read timeout, a bound on each wait for bytes, and raise when it ends."
_SILENT = (
    "RFC 9110 sets no bound: a connection may stay open and silent for ever, and a client without a timeout with it"
)


def _stall(
    name: str, what: str, script: Callable[[Stage], None], expected: Expected, *, do: str = _TIMEOUT, why: str = _SILENT
) -> Case:
    return Case(
        name=f"stalls/{name}",
        what=what,
        expected=expected,
        do=do,
        why=why,
        script=script,
        streamed=True,
        needs=("stream", "sse", "read_timeout"),
        level="recommended" if name == "comments" else "required",
    )


_STALLS = (
    _stall(
        "before-the-first",
        "nothing comes for longer than the read timeout",
        lambda stage: _stalls(stage, (), PIECES),
        Expected(fails=True, so_far=""),
    ),
    _stall(
        "after-the-first",
        "after a piece nothing comes for longer than the read timeout",
        lambda stage: _stalls(stage, PIECES[:1], PIECES[1:]),
        Expected(fails=True, so_far=PIECES[0]),
    ),
    _stall(
        "comments",
        "for longer than the read timeout only comments come, one each half of it",
        _kept_alive,
        Expected(text=TEXT, attempts=(1, 1)),
        do="Let the timeout bound each wait for bytes, not the whole answer: a model may think for minutes.",
        why="WHATWG HTML, 9.2.7: comments are keep-alives",
    ),
)


# Readers


def _pause(stage: Stage) -> float:
    """Long enough to be noticed, and no stall."""
    return min(1.0, stage.read_timeout / 2) if stage.read_timeout else 1.0


def _slow_end(stage: Stage) -> None:
    shape = stage.shape
    stage.raw([(0.0, shape.says(PIECES[0])), (_pause(stage), shape.says(*PIECES[1:]) + shape.tail)])


def _at_once(stage: Stage, outcome: Outcome) -> str | None:
    if outcome.first is not None and outcome.first < 0.7 * _pause(stage):
        return None
    return f"the first piece, which came at once, was handed out after {outcome.first or outcome.elapsed:.1f} s"


def _long(stage: Stage) -> None:
    stage.raw([(0.02 * number, stage.shape.says("字")) for number in range(300)])


def _hung_up(stage: Stage, outcome: Outcome) -> str | None:
    if not outcome.requests:
        return "it asked for nothing"
    ending = stage.ending_of(outcome.requests[-1])
    return None if ending == "hung up" else f"its connection is still open: the answer is {ending}"


_READERS = (
    Case(
        name="content/at-once",
        what="the first piece comes at once, the others a second later",
        expected=Expected(text=TEXT, also=_at_once, words="hands out the first piece at once"),
        do="Hand on what has come: read what the socket gives, not blocks of a fixed size, and collect nothing.",
        why="that is what a stream is for; readers that wait for 512 bytes or more hold the first words back",
        script=_slow_end,
        streamed=True,
        needs=("stream",),
    ),
    Case(
        name="ends/left",
        what="the reader stops after the first piece of a long answer",
        expected=Expected(so_far="字" * 300, also=_hung_up, words="closes the connection"),
        do="Close the response when the generator is closed: `with` or `finally` around the loop that reads.",
        why="an answer that nobody reads goes on costing tokens and holds a connection (verdict code stream-abandoned)",
        script=_long,
        play=lambda stage: stage.ask(take=1),
        streamed=True,
        needs=("stream",),
        level="recommended",
    ),
)

CASES: tuple[Case, ...] = (*_ENDS, *_CUTS, *_STALLS, *_READERS)
