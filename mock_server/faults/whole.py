"""Faults of an answer as a whole: each a frozen dataclass that turns the ordinary answer into the faulty one.

The names are ours; those that WireMock and toxiproxy have for the same thing are understood too.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from random import Random
from typing import Any, ClassVar, TypeAlias

from mock_server.delivery import Ending, Reply, Wire, Write
from mock_server.faults import options as rules
from mock_server.faults import pages
from mock_server.faults.options import MANY, OptionError, Options, UnknownOption, nearest, option

Ordinary: TypeAlias = Callable[[str | None], Reply]
"""Makes the answer that would be given without the fault; its text, or None for a made-up one."""


@dataclass(frozen=True)
class Fault(Options, ABC):
    """What happens to one answer.

    What a class does is its docstring, which the documentation repeats.

    Attributes:
        kind: its name.
        also: names of the same thing elsewhere.
    """

    kind: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()

    delay: float = option(0.0, rules.seconds(), "before anything is sent")

    def apply(self, ordinary: Ordinary) -> Reply:
        """The faulty answer."""
        return _delayed(self._faulty(ordinary), self.delay)

    @abstractmethod
    def _faulty(self, ordinary: Ordinary) -> Reply:
        """The faulty answer without its delay."""

    def describe(self) -> str:
        """A few words for the journal."""
        return f"fault {self.kind}" + (f" ({self.written})" if self.written else "")


@dataclass(frozen=True)
class _OverAnswer(Fault):
    """A fault that the ordinary answer shows through."""

    text: str | None = option(None, rules.text(optional=True), "what the answer says; None makes it up")


@dataclass(frozen=True)
class _Ended(_OverAnswer):
    """The connection ends, after some bytes or none."""

    ending: ClassVar[Ending]

    after_bytes: int = option(
        0,
        rules.whole(0, MANY, "a number of bytes"),
        "so many bytes of the ordinary answer come first, its head included",
    )

    def _faulty(self, ordinary: Ordinary) -> Reply:
        if not self.after_bytes:
            return _headless(b"", self.ending)
        found = ordinary(self.text)
        found.ending, found.wire = self.ending, replace(found.wire or Wire(), limit=self.after_bytes)
        return found


@dataclass(frozen=True)
class Close(_Ended):
    """The request is accepted, and the connection closes."""

    kind = "close"
    also = ("EMPTY_RESPONSE", "limit_data")
    ending = "cut"


@dataclass(frozen=True)
class Reset(_Ended):
    """The request is accepted, and the connection is reset (TCP RST)."""

    kind = "reset"
    also = ("CONNECTION_RESET_BY_PEER", "reset_peer")
    ending = "reset"


@dataclass(frozen=True)
class Hang(_Ended):
    """The request is accepted, and nothing comes: the client's time-out is what ends it."""

    kind = "hang"
    also = ("timeout",)
    ending = "hang"

    open_for: float | None = option(
        None,
        rules.seconds(optional=True),
        "the connection closes after so long; None leaves it open until the client goes",
    )

    def _faulty(self, ordinary: Ordinary) -> Reply:
        found = super()._faulty(ordinary)
        if self.open_for is not None:
            assert found.wire is not None
            found.ending, found.wire = "cut", replace(found.wire, linger=self.open_for)
        return found


@dataclass(frozen=True)
class SlowHeaders(_OverAnswer):
    """Status line and headers come a few bytes at a time, then the ordinary answer."""

    kind = "slow-headers"

    interval: float = option(0.01, rules.seconds(), "between the writes")
    bytes_per_write: int = option(1, rules.whole(1, MANY, "a number of bytes"), "how many come at once")

    def _faulty(self, ordinary: Ordinary) -> Reply:
        return _bent(ordinary(self.text), head_slice=self.bytes_per_write, interval=self.interval)


@dataclass(frozen=True)
class Delay(_OverAnswer):
    """The ordinary answer, late: nothing of it comes for `delay` seconds."""

    kind = "delay"
    also = ("latency", "fixedDelay")

    delay: float = option(1.0, rules.seconds(), "before anything is sent")

    def _faulty(self, ordinary: Ordinary) -> Reply:
        return ordinary(self.text)


@dataclass(frozen=True)
class SlowBody(_OverAnswer):
    """The head comes at once, the body a few bytes at a time."""

    kind = "slow-body"
    also = ("bandwidth", "slicer", "chunkedDribbleDelay")

    interval: float = option(0.01, rules.seconds(), "between the writes")
    bytes_per_write: int = option(
        1, rules.whole(1, MANY, "a number of bytes"), "how many come at once, HTTP's framing included"
    )

    def _faulty(self, ordinary: Ordinary) -> Reply:
        return _bent(ordinary(self.text), body_slice=self.bytes_per_write, interval=self.interval)


@dataclass(frozen=True)
class WrongLength(_OverAnswer):
    """Content-Length is wrong; a stream has one too, and no chunks."""

    kind = "wrong-length"

    by: int = option(
        10,
        rules.whole(-MANY, MANY, "a number of bytes"),
        "how much too long it is: the client waits for bytes that never come; negative is too short: the client takes "
        "a part for the whole",
    )
    then: str = option(
        "close",
        rules.one_of("close", "keep", "hang"),
        "what becomes of the connection: closed; kept, so that bytes left over look like the next answer; open and "
        "silent",
    )

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if not self.by:
            raise OptionError("by", "by=0 is the right length: give how many bytes too long, or, negative, too short")

    def _faulty(self, ordinary: Ordinary) -> Reply:
        found = _bent(ordinary(self.text), length_by=self.by)
        endings: dict[str, Ending] = {"close": "cut", "keep": "complete", "hang": "hang"}
        found.ending = endings[self.then]
        return found


@dataclass(frozen=True)
class BadGzip(_OverAnswer):
    """Content-Encoding says gzip, and the body is none that can be read."""

    kind = "bad-gzip"

    how: str = option(
        "truncated",
        rules.one_of("truncated", "corrupt", "not-gzip", "intact"),
        "only its first half comes; one byte in its middle is inverted; it is plain text; or, to compare, nothing is "
        "wrong with it",
    )

    def _faulty(self, ordinary: Ordinary) -> Reply:
        found = ordinary(self.text)
        found.headers.append(("Content-Encoding", "gzip"))
        if self.how != "not-gzip":
            pieces = _zipped([write.data for write in found.body])
            if self.how == "truncated":
                pieces = _first(pieces, sum(map(len, pieces)) // 2)
            elif self.how == "corrupt":
                pieces = _inverted(pieces, sum(map(len, pieces)) // 2)
            found.body = tuple(Write(write.at, data) for write, data in zip(found.body, pieces, strict=False))
        return found


@dataclass(frozen=True)
class Garbage(Fault):
    """Random bytes come instead of HTTP, and the connection closes."""

    kind = "garbage"
    also = ("RANDOM_DATA_THEN_CLOSE",)

    size: int = option(64, rules.whole(1, 1_000_000, "a number of bytes"), "how many")
    seed: int = option(0, rules.whole(-MANY, MANY), "others; the same seed gives the same")

    def _faulty(self, ordinary: Ordinary) -> Reply:  # noqa: ARG002 - nothing of it shows
        return _headless(_random_bytes(self.size, self.seed), "cut")


@dataclass(frozen=True)
class BadStatusLine(_OverAnswer):
    """The answer is the ordinary one, but for a status line that is none."""

    kind = "bad-status-line"

    line: str = option("HTTP/1.1 nonsense", rules.text(one_line=True, latin=True), "what comes in its place")

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if not self.line:
            raise OptionError("line", "line is what comes instead of the status line; an empty one would be skipped")

    def _faulty(self, ordinary: Ordinary) -> Reply:
        return _bent(ordinary(self.text), status_line=self.line)


@dataclass(frozen=True)
class MalformedChunk(_OverAnswer):
    """A good head announces chunks, then come random bytes, and the connection closes."""

    kind = "malformed-chunk"
    also = ("MALFORMED_RESPONSE_CHUNK",)

    size: int = option(64, rules.whole(1, 1_000_000, "a number of bytes"), "how many")
    seed: int = option(0, rules.whole(-MANY, MANY), "others; the same seed gives the same")

    def _faulty(self, ordinary: Ordinary) -> Reply:
        found = _bent(ordinary(self.text), raw_chunks=True)
        found.streamed, found.ending = True, "cut"
        found.body = (Write(0.0, _random_bytes(self.size, self.seed)),)
        return found


@dataclass(frozen=True)
class Html(Fault):
    """A web page comes instead of JSON, as from a login portal on the way."""

    kind = "html"

    status: int = option(200, rules.whole(200, 599, "an HTTP status"), "its status")
    page: str = option("", rules.text(), "the page; the empty one is a login form")

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if self.status in {204, 304}:
            raise OptionError("status", f"an answer with status {self.status} has no body, and so no page")

    def _faulty(self, ordinary: Ordinary) -> Reply:  # noqa: ARG002 - nothing of it shows
        body = (self.page or pages.LOGIN).encode()
        return Reply(self.status, [("Content-Type", "text/html; charset=utf-8")], (Write(0.0, body),))


@dataclass(frozen=True)
class ProxyError(Fault):
    """A proxy answers that it cannot reach the service."""

    kind = "proxy-error"

    status: int = option(502, rules.whole(502, 504, "an HTTP status"), "502, 503 or 504")
    server: str = option(
        "nginx",
        rules.one_of("nginx", "bfe"),
        "whose: nginx sends its HTML page, BFE (Baidu's own front end, github.com/bfenetworks/bfe) no body at all",
    )

    def _faulty(self, ordinary: Ordinary) -> Reply:  # noqa: ARG002 - nothing of it shows
        if self.server == "bfe":
            # bfe_basic/common.go, CreateInternalResp: these are all its headers. That Baidu's own build uses it with
            # these statuses is a guess: the published one has 500 and 403.
            return Reply(self.status, [("Server", "bfe")], (Write(0.0, b""),))
        headers = [("Server", "nginx"), ("Content-Type", "text/html")]
        wire = Wire(reason=pages.NGINX_REASONS[self.status])
        return Reply(self.status, headers, (Write(0.0, pages.nginx(self.status)),), wire=wire)


@dataclass(frozen=True)
class LargeBody(Fault):
    """A valid answer of that size comes; a stream has it all in one event."""

    kind = "large-body"

    size: int = option(
        100_000_000,
        rules.whole(10_000, 10_000_000_000, "a number of bytes"),
        "of the body; answers share these bytes in memory",
    )

    def _faulty(self, ordinary: Ordinary) -> Reply:
        found = ordinary(_FILLER)
        said = [place for place, write in enumerate(found.body) if _FILLER.encode() in write.data]
        place = said[0] if said else len(found.body) - 1
        missing = self.size - sum(len(write.data) for write in found.body)
        write = found.body[place]
        if said:
            before, filler, after = write.data.partition(_FILLER.encode())
            parts = [before, *_filled(missing + len(filler), b"a"), after]
        else:  # an answer that says nothing, such as an embedding: spaces after its JSON are as good
            parts = [write.data, *_filled(missing, b" ")]
        found.body = (*found.body[:place], *(Write(write.at, part) for part in parts), *found.body[place + 1 :])
        found.wire = found.wire or Wire()
        return found


#: Every fault of a whole answer, in the order of the documentation.
FAULTS: dict[str, type[Fault]] = {
    fault.kind: fault
    for fault in (
        Close,
        Reset,
        Hang,
        Delay,
        SlowHeaders,
        SlowBody,
        WrongLength,
        BadGzip,
        Garbage,
        BadStatusLine,
        MalformedChunk,
        Html,
        ProxyError,
        LargeBody,
    )
}
_SPELLINGS = {name.lower().replace("_", "-"): kind for kind, fault in FAULTS.items() for name in (kind, *fault.also)}


def fault_of(kind: str, options: Mapping[str, Any]) -> Fault:
    """A fault by its name, in any of its spellings.

    Raises:
        UnknownOption: no fault has that name, or the fault has no such option; the message names the nearest.
        OptionError: a value is out of its range.
    """
    name = _SPELLINGS.get(str(kind).lower().replace("_", "-"))
    if name is None:
        raise UnknownOption("fault", f"there is no fault {kind!r}; {nearest(str(kind), list(FAULTS))}")
    return FAULTS[name].of(options, f"fault {name!r}")


def _headless(data: bytes, ending: Ending) -> Reply:
    return Reply(0, [], (Write(0.0, data),), ending=ending, wire=Wire(headless=True))


def _bent(reply: Reply, **changes: Any) -> Reply:
    reply.wire = replace(reply.wire or Wire(), **changes)
    return reply


def _delayed(reply: Reply, delay: float) -> Reply:
    if delay:
        reply.body = tuple(Write(write.at + delay, write.data) for write in reply.body)
        _bent(reply, head_at=delay + (reply.wire.head_at if reply.wire else 0.0))
    return reply


@lru_cache(maxsize=16)
def _random_bytes(size: int, seed: int) -> bytes:
    """Random bytes of which the first is no ASCII: no luck makes them a status line or a chunk header."""
    drawn = Random(seed).randbytes(size)
    return bytes([drawn[0] | 0x80]) + drawn[1:]


def _zipped(pieces: Sequence[bytes]) -> list[bytes]:
    """Pieces as one gzip stream, each readable as soon as it has come."""
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH) for data in pieces[:-1]]
    return [*packed, packer.compress(pieces[-1] if pieces else b"") + packer.flush()]


def _first(pieces: Sequence[bytes], size: int) -> list[bytes]:
    kept = []
    for data in pieces:
        kept.append(data[:size])
        size -= len(kept[-1])
    return kept


def _inverted(pieces: Sequence[bytes], at: int) -> list[bytes]:
    """The pieces with the byte ``at`` inverted."""
    changed = []
    for data in pieces:
        if 0 <= at < len(data):
            data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]  # noqa: PLW2901
            at = -1
        elif at >= 0:
            at -= len(data)
        changed.append(data)
    return changed


#: The text of an answer that is blown up: one word, and one piece of a stream.
_FILLER = "qfkitfiller"
_BLOCK = 1 << 18


@cache
def _block(byte: bytes) -> bytes:
    return byte * _BLOCK


@lru_cache(maxsize=8)
def _rest(byte: bytes, size: int) -> bytes:
    return byte * size


def _filled(size: int, byte: bytes) -> Iterator[bytes]:
    """``size`` bytes in blocks that all answers share."""
    for _ in range(size // _BLOCK):
        yield _block(byte)
    if size > 0 and size % _BLOCK:
        yield _rest(byte, size % _BLOCK)
