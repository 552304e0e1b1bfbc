"""Torture for stream readers, part one: all is there, and only its bytes are unusual. A sound client reads it whole."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from mock_server.delivery import Wire
from qfkit.testing.conformance.case import Case, Expected
from qfkit.testing.conformance.shape import PIECES, TEXT, Shape, compact

Bytes: TypeAlias = bytes | Sequence[bytes]
_FIELDS = "WHATWG HTML, 9.2.6 'Interpreting an event stream'"
_LINES = "WHATWG HTML, 9.2.5 'Parsing an event stream'"
_BOUNDARIES = "TCP and HTTP keep no boundaries (RFC 9112, 7.1: chunks carry no meaning): a read may end anywhere"
_JSON = "RFC 8259"

#: What to do about a reader that cuts bytes wrongly.
_BUFFER = (
    "Keep bytes until a line is whole, then decode that line; or use an incremental decoder, such as httpx-sse, or "
    "qfkit.protocol.sse.Decoder."
)
_PARSE = "Read lines and fields by the rules of the standard, not by `line[6:]` or `startswith('data: ')` alone."


def reads(
    name: str,
    what: str,
    made: Callable[[Shape], Bytes],
    *,
    why: str,
    do: str,
    text: str = TEXT,
    sse_only: bool = True,
    how: dict[str, Any] | None = None,
    **options: Any,
) -> Case:
    """A stream that is to be read whole.

    Args:
        name: of the case.
        what: the service does.
        made: the bytes; several are HTTP chunks of their own.
        why: with the source.
        do: what a sound client does.
        text: what it says.
        sse_only: it says nothing about a client that reads lines of JSON.
        how: further arguments of `Stage.raw`.
        options: further ones of the case.
    """
    return Case(
        name=name,
        what=what,
        expected=options.pop("expected", None) or Expected(text=text, attempts=(1, 1)),
        why=why,
        do=do,
        script=lambda stage: stage.raw(made(stage.shape), **(how or {})),
        streamed=True,
        needs=("stream", "sse") if sse_only else ("stream",),
        **options,
    )


# Splits


def cut(data: bytes, *places: int) -> list[bytes]:
    """``data`` in pieces that end at these places."""
    bounds = sorted({0, len(data), *places})
    return [data[first:last] for first, last in pairwise(bounds)]


def _inside(data: bytes, pattern: bytes) -> list[bytes]:
    """``data`` cut at the end of every place where ``pattern`` fits."""
    return cut(data, *(found.end() for found in re.finditer(pattern, data)))


def _split(name: str, what: str, made: Callable[[Shape], Bytes], *, sse_only: bool = False, **options: Any) -> Case:
    return reads(f"splits/{name}", what, made, why=_BOUNDARIES, do=_BUFFER, sse_only=sse_only, **options)


def _escaped(shape: Shape, text: str) -> bytes:
    """An event in which every character that is not ASCII is written as an escape."""
    written = compact(shape.data("@")).decode()
    return shape.event(written.replace("@", text.encode("unicode_escape").decode()).encode())


def _gzipped(pieces: Iterable[bytes]) -> list[bytes]:
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*packed, packer.flush()]


_SPLITS = (
    _split("one-byte-chunks", "every byte is an HTTP chunk of its own", lambda it: [bytes([b]) for b in it.stream()]),
    _split("one-write", "the whole stream comes in one chunk", lambda it: it.stream()),
    _split(
        "two-events-a-chunk", "events come in pairs", lambda it: [it.says(*PIECES[:2]), it.says(PIECES[2]) + it.tail]
    ),
    _split("inside-characters", "chunks end inside every character", lambda it: _inside(it.stream(), rb"[\xc0-\xff]")),
    _split(
        "inside-emoji",
        "chunks end after each byte of characters of four bytes",
        lambda it: _inside(it.stream("😀🎉", "👩‍💻"), rb"[\xf0-\xf4]|[\xf0-\xf4].|[\xf0-\xf4].."),
        text="😀🎉👩‍💻",
    ),
    _split(
        "inside-an-escape",
        r"chunks end inside JSON escapes such as \u6625",
        lambda it: _inside(_escaped(it, PIECES[0]) + it.tail, rb"\\u.."),
        text=PIECES[0],
    ),
    _split("inside-the-line-end", "chunks end before every line end", lambda it: _inside(it.stream(), rb"(?=\n)")),
    _split("between-line-ends", "chunks end between the two line ends", lambda it: _inside(it.stream(), rb"\n(?=\n)")),
    _split(
        "inside-crlf",
        "lines end with CRLF, and chunks between CR and LF",
        lambda it: _inside(it.stream().replace(b"\n", b"\r\n"), rb"\r"),
    ),
    _split(
        "inside-the-field-name",
        "chunks end inside `data`",
        lambda it: _inside(it.stream(), rb"^da|\nda"),
        sse_only=True,
    ),
    _split("after-the-colon", "chunks end after `data:`", lambda it: _inside(it.stream(), rb"data:"), sse_only=True),
    _split(
        "inside-done",
        "a chunk ends inside `[DONE]`",
        lambda it: _inside(it.stream(), rb"\[DO"),
        sse_only=True,
        dialects=("v2",),
    ),
    _split(
        "inside-the-bom",
        "a byte order mark comes first, a byte a chunk",
        lambda it: [b"\xef", b"\xbb", b"\xbf", it.stream()],
        sse_only=True,
        level="recommended",
    ),
    _split(
        "below-http",
        "the head, chunk headers and body leave a byte at a time",
        lambda it: [it.says(piece) for piece in PIECES] + [it.tail],
        how={"wire": Wire(head_slice=1, body_slice=1)},
    ),
    _split(
        "inside-chunk-headers",
        "writes end inside each chunk header",
        lambda it: [it.says(piece) for piece in PIECES] + [it.tail],
        how={"wire": Wire(split_chunk_headers=True)},
    ),
    _split(
        "gzip",
        "the stream is compressed, flushed after each event",
        lambda it: _gzipped([*(it.says(piece) for piece in PIECES), it.tail]),
        how={"headers": [("Content-Encoding", "gzip")]},
    ),
)


# Lines and fields


def _line(name: str, what: str, made: Callable[[Shape], Bytes], *, why: str = _LINES, **options: Any) -> Case:
    options.setdefault("level", "recommended")
    return reads(f"lines/{name}", what, made, why=why, do=_PARSE, **options)


def _mixed(shape: Shape) -> bytes:
    ends = (b"\n", b"\r\n", b"\r")
    return b"".join(shape.says(piece).replace(b"\n", end) for piece, end in zip(PIECES, ends, strict=True)) + shape.tail


_SEPARATORS = "上\u2028下\u2029左\x85右"

_LINE_CASES = (
    _line("crlf", "lines end with CRLF", lambda it: it.stream().replace(b"\n", b"\r\n"), sse_only=False),
    _line("cr", "lines end with CR alone", lambda it: it.stream().replace(b"\n", b"\r")),
    _line("mixed", "lines end with LF, CRLF and CR in one stream", _mixed),
    _line(
        "empty-lines",
        "empty lines stand before, between and behind the events",
        lambda it: b"\n\n" + it.stream().replace(b"\n\n", b"\n\n\n\n") + b"\n\n",
    ),
    _line(
        "separators-in-text",
        "the text has U+2028, U+2029 and U+0085, unescaped",
        lambda it: it.stream(_SEPARATORS),
        text=_SEPARATORS,
        why=f"{_LINES}: only LF, CR and CRLF end a line; Python's str.splitlines() ends it at these too",
        level="required",
        sse_only=False,
    ),
    _line(
        "no-last-line-end",
        "nothing ends the last line",
        lambda it: it.stream().rstrip(b"\n"),
        why="by the standard the unfinished last event is dropped; by then the answer had been declared done",
        dialects=("v2", "text_generation"),
        sse_only=False,
    ),
    _line(
        "no-last-line-end-v1",
        "nothing ends the last line, which has is_end",
        lambda it: it.stream().rstrip(b"\n"),
        why="by the standard the unfinished event is dropped, most clients of v1 keep it: either is sound",
        dialects=("v1",),
        expected=Expected(text=TEXT, fails=True, so_far=TEXT),
    ),
)


def _field(name: str, what: str, made: Callable[[Shape], Bytes], *, why: str = _FIELDS, **options: Any) -> Case:
    options.setdefault("level", "recommended")
    return reads(f"fields/{name}", what, made, why=why, do=_PARSE, **options)


def _before(extra: bytes) -> Callable[[Shape], bytes]:
    """``extra`` in front of the data of every event."""
    return lambda it: it.stream().replace(b"data:", extra + b"data:")


def _two_lines(shape: Shape) -> bytes:
    """JSON that goes on in a second data line, where white space may stand."""
    halves = (compact(shape.data(piece)).split(b",", 1) for piece in PIECES)
    return b"".join(b"data: %b,\ndata: %b\n\n" % (first, rest) for first, rest in halves) + shape.tail


def _pretty(shape: Shape) -> bytes:
    written = (json.dumps(shape.data(piece), ensure_ascii=False, indent=1) for piece in PIECES)
    events = ("".join(f"data: {line}\n" for line in text.splitlines()) + "\n" for text in written)
    return "".join(events).encode() + shape.tail


_FIELD_CASES = (
    _field(
        "no-space",
        "no space follows `data:`",
        lambda it: it.stream().replace(b"data: ", b"data:"),
        why=f"{_FIELDS}: the space is optional",
    ),
    _field(
        "two-spaces", "two spaces follow `data:`", lambda it: it.says(*PIECES).replace(b"data:", b"data: ") + it.tail
    ),
    _field("tab", "a tab follows `data:`", lambda it: it.says(*PIECES).replace(b"data: ", b"data:\t") + it.tail),
    _field(
        "event-names",
        "every event has a name, `event: message`",
        _before(b"event: message\n"),
        why=f"{_FIELDS}; v1 names events for plugins (wire reference 3.9)",
    ),
    _field(
        "event-names-behind",
        "the name stands behind the data",
        lambda it: it.stream().replace(b"\n\n", b"\nevent: message\n\n"),
    ),
    _field("ids", "every event has an id", _before(b"id: 17\n")),
    _field("retry", "events set the reconnection time", _before(b"retry: 3000\n")),
    _field("retry-no-number", "the reconnection time is no number", _before(b"retry: soon\n")),
    _field("unknown", "events have unknown fields", _before(b"trace: 9f2c\n")),
    _field("no-colon", "a line has no colon", _before(b"trace\n")),
    _field(
        "upper-case",
        "a field is called `Data`, which is another one",
        _before(b'Data: {"error_code": 18}\n'),
        why=f"{_FIELDS}: names are compared exactly",
    ),
    _field(
        "indented",
        "a line begins with a space: ` data: …`",
        _before(b' data: {"error_code": 18}\n'),
        why=f"{_FIELDS}: names are compared exactly",
    ),
    _field("two-data-lines", "the JSON of each event stands on two data lines", _two_lines),
    _field("many-data-lines", "the JSON of each event is printed over many data lines", _pretty),
    _field(
        "no-data",
        "an event has a name and no data",
        lambda it: b"event: ping\n\n" + it.says(PIECES[0]) + b"event: ping\n\n" + it.says(*PIECES[1:]) + it.tail,
        why=f"{_FIELDS}: without data nothing is dispatched",
    ),
    _field(
        "bom",
        "a byte order mark comes first",
        lambda it: b"\xef\xbb\xbf" + it.stream(),
        why=_LINES,
    ),
)


# Comments


def _comment(name: str, what: str, made: Callable[[Shape], Bytes], **options: Any) -> Case:
    why = options.pop(
        "why", f"{_FIELDS}: a line that begins with a colon is a comment; 9.2.7 recommends them as keep-alives"
    )
    return reads(
        f"comments/{name}",
        what,
        made,
        why=why,
        do="Leave out every line that begins with a colon.",
        level="recommended",
        **options,
    )


_COMMENTS = (
    _comment(
        "keep-alives",
        "`: keep-alive` stands between events",
        lambda it: it.stream().replace(b"\n\n", b"\n\n: keep-alive\n\n"),
    ),
    _comment("first", "a comment comes before the first event", lambda it: b": ok\n\n" + it.stream()),
    _comment("empty", "comments are empty: `:` alone", lambda it: it.stream().replace(b"\n\n", b"\n\n:\n\n")),
    _comment("inside-events", "a comment stands in front of the data, in the event", _before(b": here it comes\n")),
    _comment(
        "between-data-lines",
        "a comment stands between two data lines",
        lambda it: _two_lines(it).replace(b"\ndata:", b"\n: and\ndata:"),
    ),
    _comment(
        "that-look-like-data",
        "comments hold JSON, errors and `[DONE]`",
        lambda it: b': {"error_code":18,"error_msg":"no"}\n\n:data: [DONE]\n\n' + it.stream(),
    ),
    _comment("behind-done", "a comment comes last", lambda it: it.stream() + b": bye\n\n"),
)


# Content


def _content(name: str, what: str, made: Callable[[Shape], Bytes], **options: Any) -> Case:
    return reads(
        f"content/{name}",
        what,
        made,
        why=options.pop("why", f"{_JSON}: every string is a text, whatever it looks like; only the end event ends"),
        do=options.pop(
            "do", "Parse the JSON of each event, hand out the text as it is, and leave out what is unknown."
        ),
        sse_only=options.pop("sse_only", False),
        **options,
    )


def _said(*texts: str) -> dict[str, Any]:
    return {"made": lambda it: it.stream(*texts), "text": "".join(texts)}


_HUGE = "字" * 350_000
_MANY = [str(number % 10) for number in range(2000)]
_WIRE_43 = "wire reference 4.3"


def _with_members(shape: Shape) -> bytes:
    more = {"trace": {"id": 1, "choices": []}, "error": None, "flags": [None, 1.5e300]}
    return b"".join(shape.event(shape.data(piece) | more) for piece in PIECES) + shape.tail


def _usage_apart(shape: Shape) -> bytes:
    end = shape.last()
    usage = end.pop("usage")
    return (
        shape.says(*PIECES)
        + shape.event(end)
        + shape.event(shape.data("") | {"choices": [], "usage": usage})
        + shape.done
    )


_CONTENT = (
    _content(
        "line-ends",
        "the text has line ends and looks like events",
        **_said("一\n二\r\n三\r", "data: x\n\n", "event: y\n"),
    ),
    _content("done-as-text", "the text says [DONE]", **_said("他说：", "[DONE]", "。")),
    _content("error-as-text", "the text is the JSON of an error", **_said('{"error_code":18,', '"error_msg":"qps"}')),
    _content("quotes", r"the text has quotes, backslashes and controls", **_said('"\\', "\t\b\f\x00\x1f", "\\u0041")),
    _content("emoji", "the text has emoji, joined ones too", **_said("😀", "👩‍💻🏽", "e\u0301")),
    _content(
        "surrogate-escapes",
        r"an emoji is escaped as \ud83d\ude00",
        lambda it: it.event(compact(it.data("@")).replace(b"@", rb"\ud83d\ude00")) + it.tail,
        text="😀",
        why=f"{_JSON}, 7",
    ),
    _content("bom-in-text", "U+FEFF stands inside the text", **_said("头", "\ufeff尾")),
    _content("spaces", "pieces are spaces and line ends", **_said(" ", "\n", "  a ", "\n\n")),
    _content("equal-pieces", "equal pieces follow each other", **_said("哈", "哈", "哈")),
    _content("empty-pieces", "events between the others say nothing", **_said("", PIECES[0], "", "", PIECES[1], "")),
    _content(
        "null",
        "the content of the first events is null, while a model thinks",
        lambda it: b"".join(it.event(it.data(None, reasoning_content=piece)) for piece in ("好的", "，")) + it.stream(),
        dialects=("v2",),
        why=_WIRE_43,
    ),
    _content(
        "role-alone",
        "the first event has a role and no content",
        lambda it: it.event(_without_content(it)) + it.stream(),
        dialects=("v2", "text_generation"),
        why="OpenAI's API begins so, and compatible services do as well",
    ),
    _content(
        "null-finish",
        "every event has finish_reason null",
        lambda it: it.stream().replace(b'"flag":0}', b'"flag":0,"finish_reason":null}', len(PIECES)),
        dialects=("v2",),
        why=f"{_WIRE_43}: clients accept null or absent",
    ),
    _content(
        "usage-apart",
        "usage comes in an event of its own, with no choices",
        _usage_apart,
        dialects=("v2", "text_generation"),
        why=f"{_WIRE_43}: clients accept either place",
    ),
    _content(
        "text-in-the-last",
        "the last event, which ends the answer, has text",
        lambda it: it.says(*PIECES[:2]) + it.event(it.last(PIECES[2])) + it.done,
        why="wire reference 3.4: result of the last event is often empty, not always",
    ),
    _content("unknown-members", "events have members that nobody knows, `error: null` among them", _with_members),
    _content(
        "white-space",
        "white space stands around the JSON",
        lambda it: it.stream().replace(b'{"id"', b' \t{ "id" '),
        sse_only=True,
    ),
    _content(
        "key-order",
        "the members come in another order",
        lambda it: b"".join(it.event(dict(reversed(it.data(piece).items()))) for piece in PIECES) + it.tail,
    ),
    _content("huge-event", "one event is a megabyte", **_said(_HUGE)),
    _content("many-events", "two thousand events say a character each", **_said(*_MANY)),
    _content(
        "wide-characters", "the text mixes scripts and directions", **_said("Ünïcödé ", "עברית ", "ไทย ", "𠮷野家")
    ),
)


def _without_content(shape: Shape) -> dict[str, Any]:
    data = shape.data("")
    data["choices"][0]["delta"] = {"role": "assistant"}
    return data


_TYPES = tuple(
    reads(
        f"fields/content-type-{name}",
        f"its Content-Type is {kind!r}" if kind else "it has no Content-Type",
        lambda it: it.stream(),
        how={"content_type": kind},
        why=why,
        do="Decode a stream as UTF-8 whatever the head says: requests takes text/* for ISO-8859-1 otherwise.",
        level=level,
    )
    for name, kind, level, why in (
        ("bare", "text/event-stream", "required", f"{_LINES}: streams are decoded as UTF-8"),
        ("upper-case", "Text/Event-Stream; Charset=UTF-8", "recommended", "RFC 9110, 8.3.1: types ignore case"),
        ("latin-1", "text/event-stream; charset=iso-8859-1", "recommended", f"{_LINES}: streams are decoded as UTF-8"),
        ("none", None, "recommended", "RFC 9110, 8.3: a sender should send one, and need not"),
    )
)

CASES: tuple[Case, ...] = (*_SPLITS, *_LINE_CASES, *_FIELD_CASES, *_TYPES, *_COMMENTS, *_CONTENT)
