"""Scripts print as the Python that makes them, mean the same in every form, and do to an answer what they say."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from mock_server import Settings, State
from mock_server.faults.stream import Delivery
from mock_server.faults.whole import FAULTS
from mock_server.handle import AccountHandle
from qfkit.client.events import ChunkReader
from qfkit.protocol.dialects import INFERENCE_DIALECTS
from qfkit.protocol.errors import classify, translate
from qfkit.testing.strategies import error_codes, error_scripts, fault_scripts, faults, harmless_options, replies
from qfkit.testing.strategies.offline import answered
from qfkit.testing.strategies.scripts import NOT_DRAWN, STREAM_FAULTS
from qfkit.testing.strategies.steps import HARMLESS, Step

DIALECTS = st.sampled_from(INFERENCE_DIALECTS)


def fresh() -> AccountHandle:
    state = State(Settings(quota="none"))
    return AccountHandle(state.add_account(), state, "http://mock.invalid")


scripts = st.one_of([error_scripts(each) | fault_scripts(each, hangs=True) for each in INFERENCE_DIALECTS])


@settings(max_examples=60)
@given(scripts)
def test_a_script_is_the_same_applied_pasted_and_as_data(script):
    applied, pasted, played = script.apply(fresh()), fresh(), fresh()
    eval(repr(script), {"account": pasted})
    played.play(script.to_data())
    assert applied.waiting == pasted.waiting == played.waiting != []
    assert len(script) == len(script.unrolled()) == sum(step.times for step in script)


@pytest.mark.parametrize("dialect", INFERENCE_DIALECTS)
@settings(max_examples=20)
@given(st.data())
def test_an_error_script_is_what_its_requests_meet(dialect, data):
    script = data.draw(error_scripts(dialect, retryable=True, answered=True, max_failures=2))
    *failures, last = script.unrolled()
    assert 1 <= len(failures) <= 2
    for step in failures:
        spec = step.error(dialect)
        reply = answered(dialect, step.apply)
        assert spec.retryable
        assert reply.status == spec.status
    assert last.error(dialect) is None
    assert last.harmless
    assert last.text


@pytest.mark.parametrize("dialect", INFERENCE_DIALECTS)
def test_codes_are_those_of_the_table_and_known_to_the_classifier(dialect):
    codes = error_codes(dialect)
    both = error_codes(dialect, retryable=True) + error_codes(dialect, retryable=False)
    assert sorted(map(str, codes)) == sorted(map(str, both))
    assert codes[0] == {"text_generation": 429, "v1": 18, "v2": "rpm_rate_limit_exceeded"}[dialect]
    for code in codes:
        spec = translate(code, dialect)
        body = answered(dialect, lambda account, code=code: account.fail(code)).content
        assert classify(dialect, spec.status, json.loads(body)) is not None


@settings(max_examples=60)
@given(replies(), DIALECTS)
def test_replies_say_their_text(step, dialect):
    assert read(dialect, step) == step.text


def read(dialect: str, step: Step) -> str:
    """What the reference client's reader makes of the stream, as openai's decoder cuts it up where it can."""
    reply = answered(dialect, step.apply, stream=True)
    reader = ChunkReader(dialect, lambda body: None)
    chunks = [chunk for write in reply.body for chunk in reader.feed(write.data)]
    assert reader.failure is None
    chunks += reader.close(whole=True)
    assert reader.complete
    return "".join(chunk.text for chunk in chunks)


@settings(max_examples=50)
@given(harmless_options(max_seconds=0.1), st.lists(st.text(max_size=5), min_size=1, max_size=3), DIALECTS)
def test_what_is_harmless_changes_nothing_that_is_said(options, said, dialect):
    said = [piece.encode("utf-8", "ignore").decode() for piece in said]
    step = Step("stream", said, options)
    assert step.harmless
    assert read(dialect, step) == "".join(said)
    if not options.get("bom"):
        reply = answered("v2", step.apply, stream=True)
        events = [event.data for event in SSEDecoder().iter_bytes(iter([reply.content])) if event.data]
        assert len(events) == len(said) + 2


@settings(max_examples=50)
@given(faults("v1") | faults("v2"))
def test_what_breaks_an_answer_is_not_called_harmless(step):
    bad = {"stall"} & set(step.options)
    assert step.harmless == bool(bad and HARMLESS.issuperset(step.options))


def test_every_option_of_a_stream_is_drawn_or_left_out_for_a_reason():
    drawn: set[str] = set()

    for kind in STREAM_FAULTS:

        @settings(max_examples=10, database=None, derandomize=True)
        @given(faults(hangs=True, only=[kind]), harmless_options(max_seconds=1))
        def look(step, harmless):
            drawn.update(step.options, harmless)

        look()
    names = {each.name for each in fields(Delivery)}
    assert drawn == names - set(NOT_DRAWN)
    assert names >= HARMLESS


@pytest.mark.parametrize("kind", FAULTS)
def test_every_option_of_a_whole_fault_is_drawn(kind):
    drawn: set[str] = set()

    @settings(max_examples=30, database=None)
    @given(faults(only=[kind], hangs=True, max_seconds=0.5))
    def look(step):
        assert (step.method, step.said) == ("fault", kind)
        drawn.update(step.options)

    look()
    assert drawn == {each.name for each in fields(FAULTS[kind])}


@settings(max_examples=60)
@given(faults(max_seconds=0.02))
def test_faults_end_by_themselves_and_soon(step):
    reply = answered("v2", step.apply, stream=True)
    assert reply.ending != "hang"
    assert reply.body[-1].at <= 0.2 if reply.body else True
    waits = [value for name, value in step.options.items() if name in {"delay", "stall", "open_for", "interval"}]
    assert all(wait is not None and wait <= 0.02 for wait in waits)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fault_scripts(only=["resett"]), "there is no fault 'resett'; there are close, reset, hang"),
        (lambda: fault_scripts(only=["silence"]), "these faults never end by themselves: allow them with hangs=True"),
        (lambda: error_scripts("oauth"), "dialect is one of text_generation, v1, v2; got 'oauth'"),
    ],
)
def test_wrong_arguments_are_refused_with_what_would_be_right(make, words):
    with pytest.raises(ValueError, match=words):
        make()
