"""Options, wherever they are written: checked early, with messages that teach; the same in Python and as data."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
from faults_client import handled, request

from mock_server.delivery import wire_plan
from mock_server.faults.keywords import DeliveryOptions
from mock_server.faults.options import OptionError
from mock_server.faults.stream import PLAIN, Delivery
from mock_server.faults.whole import FAULTS
from mock_server.handle import AccountHandle
from mock_server.scenario import Answer
from mock_server.settings import ConfigError, build, load
from mock_server.state import State


@pytest.fixture
def account() -> AccountHandle:
    state = State(build({"auth": "off"}))
    return AccountHandle(state.default_account, state, "http://mock")


def test_the_keywords_are_the_options() -> None:
    """What an editor offers is what there is."""
    keywords, options = get_type_hints(DeliveryOptions), get_type_hints(Delivery)
    assert set(keywords) == {each.name for each in fields(Delivery)}
    for name, kind in keywords.items():
        if "Sequence" not in str(kind):
            assert options[name] == kind, name


def test_the_docstring_names_every_fault() -> None:
    assert all(f"``{kind}``" in str(AccountHandle.fault.__doc__) for kind in FAULTS)


def test_options_are_plain_data() -> None:
    for each in fields(Delivery):
        assert each.default is None or isinstance(each.default, (str, int, float, bool, tuple))


def test_options_are_kept_as_one_kind_of_value() -> None:
    options = Delivery.of({"malformed_at": 2, "swap": [1, 1], "ttft": 1, "timing": (), "newline": "crlf"}, "stream()")
    assert (options.malformed_at, options.swap, options.timing) == ((2,), (1, 1), ())
    assert isinstance(options.ttft, float)
    assert options.newline == "\r\n"


def test_what_was_written_is_told_in_the_journal() -> None:
    options = {"ttft": 0.0, "cut_after": 1, "cut": "reset", "swap": [1]}
    assert Answer(pieces=("a",) * 3, delivery=Delivery.of(options, "")).describe() == (
        "stream of 3 pieces (ttft=0.0, cut_after=1, cut='reset', swap=[1])"
    )
    assert Answer(text="好").describe() == "reply '好'"
    assert Delivery(cut_after=2).written == "cut_after=2"
    assert PLAIN.given == ()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cut_after": -1}, "cut_after is a number of events, from 0, or None; got -1"),
        ({"cut_after": 1.0}, "cut_after is a number of events"),
        ({"cut_after": True}, "cut_after is a number of events"),
        ({"cut": "reset"}, "add cut_after, the number of events before it"),
        ({"cut_after": 1, "cut": "rst"}, "cut is one of 'clean', 'incomplete', 'reset'; got 'rst'"),
        ({"stall": 5}, "add stall_after, the number of events before it"),
        ({"stall_after": 1, "cut_after": 2}, "a stall for ever comes before the cut: give stall in seconds"),
        ({"stall_after": 2, "stall": 1, "cut_after": 1}, "the stall comes after the cut, and would never be met"),
        ({"stall_after": 1, "keep_alive": 1}, "a stall for ever has no comments"),
        ({"error": 18}, "error_after and error go together, as in error_after=1, error=336100: add error_after"),
        ({"error_after": 1}, "add error"),
        ({"error_after": 1, "error": 1818}, "1818"),
        ({"error_after": 1, "error": True}, "error is a Qianfan code, a v2 code or an HTTP status, or None; got True"),
        ({"error_after": 2, "error": 18, "cut_after": 2}, "the error comes after the cut, and would never be met"),
        ({"error_message": "x"}, "error_message is for an error event"),
        ({"malformed_at": [1, 2], "truncated_at": 2}, "event 2 cannot be malformed and truncated"),
        ({"malformed_at": -1}, "malformed_at is the number of an event, counted from 0, or a list"),
        ({"duplicate": "1"}, "duplicate is the number of an event"),
        ({"swap": [0.5]}, "swap is the number of an event"),
        ({"swap": None}, "swap is the number of an event"),
        ({"comment_every": 0}, "comment_every is a number of events, from 1"),
        ({"comment": "a\nb"}, "comment is one line of text"),
        ({"keep_alive": 0.001}, "keep_alive is in seconds, from 0.005"),
        ({"newline": "\n\n"}, "newline is one of '\\n', '\\r\\n', '\\r'; got '\\n\\n'"),
        ({"bom": 1}, "bom is True or False; got 1"),
        ({"writes": "bytes"}, "writes is one of 'event', 'byte', "),
        ({"writes": ["byte"]}, "writes is one of 'event', 'byte', "),
        ({"writes": "byte", "events_per_write": 2}, "events_per_write groups events, and writes='byte' does something"),
        ({"write_interval": 0.1}, "write_interval is for writes that split something: byte-chunks, inside-characters"),
        ({"content_type": "a\r\nSet-Cookie: b"}, "content_type is one line of text in Latin-1"),
        ({"content_type": "文"}, "content_type is one line of text in Latin-1"),
        ({"chunk": "sentence"}, "chunk is one of 'character', 'token', 'word', a number of characters, or None"),
        ({"chunk": 0}, "chunk is one of"),
        ({"chunk": "word"}, "these pieces are cut already"),
        ({"cut_afer": 1}, "an answer has no option 'cut_afer'; did you mean 'cut_after'?"),
        ({"zzz": 1}, "an answer has no option 'zzz'; there are "),
        # Three pieces, the end event and v2's mark: no dialect has more.
        ({"cut_after": 6}, "cut_after=6: a stream of 3 pieces, its end event and v2's [DONE] are at most 5 events"),
        (
            {"malformed_at": 5},
            "malformed_at=5: a stream of 3 pieces, its end event and v2's [DONE] are the events 0 to 4",
        ),
        ({"swap": 4}, "swap=4: a stream of 3 pieces"),
        ({"stall_after": 8, "stall": 1, "duplicate": 1, "empty_at": [0]}, "at most 7 events"),
    ],
)
def test_a_mistake_is_told_where_it_is_written(account: AccountHandle, options: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        account.stream(["a", "b", "c"], **options)
    assert told in str(caught.value)
    assert isinstance(caught.value, TypeError) == ("has no option" in told)
    assert account.waiting == [], "nothing was queued"
    step = {"stream": ["a", "b", "c"], **options}
    with pytest.raises(ConfigError) as told_of_data:
        build({"accounts": [{"script": [step]}]})
    in_data = re.sub(r" \(at [^)]*\)", "", str(told_of_data.value)).replace("stream has no", "an answer has no")
    assert told in in_data


@pytest.mark.parametrize("pieces", ["你好", ["a", 1], [b"a"]])
def test_pieces_are_strings(account: AccountHandle, pieces: Any) -> None:
    with pytest.raises(TypeError, match=r"list of strings.*or a text and how to cut it"):
        account.stream(pieces)


def test_what_can_just_be_met_is_taken(account: AccountHandle) -> None:
    account.stream(["a"], cut_after=3).stream(["a"], malformed_at=2).stream(["a"], cut_after=4, duplicate=0)
    assert len(account.waiting) == 3


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"cut_after": 4}, "cut_after=4 was not met: the stream had 3 events"),
        ({"stall_after": 4, "stall": 1}, "stall_after=4 was not met: the stream had 3 events"),
        ({"error_after": 4, "error": 18}, "error_after=4 was not met: the stream had 3 events"),
        ({"swap": 2}, "swap=2 was not met: the stream had 3 events"),
        ({"error_after": 0, "error": 18, "stall_after": 2}, "stall_after=2 was not met: the stream had 1 events"),
    ],
)
def test_what_one_dialect_cannot_meet_is_noted(options: dict[str, Any], note: str) -> None:
    v1, v2 = handled(lambda account: account.stream(["a", "b"], times=2, **options), request("v1"), request("v2"))
    assert v1.notes == (note,)
    assert v1.ending == "complete"
    assert v2.notes == (() if "had 3" in note else v1.notes)


# As data


def test_a_script_as_data_is_the_script(account: AccountHandle) -> None:
    account.reply("x", chunk="character", cut_after=1, times=2).stream("你好", chunk=1, swap=0)
    account.fault("slow-headers", interval=0.5).fail(18, message="m").reply()
    written = account.waiting
    account.reset().play(
        [
            {"reply": "x", "chunk": "character", "cut_after": 1, "times": 2},
            {"stream": "你好", "chunk": 1, "swap": 0},
            {"fault": "slow-headers", "interval": 0.5},
            {"fail": 18, "message": "m"},
            {"reply": None},
        ]
    )
    assert account.waiting == written


YAML = """\
accounts:
  - script:
      - stream: [你, 好]
        ttft: 0.2
        jitter: lognormal
        content_type: null
        newline: crlf
      - stream: 春江潮水
        chunk: character
        malformed_at: [1, 2]
        cut_after: 3
        cut: reset
      - fault: wrong-length
        by: -3
        times: 2
"""


def test_yaml_says_everything(tmp_path: Any) -> None:
    file = tmp_path / "mock.yaml"
    file.write_text(YAML, "utf-8")
    (config,) = load(file).accounts
    first, second, fault = handled(lambda account: account.play(config.script), *[request("v1")] * 3)
    assert b"\r\n\r\n" in first.body[0].data
    assert "Content-Type" not in dict(first.headers)
    assert (len(second.body), second.ending) == (3, "reset")
    assert b"Content-Length" in wire_plan(fault).writes[0].data


@pytest.mark.parametrize(
    ("step", "line", "told"),
    [
        ("stream: [a]\n        cut_after: -1", 4, "cut_after is a number of events"),
        ("stream: [a]\n        ttft: 0\n        cut_afer: 1", 5, "did you mean 'cut_after'?"),
        ("reply: x\n        jitter: gauss", 4, "jitter is one of"),
        ("stream: a b", 3, "a text needs `chunk: word` or the like beside it"),
        ("stream: [a]\n        cut_after: 9", 4, "at most 3 events"),
        ("stream: [a]\n        cut: reset", 4, "add cut_after"),
        ("fault: rest", 3, "did you mean 'reset'?"),
        ("fault: slow-headers\n        intervall: 1", 4, "did you mean 'interval'?"),
        ("fault: slow-headers\n        interval: soon", 4, "interval is in seconds"),
        ("fail: 1818", 3, "1818"),
        ("fail: 18\n        ttft: 1", 4, "fail has no option 'ttft'"),
        ("fault: reset\n        reply: x", 3, "exactly one of reply, template, echo"),
    ],
)
def test_a_mistake_in_yaml_names_its_line(tmp_path: Any, step: str, line: int, told: str) -> None:
    file = tmp_path / "mock.yaml"
    file.write_text(f"accounts:\n  - script:\n      - {step}\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert f"mock.yaml:{line}:" in str(caught.value)
    assert told in str(caught.value)
