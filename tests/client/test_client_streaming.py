"""Streams: read as they arrive, whole or said not to be, and the connection always given back."""

from __future__ import annotations

import gc
import json
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import (
    DONE,
    PATIENCE,
    STREAMS,
    USAGE,
    V1_OK,
    V2_OK,
    answer,
    drop,
    event,
    stream,
    v1_event,
    v2_event,
)

from qfkit.client import (
    APIError,
    InvalidReply,
    RateLimitError,
    RetryPolicy,
    ServerError,
    StreamError,
    StreamTruncated,
    TimeoutExceeded,
    transport,
)
from qfkit.client.events import ChunkReader
from qfkit.testing.strategies import splits

DIALECTS = sorted(STREAMS)
BUSY = {"error_code": 336100, "error_msg": "high load"}


def lines(dialect):
    """The stream of a dialect as bare JSON lines."""
    return tuple(piece.removeprefix(b"data: ").replace(b"\n\n", b"\n") for piece in STREAMS[dialect])


# Whole answers


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_says_what_it_says(server, connect, dialect):
    server.play(stream(*STREAMS[dialect]))
    said = connect(dialect).stream("hi")
    texts = [chunk.text for chunk in said]
    assert "".join(texts) == said.text == "你好"
    assert said.complete
    assert said.finish_reason == ("normal" if dialect == "v1" else "stop")
    assert said.usage.total_tokens == (9 if dialect == "v1" else 270)
    assert said.model == {"text_generation": None, "v1": "ernie-3.5-8k", "v2": "qwen3-32b"}[dialect]
    assert list(said) == []
    reply = said.reply()
    assert (reply.text, reply.usage, reply.attempts) == ("你好", said.usage, said.attempts)
    assert [(a.number, a.status, a.error) for a in reply.attempts] == [(1, 200, None)]


def test_reasoning_and_tool_calls_are_put_together(server, connect):
    def call(index, arguments, **more):
        return {"index": index, "function": {"arguments": arguments, **more.pop("function", {})}, **more}

    server.play(
        stream(
            v2_event({"role": "assistant", "content": None, "reasoning_content": "想"}),
            v2_event({"content": None, "reasoning_content": "一想"}),
            v2_event({"tool_calls": [call(0, "", id="call_a", type="function", function={"name": "f"})]}),
            v2_event({"tool_calls": [call(0, '{"q":')]}),
            v2_event({"tool_calls": [call(1, "{}", id="call_b", type="function", function={"name": "g"})]}),
            v2_event({"tool_calls": [call(0, "1}")]}, "tool_calls"),
            DONE,
        )
    )
    said = connect("v2").stream("hi")
    first = next(said)
    assert (first.text, first.reasoning) == ("", "想")
    for chunk in said:
        assert chunk.raw["choices"][0]["delta"] is not None
    assert said.reasoning == "想一想"
    assert [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in said.tool_calls] == [
        ("call_a", "f", '{"q":1}'),
        ("call_b", "g", "{}"),
    ]


def test_usage_may_stand_in_an_event_of_its_own(server, connect):
    last = event({"id": "as-1", "choices": [], "usage": USAGE})
    server.play(stream(v2_event({"content": "好"}), v2_event({}, "stop"), last, DONE))
    said = connect("v2").stream("hi")
    assert said.reply().usage.total_tokens == 270


def test_an_answer_without_content_is_complete(server, connect):
    server.play(stream(v1_event("", last=True)))
    said = connect("v1").stream("hi")
    assert [chunk.text for chunk in said] == [""]
    assert said.complete
    assert said.ttft is None


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson", "text/plain"])
def test_text_generation_is_read_as_json_lines_too(server, connect, kind):
    server.play(stream(*lines("text_generation"), kind=kind))
    assert connect().stream("hi").reply().text == "你好"
    assert server.requests[0].header("Accept") == "text/event-stream"


def test_sse_counts_whatever_the_content_type_says(server, connect):
    server.play(stream(*STREAMS["v1"], kind="text/plain; charset=utf-8"))
    assert connect("v1").stream("hi").reply().text == "你好"


@pytest.mark.parametrize(
    "noise", [b": keep-alive\n\n", b"event: chat\n", b"id: 1\n", b"\n\n", b"\xef\xbb\xbf", b"retry: 1000\n\n"]
)
def test_noise_is_ignored(server, connect, noise):
    server.play(stream(noise, *STREAMS["v2"]))
    assert connect("v2").stream("hi").reply().text == "你好"


# As it arrives


def framed(exchange, framing):
    """Functions that send a piece and end the body, in one of HTTP's framings."""
    if framing == "chunked":
        exchange.head()
        return exchange.chunk, exchange.end
    if framing == "gzip":
        exchange.head(Content_Encoding="gzip")
        squeeze = zlib.compressobj(wbits=31)
        return (
            lambda data: exchange.chunk(squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH)),
            lambda: (exchange.chunk(squeeze.flush()), exchange.end()),
        )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    if framing == "length":
        exchange.send(head + b"Content-Length: %d\r\n\r\n" % sum(map(len, STREAMS["v1"])))
        return exchange.send, lambda: None
    exchange.send(head + b"Connection: close\r\n\r\n")
    return exchange.send, exchange.hang_up


@pytest.mark.parametrize("framing", ["chunked", "gzip", "length", "close"])
def test_each_chunk_is_handed_on_before_the_next_is_sent(server, connect, framing):
    received = [threading.Event() for _ in STREAMS["v1"]]
    in_time = []
    served = threading.Event()

    def step(exchange):
        send, end = framed(exchange, framing)
        for piece, seen in zip(STREAMS["v1"], received, strict=True):
            send(piece)
            in_time.append(seen.wait(PATIENCE))
        end()
        served.set()

    server.play(step)
    # stream() returns although only the first of three pieces has been sent; so does each step of the loop.
    said = connect("v1").stream("hi")
    for seen in received:
        next(said)
        seen.set()
    assert said.text == "你好"
    assert served.wait(PATIENCE)
    assert in_time == [True, True, True]
    assert list(said) == []


def test_the_first_content_is_there_when_stream_returns(server, connect, clock):
    def step(exchange):
        exchange.head()
        exchange.chunk(v2_event({"content": "", "role": "assistant"}))
        clock.advance(0.7)
        for piece in STREAMS["v2"][1:]:
            exchange.chunk(piece)
        exchange.end()

    server.play(step)
    said = connect("v2").stream("hi")
    assert said.ttft == pytest.approx(0.7)
    assert said.text == ""  # not handed out yet
    assert said.reply().text == "你好"


# The connection


def test_a_finished_stream_leaves_its_connection_for_the_next_call(server, connect):
    server.play(stream(*STREAMS["v1"]), stream(*STREAMS["v1"]), answer(V1_OK))
    client = connect("v1")
    for _ in range(2):
        assert client.stream("hi").reply().text == "你好"
    client.chat("hi")
    assert server.connections == 1


def abandoned(server):
    """A step that says two words and then waits for the client to go; whether it went is told by the event."""
    gone = threading.Event()

    def step(exchange):
        exchange.head()
        exchange.chunk(v1_event("你"))
        exchange.chunk(v1_event("好", number=1))
        if exchange.peer_closed():
            gone.set()
        exchange.hang_up()

    server.play(step)
    return gone


@pytest.mark.parametrize("before", [[], [drop], [answer(BUSY)], [stream()], [stream(event(BUSY)), drop]])
def test_leaving_the_loop_closes_the_connection(server, connect, before):
    server.play(*before)
    gone = abandoned(server)
    gc.disable()  # by counting references, not by luck
    try:
        for chunk in connect("v1").stream("hi"):
            assert chunk.text == "你"
            break
        assert gone.wait(PATIENCE)
    finally:
        gc.enable()


def test_an_exception_in_the_with_block_closes_the_connection(server, connect):
    gone = abandoned(server)

    def consume():
        with connect("v1").stream("hi") as said:
            next(said)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    assert gone.wait(PATIENCE)


def test_close_closes_and_may_be_repeated(server, connect):
    gone = abandoned(server)
    said = connect("v1").stream("hi")
    assert repr(said) == "<Stream open, 0 chunks, 0 characters>"
    next(said)
    said.close()
    said.close()
    assert gone.wait(PATIENCE)
    assert list(said) == []
    assert not said.complete
    assert repr(said) == "<Stream closed, 1 chunks, 1 characters>"
    assert [(a.status, a.error) for a in said.attempts] == [(200, None)]


def test_closing_the_client_during_a_stream_is_harmless(server, connect):
    gone = abandoned(server)
    client = connect("v1")
    said = client.stream("hi")
    client.close()
    said.close()
    assert gone.wait(PATIENCE)


def test_a_service_that_forgets_to_end_the_body_costs_the_connection_not_the_answer(server, connect, monkeypatch):
    monkeypatch.setattr(transport, "_DRAIN_SECONDS", 0.01)

    def step(exchange):
        exchange.head()
        for piece in STREAMS["v2"]:
            exchange.chunk(piece)
        exchange.peer_closed()
        exchange.hang_up()

    server.play(step, answer(V2_OK))
    client = connect("v2")
    assert client.stream("hi").reply().text == "你好"
    client.chat("hi")
    assert server.connections == 2


def test_the_short_patience_for_the_end_is_not_the_next_calls(server, connect, monkeypatch):
    monkeypatch.setattr(transport, "_DRAIN_SECONDS", 0.02)

    def late(exchange):
        threading.Event().wait(0.1)
        answer(V2_OK)(exchange)

    server.play(stream(*STREAMS["v2"]), late)
    client = connect("v2")
    client.stream("hi").reply()
    assert len(client.chat("hi").attempts) == 1
    assert server.connections == 1


def test_a_service_that_never_stops_talking_is_left(server, connect):
    left = threading.Event()

    def step(exchange):
        exchange.head()
        exchange.chunk(b"".join(STREAMS["v2"]))
        try:
            for _ in range(10_000):
                exchange.chunk(b": still here" + b" " * 65536 + b"\n\n")
        except OSError:
            left.set()
            raise

    server.play(step)
    assert connect("v2").stream("hi").reply().text == "你好"
    assert left.wait(PATIENCE)


def test_an_interrupt_closes_the_connection(server, connect, monkeypatch):
    gone = abandoned(server)
    said = connect("v1").stream("hi")

    def interrupted(answer):
        raise KeyboardInterrupt

    monkeypatch.setattr(transport.Answer, "_read1", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(said)
    assert gone.wait(PATIENCE)
    assert list(said) == []


# Truncation


NOT_DONE = [
    (dialect, end) for dialect in DIALECTS for end in (True, False) if (dialect, end) != ("text_generation", True)
]


@pytest.mark.parametrize(("dialect", "end"), NOT_DONE)
def test_a_stream_that_is_not_done_is_truncated(server, connect, dialect, end):
    kept = STREAMS[dialect][:-1] if dialect != "v2" else STREAMS["v2"][:-2]
    server.play(stream(*kept, end=end))
    said = connect(dialect).stream("hi")
    with pytest.raises(StreamTruncated, match=r"broke off after \d chunks") as caught:
        list(said)
    error = caught.value
    assert error.text == said.text == "你好"
    assert error.chunks == len(kept)
    assert not error.retryable
    assert len(server.requests) == 1
    assert not said.complete
    (attempt,) = error.attempts
    assert attempt.status == 200
    assert attempt.error
    assert list(said) == []


def test_text_generation_has_no_documented_end_so_a_whole_body_is_one(server, connect):
    server.play(stream(*STREAMS["text_generation"][:-1], end=True))
    said = connect("text_generation").stream("hi")
    assert said.reply().text == "你好"
    assert said.complete


def test_cut_in_the_middle_of_an_event(server, connect):
    whole = v1_event("好", number=1)
    server.play(stream(v1_event("你"), whole[:-20], end=False))
    with pytest.raises(StreamTruncated) as caught:
        list(connect("v1").stream("hi"))
    assert caught.value.text == "你"


def test_cut_in_the_middle_of_a_chunk(server, connect):
    def step(exchange):
        exchange.head()
        exchange.chunk(v1_event("你"))
        exchange.send(b"ff\r\n" + v1_event("好")[:10])
        exchange.hang_up()

    server.play(step)
    with pytest.raises(StreamTruncated, match="the connection closed before its end") as caught:
        list(connect("v1").stream("hi"))
    assert caught.value.text == "你"


@pytest.mark.parametrize("dialect", ["text_generation", "v2"])
def test_finish_reason_is_as_good_as_done(server, connect, dialect):
    kept = [piece for piece in STREAMS[dialect] if piece != DONE]
    server.play(stream(*kept), stream(*kept, end=False))
    client = connect(dialect)
    for _ in range(2):
        said = client.stream("hi")
        assert said.reply().text == "你好"
        assert said.complete


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_last_event_may_lack_its_empty_line(server, connect, dialect):
    *rest, last = (piece for piece in STREAMS[dialect] if piece != DONE)
    server.play(stream(*rest, last.rstrip(b"\n"), end=False))
    said = connect(dialect).stream("hi")
    assert said.reply().finish_reason
    assert said.complete


def test_a_stream_that_stalls_is_truncated_by_the_read_timeout(server, connect):
    abandoned(server)
    said = connect("v1", timeout=(5, 0.05)).stream("hi")
    with pytest.raises(StreamTruncated, match=r"nothing came for 0.05 s \(read timeout\)") as caught:
        list(said)
    assert caught.value.text == "你好"
    assert isinstance(caught.value.__cause__, TimeoutExceeded)


# Failures before the first content are those of a call


@pytest.mark.parametrize(
    ("dialect", "failure"),
    [
        ("v1", answer(BUSY)),
        ("v1", stream(json.dumps(BUSY).encode())),
        ("v1", stream(event(BUSY))),
        ("v1", drop),
        ("v1", stream()),
        ("v1", stream(v1_event(""), end=False)),
        ("v2", answer({"error": {"code": "rpm_rate_limit_exceeded", "message": "m", "type": "t"}, "id": "as-1"}, 429)),
        ("v2", stream(event({"error": {"code": "internal_error", "message": "m", "type": "Internal_error"}}))),
        ("v2", stream(v2_event({"role": "assistant", "content": ""}))),
        ("text_generation", answer({"error_code": 500, "error_msg": "Service error"}, 500)),
        ("text_generation", stream(json.dumps(BUSY).encode() + b"\n", kind="application/json")),
    ],
)
def test_they_are_retried(server, connect, clock, dialect, failure):
    server.play(failure, stream(*STREAMS[dialect]))
    said = connect(dialect).stream("hi")
    assert said.reply().text == "你好"
    assert len(clock.sleeps) == 1
    assert [bool(a.error) for a in said.attempts] == [True, False]
    assert said.attempts[1].wait_reason == "backoff"


def test_an_error_in_place_of_a_stream_is_raised_by_stream(server, connect):
    server.play(answer({"error_code": 336003, "error_msg": "bad", "id": "as-1"}))
    with pytest.raises(APIError) as caught:
        connect("v1").stream("hi")
    assert (caught.value.code, len(caught.value.attempts)) == (336003, 1)


def test_retries_run_out_before_the_first_content(server, connect):
    server.otherwise = stream(v1_event(""), end=False)
    with pytest.raises(StreamTruncated, match=r"gave up: RetryPolicy.attempts=2") as caught:
        connect("v1", retry=RetryPolicy(attempts=2)).stream("hi")
    assert caught.value.text == ""
    assert len(caught.value.attempts) == 2


def test_a_server_that_sends_no_content_in_time_times_out(server, connect):
    def step(exchange):
        exchange.head()
        exchange.peer_closed()
        exchange.hang_up()

    server.play(step)
    with pytest.raises(TimeoutExceeded):
        connect("v1", timeout=0.05, retry=RetryPolicy(attempts=1)).stream("hi")


def test_a_whole_answer_to_a_stream_is_no_stream(server, connect):
    server.play(answer(V1_OK))
    with pytest.raises(InvalidReply, match="a whole answer where a stream was asked for"):
        connect("v1").stream("hi")


def test_an_html_page_is_no_stream(server, connect):
    server.play(answer(b"<html>login</html>", kind="text/html"), answer(b"<html>", 503, kind="text/html"))
    with pytest.raises(StreamTruncated):
        connect("v1", retry=RetryPolicy(attempts=1)).stream("hi")
    with pytest.raises(ServerError):
        connect("v1", retry=RetryPolicy(attempts=1)).stream("hi")


def test_an_error_whose_body_breaks_off_is_retried(server, connect):
    def cut(exchange):
        exchange.send(b"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        exchange.hang_up()

    server.play(cut, stream(*STREAMS["v1"]))
    said = connect("v1").stream("hi")
    assert [a.status for a in said.attempts] == [400, 200]
    assert said.attempts[0].error == "no whole answer: the connection closed before its end"


# Failures after it


@pytest.mark.parametrize("frame", [event, lambda data: json.dumps(data).encode() + b"\n"], ids=["event", "bare-line"])
def test_an_error_in_the_middle_keeps_the_text_and_is_not_retried(server, connect, clock, frame):
    server.play(stream(v1_event("你"), v1_event("好"), frame({"error_code": 336501, "error_msg": "Rate limit"})))
    said = connect("v1").stream("hi")
    with pytest.raises(StreamError, match="v1 error 336501") as caught:
        list(said)
    error = caught.value
    assert not isinstance(error, StreamTruncated)
    assert (error.text, error.chunks) == ("你好", 2)
    assert isinstance(error.__cause__, RateLimitError)
    assert [(a.code, a.status) for a in error.attempts] == [(336501, 200)]
    assert (len(server.requests), clock.sleeps) == (1, [])


def test_chunks_before_a_failure_in_the_same_bytes_are_handed_out(server, connect):
    server.play(stream(v1_event("你") + v1_event("好") + event({"error_code": 1, "error_msg": "x"})))
    said = connect("v1").stream("hi")
    assert [next(said).text, next(said).text] == ["你", "好"]
    with pytest.raises(StreamError):
        next(said)


@pytest.mark.parametrize(
    "junk", [b"data: {broken\n\n", b'data: {"no":"place"}\n\n', b"data: [1]\n\n", b"data: null\n\n"]
)
def test_an_event_that_cannot_be_read_is_an_error(server, connect, junk):
    server.play(stream(v1_event("你"), junk, v1_event("", last=True)))
    with pytest.raises(StreamError, match="cannot be read") as caught:
        list(connect("v1").stream("hi"))
    assert caught.value.text == "你"


def test_a_line_without_end_is_noticed(server, connect, monkeypatch):
    from qfkit.client import events

    monkeypatch.setattr(events, "_MAX_LINE", 1000)
    server.play(stream(v1_event("你"), b"data: " + b"x" * 2000))
    with pytest.raises(StreamError, match="longer than max_line=1000"):
        list(connect("v1").stream("hi"))


# The reader alone: however the bytes are split, the chunks are the same


def read(dialect, pieces):
    reader = ChunkReader(dialect, lambda body: None)
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks + reader.close(whole=False), reader


@given(
    dialect=st.sampled_from(DIALECTS),
    as_lines=st.booleans(),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    drawn=st.data(),
)
def test_splits_do_not_matter(dialect, as_lines, newline, drawn):
    pieces = lines(dialect) if as_lines else STREAMS[dialect]
    data = b"".join(piece for piece in pieces if not (as_lines and b"[DONE]" in piece))
    whole, _ = read(dialect, [data])
    chunks, reader = read(dialect, drawn.draw(splits(data.replace(b"\n", newline))))
    assert chunks == whole
    assert "".join(chunk.text for chunk in chunks) == "你好"
    assert reader.complete
    assert reader.failure is None


@given(dialect=st.sampled_from(DIALECTS), at=st.integers(0, 2000))
def test_cut_anywhere_it_is_complete_only_if_the_service_said_so(dialect, at):
    data = b"".join(STREAMS[dialect])
    kept = data[: at % (len(data) + 1)]
    chunks, reader = read(dialect, [kept])
    assert reader.failure is None
    assert reader.complete == (any(chunk.is_last for chunk in chunks) or b"[DONE]" in kept)
    assert "你好".startswith("".join(chunk.text for chunk in chunks))


@given(data=st.binary(max_size=200), dialect=st.sampled_from(DIALECTS))
def test_no_bytes_make_it_raise(data, dialect):
    read(dialect, [data])
    read(dialect, [b"data: " + data + b"\n\n"])
    read(dialect, [b"{" + data + b"\n"])
