import pickle
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from qfkit.protocol import sse
from qfkit.protocol.sse import Decoder, Event, LineDecoder, SSEError, iter_events

BOM = b"\xef\xbb\xbf"


class Case(NamedTuple):
    """What a stream must decode to. `unfinished` is what `close()` adds; the rest is what the standard gives."""

    stream: bytes
    events: tuple[Event, ...] = ()
    unfinished: Event | None = None
    last_event_id: str = ""
    retry: int | None = None
    ignored: tuple[str, ...] = ()


CORPUS = {
    "empty": Case(b""),
    "only empty lines": Case(b"\n\r\n\r\n\n"),
    "LF": Case(b"data: 1\n\ndata: 2\n\n", (Event("1"), Event("2"))),
    "CRLF": Case(b"data: 1\r\n\r\ndata: 2\r\n\r\n", (Event("1"), Event("2"))),
    "CR": Case(b"data: 1\r\rdata: 2\r\r", (Event("1"), Event("2"))),
    "endings mixed": Case(b"data: 1\r\ndata: 2\rdata: 3\n\r\ndata: 4\n\r", (Event("1\n2\n3"), Event("4"))),
    "CR LF CR is two endings": Case(b"data: 1\r\n\rdata: 2\r\r\n", (Event("1"), Event("2"))),
    "LF CR is two endings": Case(b"data: 1\n\rdata: 2\n\r", (Event("1"), Event("2"))),
    "many lines": Case(b"data: a\ndata: b\ndata:\ndata: d\n\n", (Event("a\nb\n\nd"),)),
    "data is empty": Case(b"data\n\ndata:\n\ndata: \n\n", (Event(""), Event(""), Event(""))),
    "two empty data lines": Case(b"data\ndata\n\n", (Event("\n"),)),
    "data without a colon is unfinished": Case(b"data\n\ndata\ndata\n\ndata:", (Event(""), Event("\n")), Event("")),
    "one space goes": Case(
        b"data:x\n\ndata: x\n\ndata:  x\n\ndata:\tx\n\n", tuple(map(Event, ("x", "x", " x", "\tx")))
    ),
    "more colons": Case(b"data: a: b:c\n\n", (Event("a: b:c"),)),
    "names are exact": Case(
        b"Data: 1\n data: 2\ndata : 3\nda\0ta: 4\ndata: 5\n\n",
        (Event("5"),),
        ignored=("Data: 1", " data: 2", "data : 3", "da\0ta: 4"),
    ),
    "comments": Case(
        b": keep-alive\n\n:\n: data: no\n:\0\ndata: 1\n:inside\ndata: 2\n\n",
        (Event("1\n2"),),
        ignored=(": keep-alive", ":", ": data: no", ":\0", ":inside"),
    ),
    "unknown fields": Case(b"foo: bar\nfoo\ndata: 1\n\n", (Event("1"),), ignored=("foo: bar", "foo")),
    "a bare line of JSON": Case(
        b'data: 1\n\n{"error_code":18,"error_msg":"Open api qps request limit reached"}\n',
        (Event("1"),),
        ignored=('{"error_code":18,"error_msg":"Open api qps request limit reached"}',),
    ),
    "event": Case(b"event: chat\ndata: 1\n\ndata: 2\n\n", (Event("1", "chat"), Event("2"))),
    "event, the last wins": Case(b"event: a\nevent: b\ndata: 1\n\n", (Event("1", "b"),)),
    "event, empty means message": Case(b"event: a\nevent\ndata: 1\n\nevent: \ndata: 2\n\n", (Event("1"), Event("2"))),
    "event without data is dropped, and forgotten": Case(b"event: a\n\ndata: 1\n\n", (Event("1"),)),
    "v1 plugins": Case(
        b'event: pluginMeta\ndata: {"plugin_id":"uuid-zhishiku"}\n\nevent: chat\ndata: {"result":"\xe5\xa5\xbd"}\n\n',
        (Event('{"plugin_id":"uuid-zhishiku"}', "pluginMeta"), Event('{"result":"好"}', "chat")),
    ),
    "v2 ends with [DONE]": Case(b'data: {"id":"as-1"}\n\ndata: [DONE]\n\n', (Event('{"id":"as-1"}'), Event("[DONE]"))),
    "id stays": Case(
        b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
        (Event("a", id="1"), Event("b", id="1"), Event("c")),
    ),
    "id without data": Case(b"id: 7\n\ndata: a\n\n", (Event("a", id="7"),), last_event_id="7"),
    "id with NUL is ignored": Case(
        b"id: 1\nid: 2\0\ndata: a\n\n", (Event("a", id="1"),), last_event_id="1", ignored=("id: 2\0",)
    ),
    "id of an unfinished event does not count": Case(
        b"id: 1\ndata: a\n\nid: 2\ndata: b\n", (Event("a", id="1"),), Event("b", id="2"), last_event_id="1"
    ),
    "retry": Case(b"retry: 3000\ndata: a\n\ndata: b\n\nretry: 0\n\n", (Event("a", retry=3000), Event("b")), retry=0),
    "retry without an event": Case(b"retry:0050\n", retry=50),
    "retry that is no number": Case(
        "retry: 5\nretry\nretry:\nretry: -1\nretry: +1\nretry: 1.5\nretry:  1\nretry: 1 \nretry: 0x1\nretry: 1_0\n"
        "retry: ５\nretry: ²\nretry: 9999999999999999999\n\n".encode(),
        retry=5,
        ignored=(
            *("retry", "retry:", "retry: -1", "retry: +1", "retry: 1.5", "retry:  1", "retry: 1 ", "retry: 0x1"),
            *("retry: 1_0", "retry: ５", "retry: ²", "retry: 9999999999999999999"),
        ),
    ),
    "BOM at the start": Case(BOM + b"data: 1\n\n", (Event("1"),)),
    "BOM before an empty line": Case(BOM + b"\r\ndata: 1\n\n", (Event("1"),)),
    "BOM once": Case(BOM + BOM + b"data: 1\n\ndata: 2\n\n", (Event("2"),), ignored=("\ufeffdata: 1",)),
    "BOM later is text": Case(
        b"data: 1\n\n" + BOM + b"data: 2\n\ndata: 3" + BOM + b"\n\n",
        (Event("1"), Event("3\ufeff")),
        ignored=("\ufeffdata: 2",),
    ),
    "BOM begun but not finished": Case(b"\xef\xbbdata: 1\ndata: 2\n\n", (Event("2"),), ignored=("\ufffddata: 1",)),
    "BOM alone": Case(BOM),
    "UTF-8 of every length": Case("data: é你😀\n\n".encode(), (Event("é你😀"),)),
    "not UTF-8": Case(
        b"data: \xff \xe4\xbd \xc0\xaf \xed\xa0\x80\ndata: \xf0\x9f\x98\n\n",
        (Event("\ufffd \ufffd \ufffd\ufffd \ufffd\ufffd\ufffd\n\ufffd"),),
    ),
    "not line endings": Case(
        "data: \u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\0\n\n".encode(), (Event("\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\0"),)
    ),
    "unfinished: empty line missing": Case(b"data: 1\n\nevent: e\ndata: 2\n", (Event("1"),), Event("2", "e")),
    "unfinished: CR at the end": Case(b"data: 1\r", (), Event("1")),
    "unfinished: line ending missing": Case(b"data: 1\n\ndata: 2", (Event("1"),), Event("2")),
    "unfinished: half a character": Case("data: 你".encode()[:-1], (), Event("\ufffd")),
    "unfinished: nothing but a type": Case(b"data: 1\n\nevent: e", (Event("1"),)),
}


def decode(pieces: list[bytes], *, lenient: bool) -> Case:
    ignored: list[str] = []
    decoder = Decoder(on_ignored=ignored.append)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    seen = decoder.last_event_id, decoder.retry, tuple(ignored)
    rest = decoder.close(lenient=lenient)
    assert len(rest) <= 1
    assert decoder.close() == []
    return Case(b"".join(pieces), tuple(events), rest[0] if rest else None, *seen)


@pytest.mark.parametrize("case", CORPUS.values(), ids=CORPUS)
def test_every_split_in_two_decodes_alike(case: Case) -> None:
    for cut in range(len(case.stream) + 1):
        assert decode([case.stream[:cut], case.stream[cut:]], lenient=True) == case, f"cut at byte {cut}"


@pytest.mark.parametrize("case", CORPUS.values(), ids=CORPUS)
def test_bytes_one_at_a_time_decode_alike(case: Case) -> None:
    pieces = [case.stream[i : i + 1] for i in range(len(case.stream))]
    assert decode(pieces, lenient=True) == case
    assert decode([piece for byte in pieces for piece in (b"", byte, b"")], lenient=True) == case


@pytest.mark.parametrize("case", CORPUS.values(), ids=CORPUS)
def test_strict_end_drops_the_unfinished_event(case: Case) -> None:
    assert decode([case.stream], lenient=False) == case._replace(unfinished=None)


def test_iter_events_is_the_decoder_over_an_iterable() -> None:
    chunks = [b"data: 1\n", b"\nda", b"ta: 2\n:c\n"]
    ignored: list[str] = []
    assert list(iter_events(chunks, on_ignored=ignored.append)) == [Event("1"), Event("2")]
    assert ignored == [":c"]
    assert list(iter_events(chunks, lenient=False)) == [Event("1")]


def test_iter_events_yields_before_it_reads_on() -> None:
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        for chunk in (b"data: 1\n\n", b"data: 2\n\n"):
            taken += 1
            yield chunk

    events = iter_events(chunks())
    assert next(events) == Event("1")
    assert taken == 1


def test_an_event_is_not_held_back_for_a_line_feed_that_may_follow() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: 1\r\n\r") == [Event("1")]
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata: 2\n\n") == [Event("2")]


def test_last_event_id_and_retry_are_known_as_soon_as_they_count() -> None:
    decoder = Decoder()
    decoder.feed(b"id: 1\nretry: 5\n")
    assert (decoder.last_event_id, decoder.retry) == ("", 5)
    decoder.feed(b"\n")
    assert (decoder.last_event_id, decoder.retry) == ("1", 5)


@pytest.mark.parametrize("decoder_type", [Decoder, LineDecoder])
def test_a_closed_decoder_says_what_to_do(decoder_type: type[Decoder | LineDecoder]) -> None:
    decoder = decoder_type()
    decoder.close()
    with pytest.raises(ValueError, match="make a new one"):
        decoder.feed(b"data: 1\n\n")


def test_lines() -> None:
    lines = LineDecoder()
    assert lines.feed(BOM[:2]) == []
    assert lines.feed(BOM[2:] + b'{"a":1}\r') == ['{"a":1}']
    assert lines.feed(b'\n\n{"b":"\xe4') == [""]
    assert lines.feed(b'\xbd\xa0"}') == []
    assert lines.close() == ['{"b":"你"}']
    assert lines.close() == []


def test_lines_of_a_stream_that_ends_inside_a_mark() -> None:
    lines = LineDecoder()
    assert lines.feed(BOM[:2]) == []
    assert lines.close() == ["\ufffd"]


class TestMaxLine:
    def test_exactly_the_limit_is_fine(self) -> None:
        assert list(iter_events([b"data: 1234\r\n\r\n", b"data: 56"], max_line=10)) == [Event("1234"), Event("56")]

    def test_the_limit_is_in_bytes(self) -> None:
        assert LineDecoder(max_line=3).feed("你\n".encode()) == ["你"]
        with pytest.raises(SSEError):
            LineDecoder(max_line=2).feed("你\n".encode())

    def test_the_mark_does_not_count(self) -> None:
        assert LineDecoder(max_line=1).feed(BOM + b"x\n") == ["x"]

    def test_a_line_is_refused_before_it_ends(self) -> None:
        decoder = Decoder(max_line=10)
        assert decoder.feed(b"data: 1234") == []
        with pytest.raises(SSEError) as caught:
            decoder.feed(b"5")
        assert (caught.value.limit, caught.value.line) == (10, 1)

    @pytest.mark.parametrize("ending", [b"", b"\n"])
    def test_what_was_complete_comes_first_then_the_error_for_good(self, ending: bytes) -> None:
        decoder = Decoder(max_line=10)
        assert decoder.feed(b"data: 1\n\ndata: 12345" + ending + b"\ndata: 2\n\n") == [Event("1")]
        for _ in range(2):
            with pytest.raises(SSEError, match="line 3 of the stream is longer than max_line=10 bytes: raise max_line"):
                decoder.feed(b"data: 3\n\n")
            with pytest.raises(SSEError):
                decoder.close()

    def test_lines_that_make_no_event_do_not_delay_the_error(self) -> None:
        with pytest.raises(SSEError):
            Decoder(max_line=10).feed(b":\ndata: 12345\n")

    def test_lines_are_counted_over_pieces(self) -> None:
        events = iter_events([b"data: 1\n", b"\nda", b"ta: 2\n\n\n", b"data: 12345"], max_line=10)
        assert next(events) == Event("1")
        assert next(events) == Event("2")
        with pytest.raises(SSEError) as caught:
            next(events)
        assert caught.value.line == 6

    def test_a_mark_that_was_none_counts_at_the_end(self) -> None:
        lines = LineDecoder(max_line=1)
        assert lines.feed(BOM[:2]) == []
        with pytest.raises(SSEError):
            lines.close()

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_that_allows_nothing_is_refused(self, limit: int) -> None:
        with pytest.raises(ValueError, match="1 or more"):
            Decoder(max_line=limit)

    def test_the_error_survives_pickling(self) -> None:
        error = pickle.loads(pickle.dumps(SSEError(10, 3)))
        assert (error.limit, error.line, str(error)) == (10, 3, str(SSEError(10, 3)))


@pytest.mark.parametrize(("line_size", "piece_size"), [(20_000, 1), (500_000, 1024)])
def test_a_long_line_in_small_pieces_takes_linear_time(line_size: int, piece_size: int) -> None:
    # 16 times the line: 16 times the work when linear, 256 times when each piece copies what came before it. CPU time,
    # the best of three, and a bound midway between the two: neither a busy machine nor page faults blur that.
    def cost(size: int) -> float:
        stream = b"data: " + b"x" * size + b"\n\n"
        pieces = [stream[i : i + piece_size] for i in range(0, len(stream), piece_size)]
        start = time.process_time()
        (event,) = iter_events(pieces)
        spent = time.process_time() - start
        assert len(event.data) == size
        return spent

    rounds = [(cost(line_size), cost(16 * line_size)) for _ in range(3)]
    small, large = map(min, zip(*rounds, strict=True))
    assert large < 64 * small, f"16 times the line cost {large / small:.1f} times the work"


class TestEncode:
    def test_the_bytes_of_wire_reference_3_4(self) -> None:
        assert sse.encode('{"result":"好"}') == b'data: {"result":"\xe5\xa5\xbd"}\n\n'

    def test_all_fields(self) -> None:
        encoded = sse.encode("a\nb", event="chat", id="7", retry=1500, comment="one\r\n\ntwo", newline="\r\n")
        assert encoded == (b": one\r\n:\r\n: two\r\nevent: chat\r\nid: 7\r\nretry: 1500\r\ndata: a\r\ndata: b\r\n\r\n")

    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    def test_every_line_break_makes_a_line(self, newline: str) -> None:
        encoded = sse.encode("a\nb\r\nc\rd\n", newline=newline)
        assert encoded.decode() == newline.join(["data: a", "data: b", "data: c", "data: d", "data: ", "", ""])
        assert list(iter_events([encoded])) == [Event("a\nb\nc\nd\n")]

    def test_empty_data_is_an_event(self) -> None:
        assert sse.encode("") == b"data: \n\n"

    def test_comments_alone(self) -> None:
        assert sse.comment("keep-alive") == b": keep-alive\n\n"
        assert sse.comment() == b":\n\n"
        assert sse.comment("a\nb", newline="\r\n") == b": a\r\n: b\r\n\r\n"

    @pytest.mark.parametrize("text", ["a\nb", "a\rb", "\r\n"])
    def test_one_line_fields_refuse_line_breaks(self, text: str) -> None:
        with pytest.raises(ValueError, match="event must be one line"):
            sse.encode("x", event=text)
        with pytest.raises(ValueError, match="id must be one line"):
            sse.encode("x", id=text)

    def test_an_id_that_would_be_ignored_is_refused(self) -> None:
        with pytest.raises(ValueError, match="NUL"):
            sse.encode("x", id="a\0")

    @pytest.mark.parametrize("retry", [-1, 10**18])
    def test_retry_that_would_be_ignored_is_refused(self, retry: int) -> None:
        with pytest.raises(ValueError, match="milliseconds"):
            sse.encode("x", retry=retry)

    @pytest.mark.parametrize("newline", ["", "\n\n", "\n\r", "\u2028"])
    def test_newline_must_be_one(self, newline: str) -> None:
        with pytest.raises(ValueError, match="newline must be one of"):
            sse.encode("x", newline=newline)
        with pytest.raises(ValueError, match="newline must be one of"):
            sse.comment("x", newline=newline)

    def test_a_lone_surrogate_is_explained(self) -> None:
        with pytest.raises(ValueError, match=r"lone surrogate U\+D83D: replace it"):
            sse.encode("ab\ud83d")
