"""Server-sent events: one encoder, and a decoder that is right for every split of the bytes.

The rules are those of the WHATWG HTML standard, "Parsing" and "Interpreting an event stream"
(https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation). In short:

**Bytes to lines.** The stream is UTF-8, whatever the headers say; bytes that are not become U+FFFD. One byte order mark
at the very start is dropped, any other is text. A line ends at LF, CR or CRLF, and at nothing else: not at U+2028, not
at form feed. All three endings are ASCII, and no byte of a longer UTF-8 sequence is ASCII, so cutting the *bytes* into
lines and decoding each line gives what decoding the whole stream would give. That is why nothing here has to remember
half a character; it has to remember only

- the first one or two bytes, while they may still become a byte order mark;
- the bytes of the line that has no ending yet;
- that the last byte was a CR. The line is complete then and there (waiting to see whether an LF follows would hold an
  event back until the next one), but an LF that comes next belongs to that CR.

**Lines to fields.** A line that starts with a colon is a comment. Else the name is what stands before the first colon,
the value what follows it, less *one* leading space; without a colon the whole line is the name and the value is empty.
Names are exact: ``Data`` and `` data`` are unknown, and unknown fields are ignored.

**Fields to events.** ``data`` lines are joined with LF. ``event`` names the type; the last one wins, an empty one means
``message``. ``id`` is kept for this event and all that follow, unless it holds a NUL: then it is ignored. ``retry``
counts only if it is all ASCII digits, at least one (here also: at most 18, which fit in 64 bits). An empty line
dispatches: with at least one ``data`` line (even an empty one) an event comes out, without one nothing does, and either
way type and data start afresh.

**The end.** The standard drops an event that no empty line completed. Browsers and openai-python do so; most clients
written for Qianfan read line by line and hand it on (wire reference 8.7), so ``close()`` yields it unless told not to.

Two habits of Qianfan lie outside the standard. Its clients are ready for an error as a bare line of JSON in the middle
of a stream (3.5), and the text_generation tutorial reads bare JSON lines throughout. To the rules above those are
unknown fields; a caller that must see them passes ``on_ignored``, or reads plain lines with `LineDecoder`, on which
`Decoder` is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"
_CR, _LF = 0x0D, 0x0A
_NEWLINES = ("\n", "\r\n", "\r")
_LINE_END = re.compile(r"\r\n|\n|\r")
_MAX_RETRY = 10**18 - 1
_RETRY = re.compile(r"[0-9]{1,18}")


class SSEError(ValueError):
    """A line of the stream is longer than the decoder was told to hold.

    Attributes:
        limit: the ``max_line`` that was exceeded, in bytes.
        line: the number of the long line, from 1.
    """

    def __init__(self, limit: int, line: int) -> None:
        super().__init__(limit, line)
        self.limit = limit
        self.line = line

    def __str__(self) -> str:
        return (
            f"line {self.line} of the stream is longer than max_line={self.limit} bytes: "
            "raise max_line if such lines are expected, else check that the peer ends its lines"
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event.

    Attributes:
        data: the ``data`` lines, joined with LF.
        event: the type; ``message`` when the stream named none. v1 plugins use others (wire reference 3.9).
        id: the last event ID when this event was dispatched: its own, or the latest one before it; may be empty.
        retry: the reconnection time in milliseconds, if this very event carried one.
    """

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None


class LineDecoder:
    """Cuts bytes, fed in any pieces, into lines of text: LF, CR or CRLF end a line and are not part of it.

    A leading byte order mark is dropped; bytes that are not UTF-8 become U+FFFD. Time is linear in the input, however
    small the pieces.

    Args:
        max_line: the longest line accepted, in bytes without its ending (1 or more); ``None`` for no limit. At most
            this much and one fed piece is held.
    """

    __slots__ = ("_after_cr", "_count", "_head", "_max_line", "_partial", "closed", "failure")

    def __init__(self, *, max_line: int | None = None) -> None:
        if max_line is not None and max_line < 1:
            raise ValueError(f"max_line is a number of bytes, 1 or more, or None for no limit; got {max_line}")
        self._max_line = max_line
        self._head: bytes | None = b""  # the start of the stream while it may be a byte order mark; None after that
        self._partial = bytearray()  # grows in place: joining bytes objects would copy a long line once a piece
        self._after_cr = False
        self._count = 0  # complete lines so far, kept only under a limit
        self.closed = False
        #: The limit that was met, once it was.
        self.failure: SSEError | None = None

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that ``chunk`` completed, perhaps none.

        Raises:
            SSEError: a line is longer than ``max_line``. Lines complete before it are returned first: the error
                comes from the first call that has nothing else to return, and from every call after it.
            ValueError: the decoder was closed.
        """
        if self.closed:
            raise ValueError("feed() after close(): a decoder serves one stream; make a new one for the next response")
        if self.failure is not None:
            raise self.failure
        if self._head is not None:
            chunk = self._head + chunk
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._head = chunk
                return []
            self._head = None
            chunk = chunk.removeprefix(_BOM)
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        # For bytes, unlike str, splitlines() knows LF, CR and CRLF only.
        lines = chunk.splitlines()
        last = chunk[-1]
        self._after_cr = last == _CR
        tail = b"" if last in (_LF, _CR) else lines.pop()
        if lines and self._partial:
            self._partial += lines[0]
            lines[0] = bytes(self._partial)
            self._partial.clear()
        self._partial += tail
        if self._max_line is not None:
            self._enforce(self._max_line, lines)
        return [line.decode("utf-8", "replace") for line in lines]

    def close(self) -> list[str]:
        """The end of the stream: its last line if that had no ending, else nothing. Further calls return nothing.

        Raises:
            SSEError: as `feed`.
        """
        if self.failure is not None:
            raise self.failure
        if self._head:
            self._partial += self._head
            self._head = None
        if self._max_line is not None:
            self._enforce(self._max_line, [])
        self.closed = True
        rest = self._partial.decode("utf-8", "replace")
        self._partial.clear()
        return [rest] if rest else []

    def _enforce(self, limit: int, lines: list[bytes]) -> None:
        for index, line in enumerate((*lines, self._partial)):
            if len(line) > limit:
                self.failure = SSEError(limit, self._count + index + 1)
                del lines[index:]
                self._partial.clear()
                break
        self._count += len(lines)
        if self.failure is not None and not lines:
            raise self.failure


class Decoder:
    """Turns the bytes of an event stream, fed in any pieces, into events. One decoder serves one stream.

    Args:
        max_line: the longest line accepted, in bytes without its ending (1 or more); ``None`` for no limit. It bounds
            a line, not the sum of the lines of one event.
        on_ignored: called, in order, with each whole line that the rules say to ignore: comments (they start with
            ``:``; keep-alives are these), unknown fields (a bare line of JSON is one), an ``id`` with a NUL, a
            ``retry`` that is no number. It runs before the call that fed the line returns, and must not raise: what
            else that call completed would be lost.
    """

    __slots__ = ("_data", "_event", "_event_retry", "_id", "_last_event_id", "_lines", "_on_ignored", "_retry")

    def __init__(self, *, max_line: int | None = None, on_ignored: Callable[[str], object] | None = None) -> None:
        self._lines = LineDecoder(max_line=max_line)
        self._on_ignored = on_ignored
        self._data: list[str] = []
        self._event = ""
        self._event_retry: int | None = None
        self._id = ""
        self._last_event_id = ""
        self._retry: int | None = None

    @property
    def last_event_id(self) -> str:
        """What ``Last-Event-ID`` would say on reconnecting; an ``id`` counts once the empty line after it has come."""
        return self._last_event_id

    @property
    def retry(self) -> int | None:
        """The latest reconnection time in milliseconds; ``None`` while the stream has set none."""
        return self._retry

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completed, perhaps none.

        Raises:
            SSEError: a line is longer than ``max_line``. Events complete before it are returned first: the error
                comes from the first call that has nothing else to return, and from every call after it.
            ValueError: the decoder was closed.
        """
        events = self._interpret(self._lines.feed(chunk))
        if self._lines.failure is not None and not events:
            raise self._lines.failure
        return events

    def close(self, *, lenient: bool = True) -> list[Event]:
        """The end of the stream: at most one event, the one that no empty line had completed. Then nothing more.

        Its data may be cut short anywhere; that ``close()`` returned it is the sign.

        Args:
            lenient: ``False`` drops the unfinished event, as the standard says.

        Raises:
            SSEError: as `feed`.
        """
        if self._lines.closed:
            return []
        rest = self._lines.close()
        return self._interpret([*rest, ""]) if lenient else []

    def _interpret(self, lines: list[str]) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            if line.startswith("data: "):  # nearly every line there is
                self._data.append(line[6:])
            elif line:
                self._field(line)
            else:
                self._last_event_id = self._id
                if self._data:
                    events.append(Event("\n".join(self._data), self._event or "message", self._id, self._event_retry))
                    self._data.clear()
                self._event = ""
                self._event_retry = None
        return events

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and _RETRY.fullmatch(value):
            self._retry = self._event_retry = int(value)
        elif self._on_ignored is not None:
            self._on_ignored(line)


def iter_events(
    chunks: Iterable[bytes],
    *,
    lenient: bool = True,
    max_line: int | None = None,
    on_ignored: Callable[[str], object] | None = None,
) -> Iterator[Event]:
    """The events of a whole stream, each as soon as the chunk that completes it arrives. Parameters as `Decoder`.

    Raises:
        SSEError: a line is longer than ``max_line``; every event before it was yielded.
    """
    decoder = Decoder(max_line=max_line, on_ignored=on_ignored)
    for chunk in chunks:
        yield from decoder.feed(chunk)
    yield from decoder.close(lenient=lenient)


def encode(
    data: str,
    *,
    event: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name on the wire
    retry: int | None = None,
    comment: str | None = None,
    newline: str = "\n",
) -> bytes:
    r"""One event as it goes on the wire, with the empty line that completes it.

    Every field has one space after its colon, also when it is empty: several known clients insist on
    exactly ``data: `` (wire reference 8.7).

    Args:
        data: the payload. Each of ``\n``, ``\r\n`` and ``\r`` in it starts a new ``data`` line, so a decoder gives
            all three back as ``\n``.
        event: the type; one line.
        id: the event ID; one line without NUL. Empty clears the decoder's last event ID.
        retry: reconnection time in milliseconds, 0 to 10**18 - 1.
        comment: put before the fields; may have several lines. Mind that PyPI qianfan 0.4.12.3 raises on any comment.
        newline: ``"\n"``, ``"\r\n"`` or ``"\r"``.

    Raises:
        ValueError: an argument that could not be read back; the message says which and why.
    """
    lines = [] if comment is None else _comment_lines(comment)
    if event is not None:
        lines.append(f"event: {_one_line('event', event)}")
    if id is not None:
        if "\0" in id:
            raise ValueError(f"id must not hold NUL: every decoder would ignore it; got {id!r}")
        lines.append(f"id: {_one_line('id', id)}")
    if retry is not None:
        if not 0 <= retry <= _MAX_RETRY:
            raise ValueError(f"retry is milliseconds, 0 to {_MAX_RETRY}, written in digits only; got {retry}")
        lines.append(f"retry: {retry:d}")
    lines += [f"data: {line}" for line in _split(data)]
    return _block(lines, newline)


def comment(text: str = "", *, newline: str = "\n") -> bytes:
    r"""A comment on its own, such as a keep-alive, with an empty line after it. Decoders ignore it.

    To be sent between events: inside one, its empty line would end the event. PyPI qianfan 0.4.12.3 raises on any
    comment (wire reference 8.7).

    Args:
        text: what to say; several lines become several comment lines.
        newline: ``"\n"``, ``"\r\n"`` or ``"\r"``.

    Raises:
        ValueError: ``newline`` is something else, or ``text`` cannot be written in UTF-8.
    """
    return _block(_comment_lines(text), newline)


def _split(text: str) -> list[str]:
    return _LINE_END.split(text) if "\n" in text or "\r" in text else [text]


def _comment_lines(text: str) -> list[str]:
    return [f": {line}" if line else ":" for line in _split(text)]


def _one_line(name: str, value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueError(
            f"{name} must be one line: a line break would end the field, and what follows would be read as another; "
            f"only data may have several lines; got {value!r}"
        )
    return value


def _block(lines: list[str], newline: str) -> bytes:
    if newline not in _NEWLINES:
        raise ValueError(f"newline must be one of {', '.join(map(repr, _NEWLINES))}; got {newline!r}")
    try:
        return newline.join([*lines, "", ""]).encode()
    except UnicodeEncodeError as error:
        found = ord(error.object[error.start])
        raise ValueError(
            f"an event stream is UTF-8, which cannot carry the lone surrogate U+{found:04X}: replace it, "
            r"or let the JSON encoder escape it as \uXXXX"
        ) from error
