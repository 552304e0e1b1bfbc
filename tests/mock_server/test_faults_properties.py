"""What holds for every text, every option and every seed."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import h11
from faults_client import handled, request
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from mock_server.delivery import Reply, WirePlan, wire_plan
from mock_server.faults.chunking import chunk
from mock_server.faults.edits import Event, edit, malformed, swapped, truncated
from mock_server.faults.stream import Delivery
from qfkit.protocol.sse import Decoder
from qfkit.protocol.tokens import estimate

# Text as JSON carries it: lone surrogates are no text.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
pieces = st.lists(texts, max_size=6)
seconds = st.floats(0, 2)
numbers = st.integers(0, 7)

paces = st.one_of(
    st.fixed_dictionaries({}, optional={"ttft": seconds, "interval": seconds}),
    st.fixed_dictionaries({"tokens_per_second": st.floats(0.1, 100)}, optional={"ttft": seconds}),
    st.fixed_dictionaries(
        {"interval": seconds, "jitter": st.sampled_from(["uniform", "normal", "lognormal"])},
        optional={"spread": st.floats(0, 1), "seed": numbers},
    ),
    st.fixed_dictionaries({"timing": st.lists(seconds, min_size=1, max_size=9).map(sorted)}),
)
segments = st.one_of(
    st.fixed_dictionaries({}, optional={"events_per_write": st.integers(1, 4)}),
    st.just({"writes": "one-segment"}),
    st.fixed_dictionaries(
        {"writes": st.sampled_from(["byte", "byte-chunks", "inside-characters", "inside-chunk-headers"])},
        optional={"write_interval": st.sampled_from([0.0, 0.001])},
    ),
)
harmless = st.fixed_dictionaries(
    {},
    optional={
        "newline": st.sampled_from(["\n", "\r\n", "\r"]),
        "early_headers": st.booleans(),
        "comment_every": st.integers(1, 3),
        "comment": st.sampled_from(["keep-alive", "", "data: no"]),
        "keep_alive": st.floats(0.3, 1),
        "stall_after": numbers,
    },
)
boms = st.fixed_dictionaries({}, optional={"bom": st.booleans()})


def merged(*options: dict[str, Any]) -> dict[str, Any]:
    """Options that go together."""
    both: dict[str, Any] = {}
    for some in options:
        both |= some
    if "stall_after" in both:
        both["stall"] = 0.5
    return both


def play(said: list[str], dialect: str, **options: Any) -> Reply:
    said = [*said, *[""] * 8][:8]  # so that every number below 8 is an event's
    (reply,) = handled(lambda account: account.stream(said, **options), request(dialect))
    return reply


def decoded(reply: Reply) -> list[str]:
    decoder = Decoder()
    events = [event for write in reply.body for event in decoder.feed(write.data)]
    return [event.data for event in events + decoder.close(lenient=False)]


def read_by_others(plan: WirePlan) -> bytes:
    """The body as h11 reads it, given one write after the other."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    peer.send(h11.EndOfMessage())
    body = b""
    for write in plan.writes:
        if write.data:
            peer.receive_data(write.data)
        while (event := peer.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage):
                return body
            if isinstance(event, h11.Data):
                body += bytes(event.data)
    raise AssertionError("the body does not end")


def joined(plan: WirePlan) -> bytes:
    return b"".join(write.data for write in plan.writes)


@settings(max_examples=150)
@given(pieces, st.sampled_from(["v1", "v2", "text_generation"]), st.builds(merged, paces, segments, harmless, boms))
def test_whatever_the_bytes_the_events_are_the_same(said, dialect, options):
    untouched, reply = play(said, dialect), play(said, dialect, **options)

    def content(events: list[str]) -> list[Any]:  # times are told in whole seconds, in `created`
        return [event if event == "[DONE]" else json.loads(event) | {"created": 0} for event in events]

    assert content(decoded(reply)) == content(decoded(untouched))
    plan = wire_plan(reply)
    assert plan.after == "keep"
    assert read_by_others(plan) == reply.content
    assert all(earlier.at <= later.at for earlier, later in pairwise(plan.writes))
    if not options.get("bom"):  # openai's decoder takes the mark for a part of the first field's name
        theirs = [event.data for event in SSEDecoder().iter_bytes(iter([w.data for w in reply.body if w.data]))]
        assert [data for data in theirs if data] == decoded(reply)


@settings(max_examples=60)
@given(
    pieces,
    st.integers(0, 10),
    st.sampled_from(["clean", "incomplete", "reset"]),
    st.builds(merged, paces, segments, harmless),
)
def test_cut_after_n_is_exactly_n(said, count, cut, options):
    options = {name: value for name, value in options.items() if not name.startswith("stall")}
    events = decoded(play(said, "v2", **options))
    reply = play(said, "v2", **options, cut_after=count, cut=cut)
    assert decoded(reply) == events[:count]
    plan = wire_plan(reply)
    assert plan.after == {"clean": "keep", "incomplete": "close", "reset": "reset"}[cut]
    assert joined(plan).endswith(b"0\r\n\r\n") == (cut == "clean")


@settings(max_examples=60)
@given(pieces, segments, st.integers(1, 400), st.sampled_from(["close", "reset", "hang"]))
def test_a_part_of_an_answer_is_the_beginning_of_it(said, segment, size, kind):
    ordinary, part = handled(
        lambda account: account.reply("".join(said)).fault(kind, after_bytes=size, text="".join(said)),
        request("v1", stream=False),
        request("v1", stream=False),
    )
    whole, cut = (joined(wire_plan(reply)).split(b"\r\n\r\n") for reply in (ordinary, part))
    plan = wire_plan(part)
    assert plan.after == kind
    assert len(joined(plan)) == min(size, len(joined(wire_plan(ordinary))))
    assert whole[0].startswith(cut[0][:15])


@settings(max_examples=60)
@given(st.sampled_from(["v1", "v2", "text_generation", "lines"]), segments)
def test_deeper_splits_change_no_byte(dialect, segment):
    (reply,) = handled(lambda account: account.stream(["春天", "a"], **segment), request(dialect))
    plan = wire_plan(reply)
    if segment.get("writes") in {"byte", "inside-chunk-headers"}:
        (untouched,) = handled(lambda account: account.stream(["春天", "a"]), request(dialect))
        assert joined(plan) == joined(wire_plan(untouched))
    if segment.get("writes") == "byte":
        assert {len(write.data) for write in plan.writes} == {1}
    if segment.get("writes") == "inside-chunk-headers":
        assert all(write.data[-1:] == b"\r" for write in plan.writes[2::3])
        assert all(write.data[:1] == b"\n" for write in plan.writes[3::3])


# Edits, each undone


def events(count: int) -> list[Event]:
    return [Event("content", b'{"n":%d}' % number) for number in range(count)]


@given(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=12))
def test_swaps_backwards_undo_swaps(count, swaps):
    order = swapped(count, swaps)
    assert sorted(order) == list(range(count))
    for first in reversed(swaps):
        if first + 1 < count:
            order[first], order[first + 1] = order[first + 1], order[first]
    assert order == list(range(count))


numbered = st.lists(st.integers(0, 9), max_size=4, unique=True)


@given(numbered, numbered, st.lists(st.integers(0, 9), max_size=4), st.integers(1, 4))
def test_what_was_added_can_be_taken_away(duplicate, empty_at, swap, every):
    original = events(8)
    edits = Delivery.of(
        {"duplicate": duplicate, "empty_at": empty_at, "swap": swap, "comment_every": every}, "a stream"
    )
    delivered = edit(original, edits, None)
    places = [place for place, _ in delivered]
    assert places == sorted(places)
    kept: list[Event] = []
    for _, event in delivered:
        if event.kind == "content" and event not in kept:
            kept.append(event)
    assert kept == [original[index] for index in swapped(8, swap)]
    added = len([kind for _, event in delivered if (kind := event.kind) == "empty"])
    assert added == len([at for at in empty_at if at < 8])
    told = [event for _, event in delivered if event.kind != "comment"]
    assert len(told) == 8 + added + len([at for at in duplicate if at < 8])
    assert len(delivered) - len(told) == -(-len(told) // every)


@given(st.integers(0, 8), st.booleans())
def test_an_error_comes_after_exactly_so_many(after, ends):
    wrong = Event("error", b"{}")
    edits = Delivery.of({"error_after": after, "error": 18, "error_ends": ends}, "a stream")
    delivered = [event for _, event in edit(events(8), edits, wrong)]
    assert delivered[after] == wrong
    assert delivered[:after] == events(8)[:after]
    assert delivered[after + 1 :] == ([] if ends else events(8)[after:])


json_texts = st.dictionaries(texts, st.one_of(texts, st.integers(), st.lists(texts, max_size=3)), min_size=1).map(
    lambda value: json.dumps(value, ensure_ascii=False).encode()
)


@given(json_texts)
def test_damaged_json_is_no_json_and_says_where_it_was_damaged(payload):
    for damaged in (malformed(payload), truncated(payload)):
        try:
            json.loads(damaged)
        except ValueError:
            continue
        raise AssertionError(damaged)
    assert malformed(payload)[:1] + b'"' + malformed(payload)[1:] == payload
    assert payload.startswith(truncated(payload))
    truncated(payload).decode()


# Texts


@given(st.text(max_size=200), st.one_of(st.sampled_from(["character", "word", "token"]), st.integers(1, 50)))
def test_pieces_are_the_text_again(text, by):
    cut = chunk(text, by)
    assert "".join(cut) == text
    assert all(cut)
    if by == "character":
        assert len(cut) == len(text)


@given(st.lists(st.one_of(st.sampled_from(["hello", "world", "3.5", ",", "。"]), st.text("天地玄黄宇宙洪荒"))))
def test_tokens_are_about_as_many_as_usage_counts(words):
    text = " ".join(words)
    runs = len(words)
    assert abs(len(chunk(text, "token")) - estimate(text)) <= runs + 1
