"""Every option of a stream, byte for byte on a plain socket, in every dialect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from faults_client import DIALECTS, PIECES, Plain, framed, handled, listen, mock, plain, request

from mock_server.delivery import wsgi_losses
from mock_server.faults.stream import Delivery
from qfkit.protocol.errors import envelope, translate

Expected = Callable[[Plain], list[bytes]]
WHOLE = b""  # the chunk that ends a body


def error(s: Plain, code: int | str, message: str | None = None) -> bytes:
    """The scripted error as the dialect writes it, with the request's own id."""
    import msgspec

    dialect = "text_generation" if s.bare else s.dialect
    request_id = msgspec.json.decode(s.payload(0))["id"]
    spec = translate(code, dialect)  # type: ignore[arg-type]
    return msgspec.json.encode(envelope(spec, message=message, request_id=request_id))


def renewed(s: Plain, newline: bytes) -> list[bytes]:
    return [event.rstrip(b"\n") + newline * (1 if s.bare else 2) for event in s.events]


def comment(s: Plain, text: bytes = b"keep-alive") -> bytes:
    return s.line(b": " + text)


def without(s: Plain, *numbers: int) -> list[bytes]:
    return [event for number, event in enumerate(s.events) if number not in numbers]


def marker(s: Plain) -> int:
    """The number of what ends the stream: v2's mark, the others' last event."""
    return len(s.events) - 1


def byte_chunks(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


def inside_characters(data: bytes) -> list[bytes]:
    """Split after the first byte of every character that has more: found by decoding, not by looking at bits."""
    parts, at = [b""], 0
    for character in data.decode():
        encoded = character.encode()
        parts[-1] += encoded[:1]
        if len(encoded) > 1:
            parts.append(encoded[1:])
        at += len(encoded)
    return parts


#: Options, and the chunks that have to arrive.
CASES: list[tuple[dict[str, Any], Expected]] = [
    ({}, lambda s: [*s.events, WHOLE]),
    ({"ttft": 0.01, "interval": 0.002}, lambda s: [*s.events, WHOLE]),
    ({"tokens_per_second": 500}, lambda s: [*s.events, WHOLE]),
    ({"interval": 0.002, "jitter": "lognormal", "spread": 0.3, "seed": 3}, lambda s: [*s.events, WHOLE]),
    ({"timing": [0.001, 0.002, 0.004, 0.004, 0.008]}, lambda s: [*s.events, WHOLE]),
    ({"early_headers": False, "ttft": 0.01}, lambda s: [*s.events, WHOLE]),
    # Events
    ({"error_after": 1, "error": 336100}, lambda s: [s.events[0], s.event(error(s, 336100)), WHOLE]),
    (
        {"error_after": 1, "error": "rpm_rate_limit_exceeded", "error_form": "line"},
        lambda s: [s.events[0], s.line(error(s, "rpm_rate_limit_exceeded")), WHOLE],
    ),
    (
        {"error_after": 2, "error": 503, "error_message": "稍后", "error_ends": False},
        lambda s: [*s.events[:2], s.event(error(s, 503, "稍后")), *s.events[2:], WHOLE],
    ),
    ({"error_after": 0, "error": 18}, lambda s: [s.event(error(s, 18)), WHOLE]),
    (
        {"malformed_at": 1},
        lambda s: [s.events[0], s.event(s.payload(1).replace(b'"', b"", 1)), *s.events[2:], WHOLE],
    ),
    (
        {"truncated_at": [1, 3]},
        lambda s: [
            *(
                s.event(s.payload(n)[: len(s.payload(n)) // 2]) if n in (1, 3) else event
                for n, event in enumerate(s.events)
            ),
            WHOLE,
        ],
    ),
    (
        {"empty_at": [0, 2]},
        lambda s: [s.event(b""), *s.events[:2], s.event(b""), *s.events[2:], WHOLE],
    ),
    ({"duplicate": [1]}, lambda s: [*s.events[:2], *s.events[1:], WHOLE]),
    ({"swap": [2]}, lambda s: [*s.events[:2], s.events[3], s.events[2], *s.events[4:], WHOLE]),
    ({"swap": [0, 1]}, lambda s: [s.events[1], s.events[2], s.events[0], *s.events[3:], WHOLE]),
    ({"comment_every": 1}, lambda s: [part for event in s.events for part in (comment(s), event)] + [WHOLE]),
    (
        {"comment_every": 4, "comment": "OPENROUTER PROCESSING"},
        lambda s: [
            comment(s, b"OPENROUTER PROCESSING"),
            *s.events[:4],
            comment(s, b"OPENROUTER PROCESSING"),
            *s.events[4:],
            WHOLE,
        ],
    ),
    (
        {"ttft": 0.05, "keep_alive": 0.02},
        lambda s: [comment(s), comment(s), *s.events, WHOLE],
    ),
    ({"end_event": False}, lambda s: [*without(s, s.last), WHOLE]),
    ({"end_marker": False}, lambda s: [*without(s, marker(s)), WHOLE]),
    # Silence and cuts
    ({"stall_after": 2, "stall": 0.01}, lambda s: [*s.events, WHOLE]),
    ({"cut_after": 3}, lambda s: list(s.events[:3])),
    ({"cut_after": 3, "interval": 0.004}, lambda s: list(s.events[:3])),
    ({"cut_after": 0}, lambda s: []),
    ({"cut_after": 0, "ttft": 0.01, "stall_after": 0, "stall": 0.01}, lambda s: []),
    ({"cut_after": 3, "cut": "clean"}, lambda s: [*s.events[:3], WHOLE]),
    ({"cut_after": 3, "cut": "reset"}, lambda s: list(s.events[:3])),
    ({"cut_after": 6}, lambda s: list(s.events[:6])),
    # Bytes
    ({"newline": "\r\n"}, lambda s: [*renewed(s, b"\r\n"), WHOLE]),
    ({"newline": "cr"}, lambda s: [*renewed(s, b"\r"), WHOLE]),
    ({"bom": True}, lambda s: [b"\xef\xbb\xbf" + s.events[0], *s.events[1:], WHOLE]),
    ({"final_newline": False}, lambda s: [*s.events[:-1], s.events[-1].rstrip(b"\n"), WHOLE]),
    ({"writes": "byte"}, lambda s: [*s.events, WHOLE]),
    ({"writes": "byte-chunks"}, lambda s: [*byte_chunks(b"".join(s.events)), WHOLE]),
    (
        {"writes": "inside-characters", "write_interval": 0.001},
        lambda s: [*(part for event in s.events for part in inside_characters(event)), WHOLE],
    ),
    ({"writes": "inside-chunk-headers", "write_interval": 0.0005}, lambda s: [*s.events, WHOLE]),
    ({"writes": "one-segment", "interval": 0.002}, lambda s: [b"".join(s.events), WHOLE]),
    (
        {"events_per_write": 4},
        lambda s: [b"".join(s.events[:4]), b"".join(s.events[4:]), WHOLE],
    ),
    ({"content_type": "text/plain"}, lambda s: [*s.events, WHOLE]),
    ({"content_type": None}, lambda s: [*s.events, WHOLE]),
    # Together
    (
        {"cut_after": 5, "cut": "reset", "empty_at": 1, "duplicate": 0, "comment_every": 2, "newline": "crlf"},
        lambda s: [
            part.replace(b"\n", b"\r\n")
            for number, event in enumerate((s.events[0], s.events[0], s.event(b""), s.events[1], s.events[2]))
            for part in ([comment(s)] if number % 2 == 0 else []) + [event]
        ],
    ),
]
ENDS = {"reset": "reset", "incomplete": "closed", "clean": "closed"}
IDS = [",".join(f"{name}={value}" for name, value in options.items()) or "plain" for options, _ in CASES]


def expected_head(s: Plain, options: dict[str, Any]) -> bytes:
    if "content_type" not in options:
        return s.head
    lines = s.head.split(b"\r\n")
    place = next(number for number, line in enumerate(lines) if line.startswith(b"Content-Type: "))
    kind = options["content_type"]
    lines[place : place + 1] = [] if kind is None else [b"Content-Type: " + kind.encode()]
    return b"\r\n".join(lines)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("options", "chunks"), CASES, ids=IDS)
def test_what_was_scripted_is_what_arrives(dialect: str, options: dict[str, Any], chunks: Expected) -> None:
    s = plain(dialect)
    with mock() as server:
        server.default_account.stream(list(PIECES), **options)
        heard = listen(server, request(dialect))
        (entry,) = server.requests
    assert heard.data == expected_head(s, options) + framed(chunks(s))
    assert heard.end == ENDS[options.get("cut", "incomplete")]
    assert "not met" not in str(entry.to_dict())
    scripted = {"reset": "reset", "clean": "complete"}.get(options.get("cut", ""), "cut")
    assert entry.outcome == (scripted if "cut_after" in options else "complete")


def test_every_option_is_tested_byte_for_byte() -> None:
    tried = {name for options, _ in CASES for name in options}
    assert {each.name for each in fields(Delivery)} - tried == {"chunk"}  # tested below: it needs a text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stall_for_ever_leaves_the_connection_open_and_silent(dialect: str) -> None:
    s = plain(dialect)
    with mock() as server:
        server.default_account.stream(list(PIECES), stall_after=2)
        heard = listen(server, request(dialect), quiet=0.05)
    assert heard.data == s.head + framed(s.events[:2])
    assert heard.end == "silent"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("chunk", "pieces"),
    [
        ("character", list("Hi, 你好。")),
        ("word", ["Hi,", " 你", "好。"]),
        ("token", ["Hi", ", 你好。"]),
        (3, ["Hi,", " 你好", "。"]),
    ],
)
def test_a_text_is_cut_up(dialect: str, chunk: str | int, pieces: list[str]) -> None:
    s = plain(dialect, tuple(pieces))
    with mock() as server:
        server.default_account.stream("Hi, 你好。", chunk=chunk)
        heard = listen(server, request(dialect))
    assert heard.data == s.head + framed([*s.events, WHOLE])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_reply_takes_the_same_options_when_it_is_streamed(dialect: str) -> None:
    s = plain(dialect, ("你", "好"))
    with mock() as server:
        account = server.default_account
        account.reply("你好", chunk="character", cut_after=1, cut="reset", times=2)
        heard = listen(server, request(dialect))
        whole = listen(server, request(dialect, stream=False))
    assert heard.data == s.head + framed(s.events[:1])
    assert heard.end == "reset"
    assert whole.end == "closed"
    assert "你好".encode() in whole.body


def test_a_stream_may_have_no_pieces() -> None:
    s = plain("v1", ())
    with mock() as server:
        server.default_account.stream([], cut_after=1)
        heard = listen(server, request("v1"))
    assert heard.data == s.head + framed(s.events)


@pytest.mark.parametrize("cut_after", range(8))
@pytest.mark.parametrize("cut", ["incomplete", "clean", "reset"])
@pytest.mark.parametrize("pace", [{}, {"interval": 0.001}, {"ttft": 0.003, "jitter": "uniform"}])
def test_cut_after_n_delivers_exactly_n(cut_after: int, cut: str, pace: dict[str, Any]) -> None:
    s = plain("v2")
    with mock() as server:
        server.default_account.stream(list(PIECES), cut_after=cut_after, cut=cut, **pace)
        heard = listen(server, request("v2"))
    assert heard.data == s.head + framed([*s.events[:cut_after], *([WHOLE] if cut == "clean" else [])])


def test_twenty_resets_in_a_row_lose_nothing() -> None:
    s = plain("v2")
    with mock() as server:
        server.default_account.stream(list(PIECES), cut_after=4, cut="reset", times=20)
        for _ in range(20):
            heard = listen(server, request("v2"))
            assert (len(heard.chunks), heard.end) == (4, "reset")
    assert heard.chunks[0].startswith(s.events[0][:10])


def test_what_is_not_met_changes_nothing() -> None:
    with mock() as server:
        server.default_account.reply("好", cut_after=30, malformed_at=9)
        heard = listen(server, request("v1"))
    assert heard.chunks[-1] == WHOLE


def test_http_1_0_knows_no_chunks() -> None:
    s = plain("v2")
    with mock() as server:
        account = server.default_account
        account.stream(list(PIECES), writes="inside-chunk-headers")
        account.stream(list(PIECES), cut_after=2)
        whole = listen(server, request("v2", version="1.0"))
        cut = listen(server, request("v2", version="1.0"))
    assert whole.body == b"".join(s.events)
    assert b"Transfer-Encoding" not in whole.head
    assert len(cut.body) == len(b"".join(s.events[:2]))


@pytest.mark.parametrize("form", ["data", "line"])
def test_other_peoples_clients_read_the_error_in_the_middle(form: str) -> None:
    import openai

    with mock() as server:
        server.default_account.stream(["一", "二"], error_after=1, error="rpm_rate_limit_exceeded", error_form=form)
        with openai.OpenAI(base_url=f"{server.url}/v2", api_key="x", max_retries=0) as client:
            told = client.chat.completions.create(
                model="ernie-4.0-8k", messages=[{"role": "user", "content": "?"}], stream=True
            )
            assert next(told).choices[0].delta.content == "一"
            if form == "line":  # which is no event
                assert list(told) == []
            else:
                with pytest.raises(openai.APIError, match="RPM"):
                    next(told)
            told.close()


@pytest.mark.parametrize(("options", "chunks"), CASES, ids=IDS)
def test_what_wsgi_loses_is_what_the_documentation_says(options: dict[str, Any], chunks: Expected) -> None:
    (reply,) = handled(lambda account: account.stream(list(PIECES), **options), request("v1"))
    lost = (
        options.get("writes") in {"byte", "inside-chunk-headers"}
        or options.get("cut") == "reset"
        or (options.get("early_headers", True) and any(write.data for write in reply.body) and reply.body[0].at > 0)
    )
    assert bool(wsgi_losses(reply)) == lost
    assert reply.content == b"".join(chunks(plain("v1")))
