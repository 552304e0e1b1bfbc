"""From the bytes of a stream to chunks, without I/O: what each dialect sends, how it ends, how it fails.

The rules (wire reference 3.4, 3.5, 4.3, 8.7; design notes 4):

* A stream is SSE, or one JSON object a line (text_generation does that for clients that do not ask for SSE). The first
  character tells: JSON begins with ``{``, and no SSE line that means anything does.
* An error may come in the middle: an event, or a bare line of JSON, that carries ``error_code`` or ``error``.
* v1 is done at ``is_end``; nothing follows. v2 and text_generation are done at ``[DONE]``, or when the bytes end
  after a ``finish_reason``: usage may stand in an event between the two.
* Bytes that end before that are a truncated stream, whether or not HTTP framing was kept. But nobody documents an end
  marker for text_generation: there a body that HTTP says is whole, after at least one chunk, is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from qfkit.client.exceptions import APIError, InvalidReply, QianfanError
from qfkit.protocol.messages import Chunk, Json, MalformedReply, parse_chunk
from qfkit.protocol.sse import Decoder, LineDecoder, SSEError

#: The longest line of a stream, in bytes: far above any event, so that a peer that never ends a line is noticed.
_MAX_LINE = 16 * 1024 * 1024
_DONE = "[DONE]"
_BLANK = b"\xef\xbb\xbf \t\r\n"


class _Lines:
    """Payloads that stand on bare lines."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = LineDecoder(max_line=_MAX_LINE)

    def feed(self, data: bytes) -> list[str]:
        return [line for line in self._decoder.feed(data) if line.strip()]

    def close(self) -> list[str]:
        return [line for line in self._decoder.close() if line.strip()]


class _Events:
    """Payloads that stand in events, and the bare line of JSON that an error may be."""

    __slots__ = ("_bare", "_decoder")

    def __init__(self) -> None:
        self._bare: list[str] = []
        self._decoder = Decoder(max_line=_MAX_LINE, on_ignored=self._bare.append)

    def feed(self, data: bytes) -> list[str]:
        return [event.data for event in self._decoder.feed(data)] + self._take_bare()

    def close(self) -> list[str]:
        return [event.data for event in self._decoder.close()] + self._take_bare()

    def _take_bare(self) -> list[str]:
        if not self._bare:
            return []
        found = [line for line in self._bare if line.startswith("{")]  # the others are comments and the like
        self._bare.clear()
        return found


class EventReader:
    """Turns bytes, fed in any pieces, into the payloads of events, whichever of the two framings they come in."""

    __slots__ = ("_framing", "_head")

    def __init__(self) -> None:
        self._head = b""  # until a character that tells the framing has come
        self._framing: _Lines | _Events | None = None

    def feed(self, data: bytes) -> list[str]:
        """The payloads that ``data`` completed.

        Raises:
            SSEError: a line is longer than 16 MiB.
        """
        if self._framing is None:
            data = self._head + data
            first = data.lstrip(_BLANK)[:1]
            if not first:
                self._head = data
                return []
            self._framing = _Lines() if first == b"{" else _Events()
        return self._framing.feed(data)

    def close(self) -> list[str]:
        """What had no proper end when the bytes ended: at most one payload, perhaps cut short."""
        return [] if self._framing is None else self._framing.close()


class ChunkReader:
    """Turns the bytes of one stream into chunks, and knows when it is done.

    Args:
        dialect: the API family.
        check: what error a JSON object reports, None when it reports none.
        clean: takes secrets out of a text that may quote the service.

    Attributes:
        done: the service has said that the answer is complete, and that nothing follows.
        complete: the service has said that the answer is complete; more bytes (usage, ``[DONE]``) may follow.
        failure: what went wrong, after the chunks that were returned; nothing is read any more then.
    """

    __slots__ = ("_check", "_clean", "_dialect", "_events", "_seen", "complete", "done", "failure")

    def __init__(
        self, dialect: str, check: Callable[[Json], APIError | None], clean: Callable[[str], str] = str
    ) -> None:
        self._clean = clean
        self._dialect = dialect
        self._check = check
        self._events = EventReader()
        self.done = False
        self.complete = False
        self._seen = False
        self.failure: QianfanError | None = None

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that ``data`` completed; see ``done`` and ``failure`` after each call."""
        try:
            payloads = self._events.feed(data)
        except SSEError as error:
            self.failure = InvalidReply(f"the {self._dialect} service sent a stream that is none: {error}")
            return []
        chunks: list[Chunk] = []
        for payload in payloads:
            found: Chunk | QianfanError | None
            try:
                found = self._read(payload)
            except ValueError as error:
                found = InvalidReply(
                    f"the {self._dialect} service sent an event that cannot be read: {self._clean(_why(error))}"
                )
            if isinstance(found, Chunk):
                chunks.append(found)
            elif found is not None:
                self.failure = found
            if self.done or self.failure:
                break
        return chunks

    def close(self, *, whole: bool) -> list[Chunk]:
        """The bytes have ended: the chunk that stood unfinished, if it can be read all the same.

        Args:
            whole: HTTP says that the body is complete; False for a connection that broke.
        """
        try:
            found = [self._read(payload) for payload in self._events.close()]
        except ValueError:
            return []  # cut short: the stream is truncated, and says so by not being complete
        self.failure = next((it for it in found if isinstance(it, APIError)), None)
        if whole and self._seen and self._dialect == "text_generation" and self.failure is None:
            self.complete = True
        return [it for it in found if isinstance(it, Chunk)]

    def take_failure(self) -> QianfanError | None:
        """What went wrong, handed over to be raised: nobody else may then hold it (see `raise_if`)."""
        failure, self.failure = self.failure, None
        return failure

    def _read(self, payload: str) -> Chunk | APIError | None:
        if payload.strip() == _DONE:
            self.done = self.complete = True
            return None
        body = json.loads(payload)
        if isinstance(body, dict) and (error := self._check(body)) is not None:
            return error
        chunk = parse_chunk(self._dialect, body)
        self._seen = True
        if chunk.is_last:
            self.complete = True
            self.done = self._dialect == "v1"
        return chunk


def _why(error: ValueError) -> str:
    return str(error) if isinstance(error, MalformedReply) else "it is not JSON"
