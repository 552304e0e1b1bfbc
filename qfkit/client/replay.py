"""An answer as it is kept: as JSON, and back as a whole `Reply` or as a `Stream`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from qfkit.client.attempts import AttemptLog, Running
from qfkit.client.events import ChunkReader
from qfkit.client.replies import Reply
from qfkit.client.streaming import Stream
from qfkit.clock import Clock
from qfkit.protocol.messages import Json, Usage

#: Of the stored form: an entry of another version is passed over.
_VERSION: Final = 1


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An answer without how it was come by. ``events`` are those of the stream it came as, empty if it came whole."""

    text: str
    reasoning: str
    usage: Usage | None
    finish_reason: str | None
    tool_calls: tuple[dict[str, Any], ...]
    id: str | None
    model: str | None
    is_truncated: bool
    need_clear_history: bool
    flag: int
    request_id: str | None
    raw: dict[str, Any]
    events: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, reply: Reply, events: tuple[Json, ...] = ()) -> Entry:
        """What is worth keeping of ``reply``."""
        return cls(**{name: getattr(reply, name) for name in cls.__struct_fields__ if name != "events"}, events=events)

    @property
    def keepable(self) -> bool:
        """The service had nothing against it (3.3, 4.2)."""
        return not self.need_clear_history and self.flag == 0

    def reply(self) -> Reply:
        """The answer, as if it had just come; ``attempts`` are none, for none was made."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "events"}
        return Reply(**fields, cached=True)

    def stream(self, dialect: str, clock: Clock) -> Stream:
        """The answer as a stream, event by event if it came so, else in one."""
        events = self.events or (_AS_EVENT[dialect](self.raw),)
        stream = Stream(
            answer=_Recorded(events, done=dialect != "v1"),
            reader=ChunkReader(dialect, lambda _: None),
            log=AttemptLog(clock),
            running=Running(0, 0.0, 0.0, None, 0.0),  # of no log: nothing was sent
            model=self.model,
            request_id=self.request_id,
            on_end=lambda _stream, _error: None,
            on_close=lambda: None,
            cached=True,
        )
        stream.open()
        return stream


class _Stored(msgspec.Struct, frozen=True):
    version: int
    key: str
    entry: Entry


def encode(key: str, entry: Entry) -> bytes | None:
    """``entry`` as bytes; None for one that JSON cannot hold, such as half a character."""
    try:
        return msgspec.json.encode(_Stored(_VERSION, key, entry))
    except ValueError:
        return None


def decode(key: str, value: bytes) -> Entry | None:
    """The entry in ``value``; None for anything else: damaged, of another version, or of another question."""
    try:
        stored = _DECODER.decode(value)
    except ValueError:  # msgspec's own are, too
        return None
    return stored.entry if (stored.version, stored.key) == (_VERSION, key) else None


_DECODER = msgspec.json.Decoder(_Stored)


class _Recorded:
    """The body of a stream that was kept, as the service framed it."""

    def __init__(self, events: tuple[Json, ...], *, done: bool) -> None:
        self._events = events
        self._done = done
        self.headers: Mapping[str, str] = {}

    def chunks(self) -> Iterator[bytes]:
        for event in self._events:
            yield b"data: " + json.dumps(event).encode() + b"\n\n"
        if self._done:
            yield b"data: [DONE]\n\n"

    def finish(self) -> None:
        """There is no connection to spare."""

    def close(self) -> None:
        """There is none to close."""


def _text_generation_event(raw: Json) -> Json:
    choice = {"index": 0, "delta": {"content": raw["result"]}, "finish_reason": raw.get("finish_reason")}
    return {name: value for name, value in raw.items() if name != "result"} | {"choices": [choice]}


def _v1_event(raw: Json) -> Json:
    return {**raw, "sentence_id": 0, "is_end": True}


def _v2_event(raw: Json) -> Json:
    choice = {("delta" if name == "message" else name): value for name, value in raw["choices"][0].items()}
    return {**raw, "object": "chat.completion.chunk", "choices": [choice]}


#: Dialect -> from the JSON of a whole answer to the one event of a stream that says the same (3.4, 4.3).
_AS_EVENT: dict[str, Callable[[Json], Json]] = {
    "text_generation": _text_generation_event,
    "v1": _v1_event,
    "v2": _v2_event,
}
