from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.delivery import Reply, Write, wire_plan

WRITES = st.lists(st.builds(Write, st.just(0.0), st.binary(max_size=40)), max_size=8).map(tuple)


def read_with_h11(data: bytes, *, method: str = "POST", closed: bool) -> tuple[h11.Response, bytes]:
    """Other people's HTTP parser reads what we frame."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method=method, target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(data)
    if closed:
        peer.receive_data(b"")
    response = peer.next_event()
    body = b""
    while True:
        event = peer.next_event()
        if isinstance(event, h11.EndOfMessage):
            return response, body
        assert isinstance(event, h11.Data), event
        body += bytes(event.data)


@given(WRITES, st.booleans(), st.sampled_from(["1.0", "1.1"]), st.booleans())
def test_any_reply_is_framed_so_that_another_parser_reads_the_same(writes, streamed, version, keep_alive):
    reply = Reply(200, [("X-Kind", "test")], writes, streamed=streamed)
    plan = wire_plan(reply, version=version, keep_alive=keep_alive)
    data = b"".join(write.data for write in plan.writes)
    response, body = read_with_h11(data, closed=plan.after == "close")
    assert response.status_code == 200
    assert (b"x-kind", b"test") in list(response.headers)
    assert body == b"".join(write.data for write in writes)
    assert (plan.after == "keep") == (keep_alive and not (streamed and version == "1.0"))


@given(WRITES, st.booleans())
def test_head_gets_the_head_and_no_body(writes, streamed):
    reply = Reply(200, [], writes, streamed=streamed)
    (only,) = wire_plan(reply, head_only=True).writes
    assert only.data.endswith(b"\r\n\r\n")
    assert only.data.count(b"\r\n\r\n") == 1


def test_a_cut_stream_lacks_its_last_chunk_and_closes():
    reply = Reply(200, [], (Write(0.0, b"one"),), streamed=True, ending="cut")
    plan = wire_plan(reply)
    assert plan.writes[-1].data == b"3\r\none\r\n"
    assert plan.after == "close"


def test_an_empty_piece_is_not_the_last_chunk_by_accident():
    plan = wire_plan(Reply(200, [], (Write(0.0, b""), Write(0.1, b"x")), streamed=True))
    assert b"".join(w.data for w in plan.writes).count(b"0\r\n\r\n") == 1


def test_pieces_keep_their_times_and_the_end_comes_with_the_last():
    plan = wire_plan(Reply(200, [], (Write(0.2, b"a"), Write(0.5, b"b")), streamed=True))
    assert [write.at for write in plan.writes] == [0.0, 0.2, 0.5, 0.5]


@pytest.mark.parametrize("status", [100, 204, 304])
def test_statuses_without_a_body_have_none(status):
    (only,) = wire_plan(Reply(status, [], (Write(0.0, b"ignored"),))).writes
    assert b"ignored" not in only.data
    assert b"Content-Length" not in only.data


def test_a_header_that_latin_1_cannot_hold_does_not_break_the_head():
    (only,) = wire_plan(Reply(200, [("X-Text", "文")], (Write(0.0, b""),))).writes
    assert b"X-Text: ?" in only.data
