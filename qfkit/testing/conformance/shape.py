"""The bytes of a dialect, made by hand: what the cases cut up, damage and hold back.

They are written here a second time, not borrowed from the mock or from `qfkit.protocol.sse`, so that a mistake there
does not become a rule for others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mock_server.delivery import Ending, Reply, Wire, Write
from qfkit.protocol.errors import envelope, translate

if TYPE_CHECKING:
    from mock_server.faults.whole import Ordinary

_ID, _CREATED = "as-c0nf0rm4nc", 1766059499
_USAGE = {"prompt_tokens": 2, "completion_tokens": 12, "total_tokens": 14}

#: Whatever is said, in most cases: Chinese, so that characters have several bytes, in three pieces.
PIECES = ("春眠不觉晓，", "处处闻啼鸟。", "夜来风雨声")
TEXT = "".join(PIECES)


def compact(data: object) -> bytes:
    """JSON on one line, as the service writes it: UTF-8, nothing escaped (wire reference 3.3)."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Shape:
    """How one dialect writes a stream and a whole answer.

    Attributes:
        dialect: which.
        sse: events stand in server-sent events; else one JSON object a line, as text_generation writes to clients that
            do not accept ``text/event-stream``.
    """

    dialect: str
    sse: bool = True

    @property
    def content_type(self) -> str:
        """Of a stream."""
        return "text/event-stream; charset=utf-8" if self.sse else "application/x-ndjson; charset=utf-8"

    def data(self, text: str | None, **members: Any) -> dict[str, Any]:
        """The JSON of an event that says ``text``; ``members`` join or replace those of its innermost part."""
        base = {"id": _ID, "object": "chat.completion", "created": _CREATED}
        if self.dialect == "v1":
            said = {"result": text, "need_clear_history": False, "finish_reason": "normal", "usage": _USAGE}
            return base | {"sentence_id": 0, "is_end": False, "is_truncated": False} | said | members
        delta = {"content": text} | members
        choice: dict[str, Any] = {"index": 0, "delta": delta}
        if self.dialect == "v2":
            choice["flag"] = 0
            base |= {"object": "chat.completion.chunk", "model": "ernie-4.0-8k"}
        return base | {"choices": [choice]}

    def last(self, text: str = "") -> dict[str, Any]:
        """The JSON of the event that says that the answer is done."""
        if self.dialect == "v1":
            return self.data(text, is_end=True)
        data = self.data(text)
        data["choices"][0]["finish_reason"] = "stop"
        return data | {"usage": _USAGE}

    def event(self, payload: bytes | dict[str, Any]) -> bytes:
        """An event, or a line."""
        written = payload if isinstance(payload, bytes) else compact(payload)
        return b"data: %b\n\n" % written if self.sse else written + b"\n"

    def says(self, *texts: str | None) -> bytes:
        """An event for each text."""
        return b"".join(self.event(self.data(text)) for text in texts)

    @property
    def done(self) -> bytes:
        """The mark behind the last event; v2 alone has one (4.3)."""
        return b"data: [DONE]\n\n" if self.dialect == "v2" else b""

    @property
    def tail(self) -> bytes:
        """Everything behind the content."""
        return self.event(self.last()) + self.done

    def stream(self, *texts: str) -> bytes:
        """A whole stream, nothing wrong with it."""
        return self.says(*(texts or PIECES)) + self.tail

    def error(self, code: int | str) -> bytes:
        """The JSON of an error, in the dialect's envelope (3.5, 5)."""
        return compact(envelope(translate(code, self.dialect), request_id=_ID))

    def whole(self, text: str = TEXT) -> bytes:
        """The JSON of an answer that is no stream."""
        base = {"id": _ID, "object": "chat.completion", "created": _CREATED}
        if self.dialect == "v2":
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop", "flag": 0}
            return compact(base | {"model": "ernie-4.0-8k", "choices": [choice], "usage": _USAGE})
        said = {"result": text, "is_truncated": False, "need_clear_history": False, "finish_reason": "normal"}
        return compact(base | said | {"usage": _USAGE})


@dataclass(frozen=True)
class Raw:
    """A step that sends exactly these bytes, whatever was asked: what a script queues as it does a fault.

    Attributes:
        pieces: seconds after the request, and bytes; each is an HTTP chunk of its own.
        status: of HTTP.
        headers: of it, without those that frame the body.
        streamed: the body is chunked.
        ending: how it ends.
        wire: what happens to the bytes below.
    """

    pieces: tuple[tuple[float, bytes], ...]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    streamed: bool = True
    ending: Ending = "complete"
    wire: Wire | None = None

    def apply(self, ordinary: Ordinary) -> Reply:  # noqa: ARG002 - nothing of it shows
        """The answer."""
        writes = tuple(Write(at, data) for at, data in self.pieces)
        return Reply(
            self.status, list(self.headers), writes, streamed=self.streamed, ending=self.ending, wire=self.wire
        )

    def describe(self) -> str:
        """A few words for the journal."""
        return f"{sum(len(data) for _, data in self.pieces)} bytes of a conformance case"

    def shown(self, limit: int = 12) -> list[str]:
        """The bytes for people, a line a piece, shortened."""
        kind = [f"{name}: {value}" for name, value in self.headers]
        lines = [f"HTTP {self.status}" + (f" ({'; '.join(kind)})" if kind else "")]
        for at, data in self.pieces[:limit]:
            text = repr(data.decode("utf-8", "backslashreplace"))
            short = text if len(text) <= 160 else f"{text[:110]}…{text[-40:]} ({len(data)} bytes)"
            lines.append(f"{f'+{at:g} s ' if at else ''}{short}")
        if (more := len(self.pieces) - limit) > 0:
            lines.append(f"and {more} more pieces")
        lines.append(_ENDINGS[self.ending])
        return lines


_ENDINGS: dict[Ending, str] = {
    "complete": "the body ends as HTTP ends it",
    "cut": "the connection closes without the last chunk",
    "reset": "the connection is reset",
    "hang": "nothing more comes, and the connection stays open",
}


def at_once(data: bytes | Sequence[bytes]) -> tuple[tuple[float, bytes], ...]:
    """Pieces that leave at once."""
    return tuple((0.0, piece) for piece in ([data] if isinstance(data, bytes) else data))
