"""The SSE decoder against two others: a naive reading of the standard, and openai-python's."""

import re
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder as OpenAIDecoder

from qfkit.protocol import sse
from qfkit.protocol.sse import Decoder, Event, LineDecoder, SSEError

# Bytes that matter to a decoder, so that a short random stream is a tricky one.
FRAGMENTS = (
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\n\r", b":", b": ", b" ", b"\0", b"5", b"-1", b"x", b"[DONE]"),
    *(b"data", b"data: ", b"data:", b"event: ", b"event", b"id: ", b"id", b"retry: ", b"retry:", b"Data: ", b"foo: "),
    *(
        b"\xef\xbb\xbf",
        b"\xef",
        b"\xbb",
        b"\xbf",
        "你".encode(),
        b"\xe4",
        b"\xbd\xa0",
        "😀".encode(),
        b"\xf0\x9f",
        b"\xff",
    ),
    *("\u2028".encode(), "\x85".encode(), b"\x0b", b"\x0c", b"\x1c", "５".encode(), b"{}"),
)
STREAMS = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=40).map(b"".join)
NEWLINES = st.sampled_from(["\n", "\r\n", "\r"])
TEXT = st.text(st.sampled_from("\n\r \t:你é😀\u2028\x85\0\ufeffadt") | st.characters(exclude_categories=["Cs"]))
ONE_LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8)

# No deadline: how long one example takes on a busy machine says nothing.
thorough = settings(max_examples=300, deadline=None)


@st.composite
def in_pieces(draw: st.DrawFn, streams: st.SearchStrategy[bytes] = STREAMS) -> list[bytes]:
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


class Outcome(NamedTuple):
    events: list[Event]
    last_event_id: str
    retry: int | None
    ignored: list[str]


def by_the_standard(stream: bytes) -> Outcome:
    """The standard's steps taken literally, over the whole stream at once, with its buffers and its names."""
    text = stream.decode("utf-8", errors="replace")
    text = text[1:] if text[:1] == "\ufeff" else text
    data_buffer = event_type_buffer = last_event_id_buffer = last_event_id_string = ""
    reconnection_time: int | None = None
    retry_of_event: int | None = None  # not the standard's: it has no per-event retry
    events = []
    ignored = []
    for match in re.finditer(r"(?P<line>[^\r\n]*)(?:\r\n|\r|\n)", text):
        line = match["line"]
        if line == "":
            last_event_id_string = last_event_id_buffer
            if data_buffer != "":
                if data_buffer[-1] == "\n":
                    data_buffer = data_buffer[:-1]
                event_type = "message" if event_type_buffer == "" else event_type_buffer
                events.append(Event(data_buffer, event_type, last_event_id_string, retry_of_event))
            data_buffer = event_type_buffer = ""
            retry_of_event = None
            continue
        if line[0] == ":":
            ignored.append(line)
            continue
        if ":" in line:
            colon = line.index(":")
            field, value = line[:colon], line[colon + 1 :]
            if value[:1] == " ":
                value = value[1:]
        else:
            field, value = line, ""
        if field == "event":
            event_type_buffer = value
        elif field == "data":
            data_buffer = data_buffer + value + "\n"
        elif field == "id" and value.find("\0") == -1:
            last_event_id_buffer = value
        elif field == "retry" and value != "" and set(value) <= set("0123456789") and len(value) < 19:
            reconnection_time = retry_of_event = int(value, 10)
        else:
            ignored.append(line)
    return Outcome(events, last_event_id_string, reconnection_time, ignored)


def decode(pieces: list[bytes], *, lenient: bool) -> Outcome:
    ignored: list[str] = []
    decoder = Decoder(on_ignored=ignored.append)
    events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.close(lenient=lenient)
    return Outcome(events, decoder.last_event_id, decoder.retry, ignored)


@thorough
@given(in_pieces())
def test_the_strict_decoder_is_the_standard(pieces: list[bytes]) -> None:
    assert decode(pieces, lenient=False) == by_the_standard(b"".join(pieces))


@thorough
@given(in_pieces())
def test_the_lenient_decoder_completes_the_stream(pieces: list[bytes]) -> None:
    assert decode(pieces, lenient=True) == by_the_standard(b"".join(pieces) + b"\n\n")


@thorough
@given(in_pieces())
def test_lines_are_those_of_the_whole_text(pieces: list[bytes]) -> None:
    decoder = LineDecoder()
    lines = [line for piece in pieces for line in decoder.feed(piece)]
    lines += decoder.close() or [""]
    assert lines == re.split(r"\r\n|\r|\n", b"".join(pieces).decode("utf-8", "replace").removeprefix("\ufeff"))


@thorough
@given(in_pieces(), st.integers(1, 12))
def test_a_limit_cuts_the_stream_at_the_same_line_for_every_split(pieces: list[bytes], limit: int) -> None:
    lines = re.split(rb"\r\n|\r|\n", b"".join(pieces).removeprefix(b"\xef\xbb\xbf"))
    long = next((index for index, line in enumerate(lines) if len(line) > limit), None)
    decoder = Decoder(max_line=limit)
    events: list[Event] = []

    def drive() -> None:
        for piece in pieces:
            events.extend(decoder.feed(piece))
        events.extend(decoder.close())

    if long is None:
        drive()
        assert events == decode(pieces, lenient=True).events
    else:
        with pytest.raises(SSEError) as caught:
            drive()
        assert (caught.value.limit, caught.value.line) == (limit, long + 1)
        # A mark in front of the first line was dropped from it, so another must not be dropped from what is left.
        before = b"\xef\xbb\xbf" + b"".join(line + b"\n" for line in lines[:long])
        assert events == by_the_standard(before).events


EVENTS = st.fixed_dictionaries(
    {"data": TEXT},
    optional={
        "event": ONE_LINE,
        "id": ONE_LINE.map(lambda text: text.replace("\0", "")),
        "retry": st.integers(0, 10**18 - 1),
        "comment": TEXT,
    },
)


@thorough
@given(st.lists(EVENTS, max_size=5), NEWLINES, st.data())
def test_what_is_encoded_is_decoded(events: list[dict[str, Any]], newline: str, data: st.DataObject) -> None:
    stream = b"".join(sse.encode(**event, newline=newline) for event in events)
    expected = []
    last_event_id = ""
    for event in events:
        last_event_id = event.get("id", last_event_id)
        text = event["data"].replace("\r\n", "\n").replace("\r", "\n")
        expected.append(Event(text, event.get("event") or "message", last_event_id, event.get("retry")))
    pieces = data.draw(in_pieces(st.just(stream)))
    assert decode(pieces, lenient=False).events == expected


@thorough
@given(st.lists(TEXT, max_size=4), NEWLINES)
def test_comments_between_events_change_nothing(comments: list[str], newline: str) -> None:
    event = sse.encode("1", newline=newline)
    stream = event + b"".join(sse.comment(text, newline=newline) for text in comments) + event
    outcome = decode([stream], lenient=False)
    assert outcome.events == [Event("1"), Event("1")]
    said = "\n".join(line[1:].removeprefix(" ") for line in outcome.ignored)
    assert said == "\n".join(text.replace("\r\n", "\n").replace("\r", "\n") for text in comments)


# openai-python's decoder (3.54) follows the same rules for what its servers send. It leaves the standard in these
# points, which the streams below avoid: it keeps a byte order mark; raises on bytes that are not UTF-8; yields an event
# for a block without data if there was a type, a retry, or ever an id; reads `retry` with int(), so also "+5" and " 5".
# Like the standard, and unlike `close()` by default, it drops an unfinished event.
FIELD_VALUE = st.text(
    st.sampled_from(" :\t你é😀\u2028\x85\0ab") | st.characters(exclude_categories=["Cs"]), max_size=6
).map(lambda text: text.replace("\r", "").replace("\n", ""))
LINE_END = st.sampled_from(["\n", "\r\n", "\r"])
DATA_LINE = st.tuples(st.sampled_from(["data:", "data: "]), FIELD_VALUE).map("".join) | st.just("data")
OTHER_LINE = st.tuples(st.sampled_from([":", "event: ", "event:", "Data: ", "foo: ", "foo"]), FIELD_VALUE).map("".join)


@st.composite
def openai_streams(draw: st.DrawFn) -> bytes:
    stream = ""
    for _ in range(draw(st.integers(0, 4))):
        lines = draw(st.permutations([draw(DATA_LINE), *draw(st.lists(DATA_LINE | OTHER_LINE, max_size=4))]))
        stream += "".join(line + draw(LINE_END) for line in lines)
        # Always LF: after a CR it would end the last line, not the event; a second one after an event does nothing.
        stream += "\n\n"
    return (stream + draw(st.sampled_from(["", "data: cut", "data: cut\n", ": comment\n\n"]))).encode()


@thorough
@given(in_pieces(openai_streams()))
def test_openai_decodes_the_same_events(pieces: list[bytes]) -> None:
    theirs = [(event.event or "message", event.data) for event in OpenAIDecoder().iter_bytes(iter(pieces))]
    ours = [(event.event, event.data) for event in decode(pieces, lenient=False).events]
    assert ours == theirs
