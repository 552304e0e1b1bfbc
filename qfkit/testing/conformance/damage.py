"""Torture for stream readers, part three: errors in a stream, and events that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qfkit.testing.conformance.broken import Bytes, breaks
from qfkit.testing.conformance.case import Case, Expected
from qfkit.testing.conformance.shape import PIECES, TEXT, Shape, compact

_V1_BARE = ("v1", "text_generation")
_EVENTS, _ERRORS = "wire reference 3.4 and 4.3", "wire reference 3.5 and 8.7"


# Errors in a stream


def _fails(name: str, what: str, made: Callable[[Shape], Bytes], **options: Any) -> Case:
    do = options.pop("do", "Look for error_code (v1) and error (v2) in every event and in every bare line, and raise.")
    return breaks(f"failures/{name}", what, made, do=do, **options)


def _code(shape: Shape) -> int | str:
    return "internal_error" if shape.dialect == "v2" else 336100


_FAILURES = (
    _fails(
        "first",
        "the first event is an error",
        lambda it: it.event(it.error(_code(it))),
        why=_ERRORS,
        so_far="",
    ),
    _fails(
        "middle",
        "after two pieces comes an error",
        lambda it: it.says(*PIECES[:2]) + it.event(it.error(_code(it))),
        why=_ERRORS,
        so_far="".join(PIECES[:2]),
    ),
    _fails(
        "middle-then-done",
        "after two pieces comes an error, and then the end as ever",
        lambda it: it.says(*PIECES[:2]) + it.event(it.error(_code(it))) + it.tail,
        why=_ERRORS,
        so_far="".join(PIECES[:2]),
    ),
    _fails(
        "named-event",
        "the error is an event of the name `error`",
        lambda it: it.says(PIECES[0]) + b"event: error\n" + it.event(it.error(_code(it))),
        why="wire reference 8.7; services compatible to OpenAI's name it so",
        so_far=PIECES[0],
        needs=("stream", "sse"),
    ),
    _fails(
        "bare-line",
        "after a piece the error is a bare line of JSON, without `data:`",
        lambda it: it.says(PIECES[0]) + it.error(_code(it)) + b"\n\n",
        why=f"{_ERRORS}: the official SDK is ready for it",
        so_far=PIECES[0],
        dialects=_V1_BARE,
    ),
    _fails(
        "json-under-200",
        "instead of a stream comes the JSON of an error, HTTP 200",
        lambda it: it.error(336100),
        why=f"{_ERRORS}: v1 refuses requests for streams so",
        so_far="",
        dialects=("v1",),
        how={"streamed": False},
        do="Look at the Content-Type before reading events: application/json is an error to be read whole.",
    ),
    _fails(
        "json-with-a-status",
        "instead of a stream comes HTTP 429 with the JSON of an error",
        lambda it: it.error("rpm_rate_limit_exceeded" if it.dialect == "v2" else 336501),
        why="wire reference 5.2",
        so_far="",
        dialects=("v2", "text_generation"),
        how={"streamed": False, "status": 429},
        do="Look at the status before reading events.",
    ),
    _fails(
        "web-page",
        "instead of a stream comes a web page, HTTP 200",
        lambda _: b"<!doctype html>\n<title>Login</title>\n<p>Please log in.</p>\n",
        why="what a portal or a proxy on the way answers",
        so_far="",
        how={"streamed": False, "content_type": "text/html; charset=utf-8"},
        do="Raise when a stream ends without its end event, or is none at all.",
    ),
    _fails(
        "bad-gateway",
        "instead of a stream comes HTTP 502 with a web page",
        lambda _: b"<html><head><title>502 Bad Gateway</title></head></html>\n",
        why="what nginx answers when the service behind it is gone",
        so_far="",
        how={"streamed": False, "status": 502, "content_type": "text/html"},
        do="Look at the status before reading events; do not parse a page as JSON.",
    ),
)


# Damage


def _damaged(name: str, what: str, made: Callable[[Shape], Bytes], **options: Any) -> Case:
    why = options.pop("why", "RFC 8259, 9: what is not JSON holds no text; an answer without it is another answer")
    do = options.pop("do", "Raise when an event cannot be read; one that is left out silently changes the answer.")
    return breaks(f"damage/{name}", what, made, why=why, do=do, **options)


def _between(payload: bytes) -> Callable[[Shape], bytes]:
    return lambda it: it.says(PIECES[0]) + it.event(payload) + it.says(*PIECES[1:]) + it.tail


_EITHER = Expected(text=TEXT, fails=True, so_far=TEXT)
_DAMAGE = (
    _damaged("no-json", "an event is no JSON", _between(b"{oops"), so_far=PIECES[0]),
    _damaged(
        "cut-json",
        "the JSON of an event stops in the middle, the next events are good",
        lambda it: it.says(PIECES[0]) + it.event(compact(it.data(PIECES[1]))[:-3]) + it.says(PIECES[2]) + it.tail,
        so_far=PIECES[0],
    ),
    _damaged(
        "single-quotes",
        "an event is written as Python prints a dict",
        lambda it: it.says(PIECES[0]) + it.event(str(it.data(PIECES[1])).encode()) + it.says(PIECES[2]) + it.tail,
        so_far=PIECES[0],
    ),
    _damaged(
        "text-is-a-number",
        "the text of an event is a number",
        lambda it: it.says(PIECES[0]) + it.event(it.data(17)) + it.says(*PIECES[1:]) + it.tail,  # type: ignore[arg-type]
        expected=_EITHER,
        level="recommended",
        why=f"{_EVENTS}: the text is a string; whoever hands on a number breaks his callers",
        do="Raise, or leave it out; hand out nothing but texts.",
    ),
    _damaged(
        "not-an-object",
        "an event is a list",
        _between(b"[]"),
        expected=_EITHER,
        level="recommended",
        why=f"{_EVENTS}: every event is an object; a reader that falls over it tells nobody why",
        do="Raise an error of your own, or leave it out.",
    ),
    _damaged(
        "empty-data",
        "an event has `data:` and nothing behind it",
        lambda it: it.says(PIECES[0]) + b"data:\n\n" + it.says(*PIECES[1:]) + it.tail,
        expected=_EITHER,
        level="recommended",
        why="WHATWG HTML, 9.2.6: it is an event, of the empty text; what that means nobody says",
        needs=("stream", "sse"),
        do="Leave it out, or raise an error of your own.",
    ),
    _damaged(
        "bad-utf-8",
        "the text has a byte that is not UTF-8",
        lambda it: it.says(*PIECES).replace("夜".encode(), b"\xff") + it.tail,
        expected=Expected(text=TEXT.replace("夜", "\ufffd"), fails=True, so_far=TEXT),
        why="WHATWG HTML, 9.2.5: it becomes U+FFFD; raising an error is sound as well",
        do="Decode with errors='replace', or raise an error of your own; never drop the byte.",
        level="recommended",
    ),
    _damaged(
        "no-text",
        "an event has none of the members that a text stands in",
        _between(b'{"id":"as-c0nf0rm4nc","object":"heartbeat"}'),
        expected=_EITHER,
        level="recommended",
        why=f"{_EVENTS}: nobody documents it; a reader that falls over it tells nobody why",
        do="Leave it out, or raise an error of your own.",
    ),
)

CASES: tuple[Case, ...] = (*_FAILURES, *_DAMAGE)
