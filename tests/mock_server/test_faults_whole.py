"""Every fault of a whole answer, byte for byte on a plain socket."""

from __future__ import annotations

import json
import zlib
from dataclasses import fields
from functools import cache
from random import Random
from typing import Any

import h11
import pytest
from faults_client import DIALECTS, EARLY, Heard, dechunked, handled, listen, mock, request

from mock_server.delivery import wire_plan
from mock_server.faults.options import OptionError
from mock_server.faults.whole import FAULTS, fault_of

#: The faults that these tests play on a socket; the last test holds the list against the table.
PLAYED: dict[str, set[str]] = {}


def play(kind: str, *, dialect: str = "v2", stream: bool = False, **options: Any) -> Heard:
    """One request that meets the fault."""
    PLAYED.setdefault(kind, set()).update(options)
    close = options.pop("close", True)
    quiet = options.pop("quiet", 5.0)
    with mock() as server:
        server.default_account.fault(kind, **options)
        heard = listen(server, request(dialect, stream=stream, close=close), quiet=quiet)
        (entry,) = server.requests
    assert str(entry.answered_by).startswith(f"fault {kind}")
    return heard


@cache
def ordinary(dialect: str = "v2", *, stream: bool = False, text: str = "你好", close: bool = True) -> Heard:
    with mock() as server:
        server.default_account.reply(text)
        return listen(server, request(dialect, stream=stream, close=close), quiet=5.0 if close else 0.05)


every_answer = pytest.mark.parametrize(("dialect", "stream"), [(name, on) for name in DIALECTS for on in (False, True)])


# Without an answer


@every_answer
def test_accept_then_close(dialect: str, stream: bool) -> None:
    heard = play("close", dialect=dialect, stream=stream)
    assert (heard.data, heard.end) == (b"", "closed")


@every_answer
def test_accept_then_reset(dialect: str, stream: bool) -> None:
    heard = play("reset", dialect=dialect, stream=stream)
    assert (heard.data, heard.end) == (b"", "reset")


@every_answer
def test_hang_before_the_headers(dialect: str, stream: bool) -> None:
    heard = play("hang", dialect=dialect, stream=stream, quiet=0.04)
    assert (heard.data, heard.end) == (b"", "silent")


@every_answer
def test_delay_is_the_ordinary_answer_but_late(dialect: str, stream: bool) -> None:
    heard = play("delay", dialect=dialect, stream=stream, delay=0.03, text="你好")
    assert heard.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert "你好".encode() in heard.data
    assert heard.reads[0][0] >= 0.03 - EARLY


def test_hang_for_a_while() -> None:
    heard = play("hang", open_for=0.03)
    assert (heard.data, heard.end) == (b"", "closed")
    assert heard.ended_at >= 0.03 - EARLY


@pytest.mark.parametrize("kind", ["close", "reset", "hang"])
def test_a_delay_comes_before_it(kind: str) -> None:
    options = {"open_for": 0.0} if kind == "hang" else {}
    heard = play(kind, delay=0.03, **options)
    assert heard.data == b""
    assert heard.ended_at >= 0.03 - EARLY


def test_garbage_is_no_http() -> None:
    heard = play("garbage", size=80, seed=3)
    wanted = Random(3).randbytes(80)
    assert heard.data == bytes([wanted[0] | 0x80]) + wanted[1:]
    assert heard.end == "closed"
    assert play("garbage").data != heard.data


def test_a_request_that_got_no_answer_is_not_ok_in_the_journal() -> None:
    with mock() as server:
        server.default_account.fault("reset")
        listen(server, request())
        (entry,) = server.requests
    assert (entry.status, entry.ok, entry.outcome) == (0, False, "reset")


# A part of the answer


@every_answer
@pytest.mark.parametrize("after_bytes", [1, 17, 150, 10_000])
def test_exactly_so_many_bytes_then_the_end(dialect: str, stream: bool, after_bytes: int) -> None:
    whole = ordinary(dialect, stream=stream)
    raw = b"".join(data for _, data in whole.reads)
    for kind, end in (("close", "closed"), ("reset", "reset")):
        heard = play(kind, dialect=dialect, stream=stream, after_bytes=after_bytes, text="你好")
        came = b"".join(data for _, data in heard.reads)
        expected = raw[:after_bytes]
        if after_bytes == 10_000:  # more than the answer has
            assert heard.data == whole.data if not stream else whole.data.removesuffix(b"0\r\n\r\n")
        else:
            date = came.find(b"Date: ")
            upto = date if date >= 0 else len(came)
            assert len(came) == after_bytes
            assert came[:upto] == expected[:upto]
        assert heard.end == end


def test_a_part_then_silence() -> None:
    heard = play("hang", after_bytes=30, text="你好", quiet=0.04)
    assert heard.end == "silent"
    assert len(heard.reads[0][1]) == 30


# Slow


@pytest.mark.parametrize("stream", [False, True])
def test_headers_come_a_byte_at_a_time(stream: bool) -> None:
    heard = play("slow-headers", interval=0.0005, text="你好", stream=stream)
    assert heard.data == ordinary(stream=stream).data
    assert heard.end == "closed"
    size = len(heard.head)
    assert heard.when(size + 38) >= size * 0.0005 - EARLY, "the head took its time"


def test_headers_come_so_many_bytes_at_a_time() -> None:
    heard = play("slow-headers", interval=0.002, bytes_per_write=100, text="你好")
    assert heard.data == ordinary().data


@pytest.mark.parametrize("stream", [False, True])
def test_the_body_comes_a_few_bytes_at_a_time(stream: bool) -> None:
    heard = play("slow-body", interval=0.001, bytes_per_write=20, text="你好", stream=stream)
    assert heard.data == ordinary(stream=stream).data
    assert heard.ended_at >= len(heard.body) // 20 * 0.001 - EARLY


def test_the_plan_of_a_slow_answer_has_every_write() -> None:
    (reply,) = handled(
        lambda account: account.fault("slow-headers", delay=1, interval=0.5, bytes_per_write=7), request(stream=False)
    )
    *head, body = wire_plan(reply).writes
    assert {len(write.data) for write in head[:-1]} == {7}
    assert [write.at for write in head] == [1 + 0.5 * number for number in range(len(head))]
    assert b"".join(write.data for write in head).endswith(b"\r\n\r\n")
    assert body.at == head[-1].at + 0.5
    assert body.data == reply.content


# Lies about the body


@every_answer
def test_a_length_that_is_too_long(dialect: str, stream: bool) -> None:
    whole = ordinary(dialect, stream=stream)
    body = b"".join(dechunked(whole.body)) if stream else whole.body
    heard = play("wrong-length", by=7, text="你好", dialect=dialect, stream=stream)
    length = b"Content-Length: %d\r\n"
    right = b"Transfer-Encoding: chunked\r\n" if stream else length % len(body)
    assert heard.head == whole.head.replace(right, length % (len(body) + 7))
    assert heard.body == body
    assert heard.end == "closed"


@every_answer
def test_a_length_that_is_too_short(dialect: str, stream: bool) -> None:
    heard = play("wrong-length", by=-5, text="你好", dialect=dialect, stream=stream)
    assert b"Content-Length: %d\r\n" % (len(heard.body) - 5) in heard.head
    assert heard.end == "closed"


def test_a_length_never_goes_below_nothing() -> None:
    assert b"Content-Length: 0\r\n" in play("wrong-length", by=-100_000).head


@pytest.mark.parametrize(("then", "end"), [("keep", "silent"), ("hang", "silent"), ("close", "closed")])
def test_what_becomes_of_the_connection(then: str, end: str) -> None:
    heard = play("wrong-length", by=3, then=then, text="你好", close=False, quiet=0.05)
    assert heard.body == ordinary(close=False).body
    assert heard.end == end


def test_bytes_left_over_look_like_the_next_answer() -> None:
    first = ordinary(close=False)
    with mock() as server:
        server.default_account.fault("wrong-length", by=-4, then="keep", text="你好").reply("好")
        both = listen(server, request(stream=False, close=False) + request(stream=False))
    length = len(first.body) - 4
    assert b"Content-Length: %d\r\n" % length in both.head
    assert both.body[length:].startswith(first.body[-4:] + b"HTTP/1.1 200 OK\r\n")
    assert both.end == "closed"


def unzipped(heard: Heard, *, stream: bool) -> tuple[bytes, bool]:
    """What can be read of a gzip body, and whether it is whole and right."""
    body = b"".join(dechunked(heard.body)) if stream else heard.body
    reader = zlib.decompressobj(wbits=31)
    read = b""
    try:
        for at in range(len(body)):
            read += reader.decompress(body[at : at + 1])
    except zlib.error:
        return read, False
    return read, reader.eof


@every_answer
@pytest.mark.parametrize("how", ["truncated", "corrupt", "not-gzip", "intact"])
def test_a_body_that_gzip_cannot_read(dialect: str, stream: bool, how: str) -> None:
    whole = ordinary(dialect, stream=stream)
    body = b"".join(dechunked(whole.body)) if stream else whole.body
    heard = play("bad-gzip", how=how, text="你好", dialect=dialect, stream=stream)
    assert b"\r\nContent-Encoding: gzip\r\n" in heard.head
    assert heard.end == "closed"
    if not stream:
        assert b"\r\nContent-Length: %d\r\n" % len(heard.body) in heard.head
    read, right = unzipped(heard, stream=stream)
    assert right == (how == "intact")
    assert body.startswith(read) if how == "truncated" else read != body or right
    if how == "intact":
        assert read == body
    if how == "not-gzip":
        assert (b"".join(dechunked(heard.body)) if stream else heard.body) == body


@every_answer
def test_a_status_line_that_is_none(dialect: str, stream: bool) -> None:
    whole = ordinary(dialect, stream=stream)
    heard = play("bad-status-line", dialect=dialect, stream=stream, text="你好")
    assert heard.data == whole.data.replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 nonsense")
    assert play("bad-status-line", line="ICY 200 OK").data.startswith(b"ICY 200 OK\r\n")


@every_answer
def test_chunks_that_are_none(dialect: str, stream: bool) -> None:
    heard = play("malformed-chunk", dialect=dialect, stream=stream, text="你好", size=40, seed=2)
    wanted = Random(2).randbytes(40)
    assert heard.body == bytes([wanted[0] | 0x80]) + wanted[1:]
    assert heard.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in heard.head
    assert b"Content-Length" not in heard.head
    assert heard.end == "closed"


# Somebody else answers


def test_a_page_instead_of_json() -> None:
    heard = play("html")
    assert heard.data.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n")
    assert heard.body.startswith(b"<!DOCTYPE html>")
    assert b"\r\nContent-Length: %d\r\n" % len(heard.body) in heard.head
    heard = play("html", status=403, page="<h1>禁止</h1>")
    assert heard.data.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert heard.body == "<h1>禁止</h1>".encode()


@pytest.mark.parametrize(
    ("status", "reason"),
    [(502, b"Bad Gateway"), (503, b"Service Temporarily Unavailable"), (504, b"Gateway Time-out")],
)
def test_a_proxy_cannot_reach_the_service(status: int, reason: bytes) -> None:
    page = (
        b"<html>\r\n<head><title>%d %b</title></head>\r\n<body>\r\n<center><h1>%d %b</h1></center>\r\n"
        b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n" % (status, reason, status, reason)
    )
    assert play("proxy-error", status=status).data == (
        b"HTTP/1.1 %d %b\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: %d\r\n"
        % (status, reason, len(page))
        + b"Connection: close\r\n\r\n"
        + page
    )


def test_bfe_says_nothing() -> None:
    assert play("proxy-error", server="bfe", status=503).data == (
        b"HTTP/1.1 503 Service Unavailable\r\nServer: bfe\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )


# Large


@every_answer
@pytest.mark.parametrize("size", [10_000, 262_144, 1_000_003])
def test_a_body_of_that_size(dialect: str, stream: bool, size: int) -> None:
    heard = play("large-body", size=size, dialect=dialect, stream=stream)
    body = b"".join(dechunked(heard.body)) if stream else heard.body
    assert len(body) == size
    first = body.split(b"\n")[0].removeprefix(b"data: ")
    said = json.loads(first)
    text = said.get("result") or next(
        (choice.get("message") or choice["delta"])["content"] for choice in said["choices"]
    )
    assert set(text) == {"a"}
    assert said.get("usage", {}).get("completion_tokens", 1) == 1


def test_other_operations_have_large_answers_too() -> None:
    body = b'{"input":["x"],"model":"embedding-v1"}'
    data = b"POST /v2/embeddings HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with mock() as server:
        server.default_account.fault("large-body", size=50_000)
        heard = listen(server, data + body)
    assert len(heard.body) == 50_000
    assert len(json.loads(heard.body)["data"][0]["embedding"]) > 100


def test_large_plans_share_their_bytes() -> None:
    plans = [
        wire_plan(reply)
        for reply in handled(
            lambda account: account.fault("large-body", size=100_000_000, times=2), request(), request(stream=True)
        )
    ]
    blocks = {id(write.data) for plan in plans for write in plan.writes if len(write.data) == 1 << 18}
    assert len(blocks) == 1
    for plan in plans:
        assert sum(len(write.data) for write in plan.writes) > 100_000_000
        assert sum(len(data) for data in {id(w.data): w.data for w in plan.writes}.values()) < 1_000_000


# The table


def test_every_fault_is_tested_byte_for_byte(request: pytest.FixtureRequest) -> None:
    source = request.path.read_text("utf-8")
    for kind, fault in FAULTS.items():
        assert f'play("{kind}"' in source or f'("{kind}", ' in source, kind
        for each in fields(fault):
            if each.name not in {"text", "delay"}:
                assert f"{each.name}=" in source, f"{kind}: {each.name}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("EMPTY_RESPONSE", "close"),
        ("CONNECTION_RESET_BY_PEER", "reset"),
        ("reset_peer", "reset"),
        ("MALFORMED_RESPONSE_CHUNK", "malformed-chunk"),
        ("RANDOM_DATA_THEN_CLOSE", "garbage"),
        ("timeout", "hang"),
        ("Slow_Headers", "slow-headers"),
        ("chunkedDribbleDelay", "slow-body"),
    ],
)
def test_other_tools_names_are_understood(name: str, kind: str) -> None:
    assert fault_of(name, {}).kind == kind


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("rest", {}, "there is no fault 'rest'; did you mean 'reset'?"),
        ("fire", {}, "there are close, reset, hang"),
        ("slow-headers", {"intervall": 1}, "fault 'slow-headers' has no option 'intervall'; did you mean 'interval'?"),
        ("slow-headers", {"interval": -1}, "interval is in seconds, from 0 to 3600; got -1"),
        ("wrong-length", {"by": 0}, "by=0 is the right length"),
        ("proxy-error", {"status": 500}, "status is an HTTP status, from 502 to 504; got 500"),
        ("proxy-error", {"server": "apache"}, "server is one of 'nginx', 'bfe'"),
        ("bad-status-line", {"line": "a\r\nb"}, "line is one line of text in Latin-1"),
        ("bad-status-line", {"line": "状态"}, "line is one line of text in Latin-1"),
        ("bad-status-line", {"line": ""}, "an empty one would be skipped"),
        ("html", {"status": 204}, "has no body"),
        ("large-body", {"size": 10}, "size is a number of bytes, from 10000"),
        ("reset", {"after_bytes": 1.5}, "after_bytes is a number of bytes, from 0; got 1.5"),
        ("hang", {"open_for": "long"}, "open_for is in seconds, from 0 to 3600, or None"),
        ("bad-gzip", {"how": "zip"}, "how is one of 'truncated', 'corrupt', 'not-gzip', 'intact'"),
        ("close", {"text": 5}, "text is a text, or None; got 5"),
    ],
)
def test_a_mistake_is_told_where_it_is_written(kind: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        fault_of(kind, options)
    assert told in str(caught.value)
    if "no fault" in told or "no option" in told:
        assert isinstance(caught.value, TypeError)


def test_other_peoples_parser_agrees_on_what_is_broken() -> None:
    """h11, which is strict, takes the ordinary answer and none of these."""

    def read(data: bytes) -> None:
        peer = h11.Connection(h11.CLIENT)
        peer.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
        peer.send(h11.EndOfMessage())
        peer.receive_data(data)
        peer.receive_data(b"")
        while not isinstance(peer.next_event(), h11.EndOfMessage):
            pass

    read(ordinary().data)
    for kind in ("close", "garbage", "bad-status-line", "malformed-chunk", "wrong-length"):
        with pytest.raises(h11.RemoteProtocolError):
            read(play(kind).data)
