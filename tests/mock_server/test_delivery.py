from __future__ import annotations

from itertools import pairwise
from typing import get_args

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.delivery import RESET_GRACE, After, Ending, Reply, Wire, Write, wire_plan, wsgi_losses

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


# Plans of faults

STREAM = (Write(0.1, "春".encode()), Write(0.2, b"0123456789abcdefg"))


def said(plan):
    return b"".join(write.data for write in plan.writes)


WIRES = st.builds(
    Wire,
    head_at=st.sampled_from([0.0, 0.05, 0.3]),
    head_slice=st.integers(0, 9),
    body_slice=st.integers(0, 9),
    split_chunk_headers=st.booleans(),
    interval=st.sampled_from([0.0, 0.01]),
    linger=st.sampled_from([0.0, 0.5]),
)


ENDINGS = st.sampled_from(get_args(Ending))


@given(WRITES, st.booleans(), st.sampled_from(["1.0", "1.1"]), WIRES, ENDINGS)
def test_slices_and_delays_change_no_byte_and_never_run_backwards(writes, streamed, version, wire, ending):
    plain = wire_plan(Reply(200, [("X", "y")], writes, streamed=streamed, ending=ending), version=version)
    bent = wire_plan(Reply(200, [("X", "y")], writes, streamed=streamed, ending=ending, wire=wire), version=version)
    assert said(bent) == said(plain)
    assert bent.after == plain.after
    assert bent.after in get_args(After)
    assert bent.writes
    assert all(earlier.at <= later.at for earlier, later in pairwise(bent.writes))
    if wire.body_slice and wire.head_slice:
        assert max(len(write.data) for write in bent.writes) <= max(wire.body_slice, wire.head_slice)


@pytest.mark.parametrize(("ending", "after"), [("cut", "close"), ("reset", "reset"), ("hang", "hang")])
def test_a_connection_that_the_script_breaks_does_not_say_so_beforehand(ending, after):
    for streamed in (True, False):
        plan = wire_plan(Reply(200, [], STREAM, streamed=streamed, ending=ending))
        assert plan.after == after
        assert b"Connection:" not in said(plan)


def test_before_a_reset_there_is_a_moment_to_read():
    plan = wire_plan(Reply(200, [], STREAM, streamed=True, ending="reset"))
    assert plan.writes[-1] == Write(0.2 + RESET_GRACE, b"")
    silent = Reply(0, [], (Write(0.3, b""),), ending="reset", wire=Wire(headless=True))
    assert wire_plan(silent).writes == (Write(0.3, b""),)


def test_a_pause_at_the_end_is_kept():
    for ending in ("complete", "cut", "hang"):
        plan = wire_plan(Reply(200, [], (*STREAM, Write(0.9, b"")), streamed=True, ending=ending))
        assert plan.writes[-1].at == 0.9
        assert plan.writes[-1].data == (b"0\r\n\r\n" if ending == "complete" else b"")


def test_chunk_headers_are_split_after_their_first_digit_and_inside_their_line_end():
    plan = wire_plan(Reply(200, [], STREAM, streamed=True, wire=Wire(split_chunk_headers=True, interval=0.25)))
    assert [(write.at, write.data) for write in plan.writes[1:]] == [
        (0.1, b"3"),
        (0.35, b"\r"),
        (0.6, b"\n\xe6\x98\xa5\r\n"),
        (0.85, b"1"),
        (1.1, b"1\r"),
        (1.35, b"\n0123456789abcdefg\r\n"),
        (1.6, b"0"),
        (1.85, b"\r"),
        (2.1, b"\n\r\n"),
    ]


def test_large_pieces_are_framed_without_a_copy():
    large = bytes(100_000)
    for streamed in (True, False):
        plan = wire_plan(Reply(200, [], (Write(0.0, large), Write(0.0, large)), streamed=streamed, wire=Wire()))
        assert sum(write.data is large for write in plan.writes) == 2


def test_a_limit_of_bytes_counts_the_head():
    plan = wire_plan(Reply(200, [], STREAM, streamed=True, ending="cut", wire=Wire(limit=20, linger=2)))
    assert said(plan) == b"HTTP/1.1 200 OK\r\nTra"
    assert (plan.writes[-1], plan.after) == (Write(2.0, b""), "close")


@pytest.mark.parametrize("by", [-100, -3, 4])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_wrong_length(by, streamed):
    plan = wire_plan(Reply(200, [], STREAM, streamed=streamed, wire=Wire(length_by=by)))
    assert b"Content-Length: %d\r\n" % max(0, 20 + by) in said(plan)
    assert b"Transfer-Encoding" not in said(plan)
    assert said(plan).endswith(b"\r\n\r\n" + b"".join(write.data for write in STREAM))


def test_head_gets_the_head_of_a_fault():
    for wire in (Wire(head_slice=3), Wire(length_by=1), Wire(raw_chunks=True), Wire(status_line="X")):
        reply = Reply(200, [], STREAM, streamed=True, wire=wire)
        assert said(wire_plan(reply, head_only=True)) == said(wire_plan(reply)).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


# What WSGI cannot carry


def test_an_ordinary_answer_loses_nothing():
    assert wsgi_losses(Reply(200, [], (Write(0.0, b"x"),))) == []
    assert wsgi_losses(Reply(200, [], (Write(0.0, b"x"), Write(1.0, b"y")), streamed=True, ending="cut")) == []
    assert wsgi_losses(Reply(200, [], (Write(1.0, b"x"),), streamed=True, wire=Wire(head_at=1.0))) == []


@pytest.mark.parametrize(
    ("reply", "loss"),
    [
        (Reply(200, ending="reset"), "the TCP reset at the end: the connection is closed instead"),
        (Reply(200, ending="hang"), "the silence at the end: the connection is closed instead"),
        (Reply(200, [], STREAM, streamed=True), "a head that leaves 0.1 s before the first piece: both leave together"),
        (Reply(0, wire=Wire(headless=True)), "an answer without status line and headers"),
        (Reply(200, wire=Wire(status_line="X 1")), "the status line 'X 1': the proper one is sent"),
        (Reply(200, wire=Wire(reason="Fine")), "the reason phrase 'Fine'"),
        (Reply(200, wire=Wire(length_by=-3)), "a Content-Length that is wrong by -3"),
        (Reply(200, wire=Wire(raw_chunks=True)), "chunks without chunk headers"),
        (Reply(200, wire=Wire(head_slice=1)), "a head written 1 bytes at a time"),
        (Reply(200, wire=Wire(body_slice=7)), "a body written 7 bytes at a time"),
        (Reply(200, wire=Wire(split_chunk_headers=True)), "chunk headers split between writes"),
        (Reply(200, wire=Wire(limit=9)), "an end after exactly 9 bytes: the whole answer is sent"),
        (Reply(200, wire=Wire(linger=2.5)), "2.5 s between the last bytes and the end"),
    ],
)
def test_what_is_lost_is_said_in_words(reply, loss):
    (told,) = wsgi_losses(reply)
    assert told.startswith(loss)


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_no_framing_and_keeps_its_connection(status):
    """As WSGI apps answer it: without a length, so as a stream."""
    plan = wire_plan(Reply(status, streamed=True))
    response, body = read_with_h11(plan.writes[0].data, closed=False)
    assert (response.status_code, body, plan.after) == (status, b"", "keep")
    assert not {b"transfer-encoding", b"content-length"} & {name for name, _ in response.headers}
