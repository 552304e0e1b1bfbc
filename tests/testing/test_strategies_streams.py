"""Event streams against openai-python's decoder, for every split in two and for those that are drawn."""

from __future__ import annotations

import codecs
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder
from openai.types.chat import ChatCompletionChunk

from qfkit.client.events import ChunkReader
from qfkit.protocol.dialects import INFERENCE_DIALECTS
from qfkit.protocol.sse import Decoder
from qfkit.testing.strategies import answer_streams, splits, sse_streams


def by_openai(pieces: list[bytes]) -> list[tuple[str, str]]:
    return [(event.event or "message", event.data) for event in SSEDecoder().iter_bytes(iter(pieces))]


def by_qfkit(pieces: list[bytes]) -> list:
    decoder = Decoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close(lenient=False)


# openai's decoder keeps a byte order mark, and makes an event of what has an id, a type or a retry but no data: none of
# these streams has such a thing but the mark.
@settings(max_examples=40)
@given(sse_streams(bom=False, max_events=3))
def test_openai_reads_the_same_events_in_every_split_in_two(stream):
    events = [(event.event, event.data) for event in stream.events]
    data = stream.data
    for at in range(len(data) + 1):
        pieces = [piece for piece in (data[:at], data[at:]) if piece]
        assert by_openai(pieces) == events
    assert by_openai([data[at : at + 1] for at in range(len(data))]) == events


@settings(max_examples=60)
@given(st.data())
def test_ours_reads_ids_retries_and_the_mark_too_in_every_split_drawn(data):
    stream = data.draw(sse_streams())
    pieces = data.draw(splits(stream.data))
    assert b"".join(pieces) == stream.data
    assert all(pieces)
    assert tuple(by_qfkit(pieces)) == stream.events


@settings(max_examples=30)
@given(answer_streams("v2"), st.data())
def test_openai_reads_the_text_of_an_answer(stream, data):
    mark = stream.data.startswith(codecs.BOM_UTF8)
    pieces = data.draw(splits(stream.data[3:] if mark else stream.data))
    events = [text for _, text in by_openai(pieces)]
    assert events[-1] == "[DONE]"
    chunks = [ChatCompletionChunk.model_validate_json(text) for text in events[:-1]]
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == stream.text


@pytest.mark.parametrize(
    ("dialect", "lines"), [*((each, False) for each in INFERENCE_DIALECTS), ("text_generation", True)]
)
@settings(max_examples=15)
@given(st.data())
def test_the_reference_client_reads_the_text_of_an_answer_in_any_pieces(dialect, lines, data):
    stream = data.draw(answer_streams(dialect, lines=lines))
    reader = ChunkReader(dialect, lambda body: None)
    chunks = [chunk for piece in data.draw(splits(stream.data)) for chunk in reader.feed(piece)]
    assert reader.failure is None
    assert "".join(chunk.text for chunk in chunks) == stream.text
    assert stream.dialect == dialect
    if lines:
        assert all(json.loads(line) for line in stream.data.splitlines())


def test_a_plain_answer_is_written_as_the_service_writes_it():
    @settings(max_examples=20, database=None)
    @given(answer_streams("v2", framing=False))
    def check(stream):
        assert stream.data.startswith(b"data: {")
        assert stream.data.endswith(b"data: [DONE]\n\n")

    check()


def test_splits_cut_characters_and_line_ends_in_two():
    inside_character = inside_line_end = whole = bytewise = 0

    @settings(max_examples=100, database=None)
    @given(splits("data: 你😀\r\n\r\n".encode()))
    def look(pieces):
        nonlocal inside_character, inside_line_end, whole, bytewise
        inside_character += any(piece[0] & 0xC0 == 0x80 for piece in pieces)
        inside_line_end += any(first.endswith(b"\r") and last.startswith(b"\n") for first, last in pairwise(pieces))
        whole += len(pieces) == 1
        bytewise += all(len(piece) == 1 for piece in pieces)

    look()
    assert inside_character > 20
    assert inside_line_end > 20
    assert whole
    assert bytewise > 4


@given(splits(st.binary(max_size=1)))
def test_next_to_nothing_has_no_splits(pieces):
    assert len(pieces) <= 1


def test_newlines_and_extras_are_those_that_were_asked_for():
    @given(sse_streams(newlines=["\n"], extras=["id"], bom=False, payloads=st.just("x")))
    def check(stream):
        assert b"\r" not in stream.data
        assert {line.partition(b":")[0] for line in stream.data.splitlines()} <= {b"", b"data", b"id"}

    check()
    with pytest.raises(ValueError, match=r"extras are some of .*; got 'comments'"):
        sse_streams(extras=["comments"])
