from __future__ import annotations

import dataclasses
import re
from typing import Any, get_type_hints

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rules_helpers import PATHS, V1, ask, question

from mock_server.faults.options import OptionError, UnknownOption
from mock_server.matching import CallableFailed, Matcher, Mismatch
from mock_server.matching.keywords import Matchers

WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def match(matchers: dict[str, Any], asked: Any = None, counter: int = 1) -> Any:
    return Matcher.of(matchers, "on()").match(asked or question(), counter)


TALK = question(
    ask(
        messages=[
            {"role": "system", "content": "你是助手"},
            {"role": "user", "content": "杭州天气"},
            {"role": "assistant", "content": "晴"},
            {"role": "user", "content": "北京呢"},
        ],
        model="ernie-4.0-8k",
        temperature=0.5,
        stream=True,
        tools=[WEATHER],
        metadata={"team": {"name": "shop", "size": 3}},
        headers={"X-Team": "shop-7", "Authorization": "Bearer bce-v3/ALTAK-secret/0123"},
    ),
    state="up",
)


@pytest.mark.parametrize(
    "matchers",
    [
        {},
        {"dialect": "v2"},
        {"operation": "chat"},
        {"model": "ERNIE-4.0-8K"},
        {"model": "ernie-4.0-8k"},
        {"endpoint": "/v2/chat/completions"},
        {"contains": "北京"},
        {"contains": ["北", "京呢"]},
        {"contains": "天气", "role": "user"},
        {"contains": "天气", "position": 1},
        {"contains": "助手", "role": "system", "position": 0},
        {"regex": r"^北.呢$"},
        {"regex": "晴", "position": -2},
        {"role": "assistant"},
        {"position": 3},
        {"position": -4, "role": "system"},
        {"header": {"x-team": "shop-7"}},
        {"header": {"X-Team": r"/^shop-\d$/", "X-Other": None}},
        {"json": {"temperature": 0.5}},
        {"json": {"metadata": {"team": {"size": 3}}}},
        {"json": {"messages": [{}, {}, {"content": "晴"}, {}]}},
        {"stream": True},
        {"tools": True},
        {"tools": "get_weather"},
        {"attempt": 1},
        {"call": 1},
        {"call": [1, 3]},
        {"state": "up"},
        pytest.param({"where": lambda asked: asked.text == "北京呢"}, id="where"),
    ],
    ids=str,
)
def test_it_fits(matchers):
    found = match(matchers, TALK)
    assert found.mismatches == ()
    assert found.ok
    assert found.distance == 0
    assert Matcher.of(matchers, "on()").fits(TALK)


@pytest.mark.parametrize(
    ("matchers", "line"),
    [
        (
            {"model": "ernie-4.5-8k"},
            """model: wanted 'ernie-4.5-8k', got 'ernie-4.0-8k' (first difference at "ernie-4.|0|-8k")""",
        ),
        ({"dialect": "v1"}, """dialect: wanted 'v1', got 'v2' (first difference at "v|2|")"""),
        ({"contains": "上海"}, "contains: wanted '上海', got '北京呢'"),
        ({"contains": "北京了"}, """contains: wanted '北京了', got '北京呢' (first difference at "北京|呢|")"""),
        ({"contains": "x", "role": "tool"}, "contains: wanted 'x', got none"),
        ({"regex": "^京"}, "regex: wanted '^京', got '北京呢'"),
        ({"role": "tool"}, "role: wanted 'tool', got ['system', 'user', 'assistant', 'user']"),
        ({"role": "user", "position": 0}, "role at 0: wanted 'user', got 'system'"),
        ({"position": 4}, "position: wanted 4, got '4 messages'"),
        (
            {"header": {"X-Team": "shop-8"}},
            """header X-Team: wanted 'shop-8', got 'shop-7' (first difference at "shop-|7|")""",
        ),
        ({"header": {"X-Team": None}}, "header X-Team: wanted 'no such header', got 'shop-7'"),
        ({"header": {"X-None": "a"}}, "header X-None: wanted 'a', got none"),
        ({"json": {"temperature": 0.7}}, "json.temperature: wanted 0.7, got 0.5"),
        ({"json": {"metadata": {"team": {"size": 4}}}}, "json.metadata.team.size: wanted 4, got 3"),
        ({"json": {"messages": [{}]}}, "json.messages length: wanted 1, got 4"),
        (
            {"json": {"messages": [{}, {}, {"role": "user"}, {}]}},
            "json.messages[2].role: wanted 'user', got 'assistant'",
        ),
        ({"json": {"stream": 1}}, "json.stream: wanted 1, got True"),
        ({"json": {"nothing": 1}}, "json.nothing: wanted 1, got none"),
        ({"stream": False}, "stream: wanted False, got True"),
        ({"tools": False}, "tools: wanted False, got ['get_weather']"),
        ({"tools": "get_time"}, "tools: wanted 'get_time', got ['get_weather']"),
        ({"attempt": 2}, "attempt: wanted 2, got 1"),
        ({"call": [2, 3]}, "call: wanted [2, 3], got 1"),
        ({"state": "down"}, "state: wanted 'down', got 'up'"),
    ],
    ids=str,
)
def test_what_it_misses_is_one_line(matchers, line):
    found = match(matchers, TALK)
    assert len(found.mismatches) == 1
    assert found.mismatches[0].line().startswith(line)
    assert "\n" not in found.mismatches[0].line()
    assert 0 < found.distance <= 1


def test_a_secret_header_is_never_told():
    wanted = "Bearer bce-v3/ALTAK-secret/9999"
    matcher = Matcher.of({"header": {"authorization": wanted}}, "on()")
    told = matcher.match(TALK).mismatches[0].line() + matcher.written + str(matcher.to_data())
    assert "0123" not in told
    assert "9999" not in told
    assert "first difference" not in told


def test_v1_is_known_by_its_endpoint_and_its_model_by_the_endpoint():
    asked = question(ask(path=V1, system="你是助手", functions=[{"name": "f", "description": "d", "parameters": {}}]))
    for matchers in (
        {"endpoint": "/chat/completions_pro"},
        {"endpoint": "chat/completions_pro"},
        {"model": asked.known_model.name},
        *({"model": alias} for alias in asked.known_model.aliases),
        {"contains": "助手", "role": "system"},
        {"tools": "f"},
    ):
        assert match(matchers, asked).ok, matchers
    assert not match({"contains": "助手"}, asked).ok


def test_a_model_of_another_row_does_not_fit():
    assert not match({"model": "ernie-4.0-8k"}).ok
    assert match({"model": "my-own"}, question(ask(model="My-Own"))).ok


def test_embeddings_and_rerank_have_a_text():
    vectors = question(ask(path="/v2/embeddings", input=["春天", "秋天"], model="embedding-v1"))
    assert vectors.texts == ("春天", "秋天")
    assert match({"contains": "秋"}, vectors).ok
    ranked = question(ask(path="/v2/rerank", query="哪里", documents=["a"], model="bce-reranker-base"))
    assert ranked.text == "哪里"


@pytest.mark.parametrize(("count", "attempt"), [("0", 1), ("3", 4), ("x", 7), ("", 7), ("٣", 7)])
def test_the_attempt_is_what_the_client_says_or_is_counted(count, attempt):
    asked = question(ask(headers={"X-Stainless-Retry-Count": count}), attempts=lambda: 7)
    assert asked.attempt == attempt


def test_random_is_the_same_for_the_same_and_another_for_another():
    assert question(seed=1).random.random() == question(seed=1).random.random()
    assert question(seed=1).random.random() != question(seed=2).random.random()
    assert question(ask("a")).random.random() != question(ask("b")).random.random()


# Predicates


def test_a_predicate_is_asked_last_and_once_a_question():
    asked = []
    matcher = Matcher.of({"where": asked.append, "model": "ernie-4.0-8k"}, "on()")
    assert not matcher.fits(question())
    assert asked == []
    it = question(ask(model="ernie-4.0-8k"))
    assert not matcher.fits(it)
    assert not matcher.match(it).ok
    assert asked == [it]


def test_a_predicate_that_raises_says_where():
    def broken(asked):
        return asked.json["no such member"]

    with pytest.raises(CallableFailed, match=r"broken raised KeyError: 'no such member' \(at test_matching\.py:\d+\)"):
        match({"where": broken})


def test_what_has_no_truth_is_no_answer_of_a_predicate():
    class Vague:
        def __bool__(self) -> bool:
            raise ValueError("ambiguous")

    with pytest.raises(CallableFailed, match=r"test_matching\.py:\d+\); it is to return True or False"):
        match({"where": lambda asked: Vague()})


# Mistakes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dialect", "v3"),
        ("model", ""),
        ("model", 4),
        ("contains", []),
        ("contains", [""]),
        ("regex", "("),
        ("position", "last"),
        ("position", True),
        ("header", {}),
        ("header", {"X": 1}),
        ("header", {"X": "/(/"}),
        ("json", {}),
        ("json", {1: 2}),
        ("stream", "yes"),
        ("tools", 1),
        ("tools", ""),
        ("call", 0),
        ("call", []),
        ("call", True),
        ("attempt", -1),
        ("state", ""),
        ("where", "text"),
    ],
)
def test_a_value_that_is_none_is_refused_where_it_is_written(name, value):
    with pytest.raises(OptionError, match=rf"^{name} is .*; got") as caught:
        Matcher.of({name: value}, "on()")
    assert caught.value.option == name


def test_an_async_predicate_is_refused():
    async def later(asked):
        return True

    with pytest.raises(OptionError, match="not async"):
        Matcher.of({"where": later}, "on()")


def test_a_name_that_is_none_teaches_the_nearest():
    with pytest.raises(UnknownOption, match="did you mean 'contains'"):
        Matcher.of({"contain": "x"}, "on()")


def test_the_keywords_for_editors_are_those_of_the_matcher():
    assert list(Matchers.__annotations__) == [each.name for each in dataclasses.fields(Matcher)]
    assert get_type_hints(Matchers).keys() == Matchers.__annotations__.keys()


# Properties

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)


@st.composite
def facts(draw: st.DrawFn) -> dict[str, Any]:
    """A request, said as what a matcher can want of it."""
    dialect = draw(st.sampled_from(["v1", "v2"]))
    return {
        "dialect": dialect,
        "contains": draw(TEXTS),
        "stream": draw(st.booleans()),
        "header": {"X-Team": draw(st.text("abc", min_size=1, max_size=9))},
        "json": {"temperature": draw(st.sampled_from([0.1, 0.5, 0.9]))},
        "state": draw(st.sampled_from(["start", "up"])),
        "attempt": draw(st.integers(1, 5)),
        "call": draw(st.integers(1, 5)),
    }


def asked_with(fact: dict[str, Any]) -> Any:
    request = ask(
        fact["contains"], path=PATHS[fact["dialect"]], headers=fact["header"], stream=fact["stream"], **fact["json"]
    )
    return question(request, state=fact["state"], attempts=lambda: fact["attempt"])


@given(facts(), st.data())
def test_a_matcher_made_from_a_request_fits_it_and_no_other(fact, data):
    names = data.draw(st.lists(st.sampled_from(sorted(fact)), unique=True))
    assert match({name: fact[name] for name in names}, asked_with(fact), fact["call"]).distance == 0
    other = data.draw(facts())
    found = match(fact, asked_with(other), other["call"])
    rest = {name for name in fact if name not in {"contains", "call"} and fact[name] != other[name]}
    if fact["contains"] not in other["contains"]:
        rest.add("contains")
    if not rest and fact["call"] != other["call"]:
        rest.add("call")
    assert {re.split("[. ]", each.field)[0] for each in found.mismatches} == rest
    assert found.ok is not bool(rest)


@given(facts(), facts(), st.data())
def test_the_more_is_missed_the_further_it_is(fact, other, data):
    names = [name for name in fact if name != "call"]
    some = data.draw(st.sets(st.sampled_from(names)))
    more = some | data.draw(st.sets(st.sampled_from(names)))
    assume(all(other[name] != fact[name] for name in more))
    wanted = {name: fact[name] for name in names}
    near = match(wanted, asked_with(fact | {name: other[name] for name in some}))
    far = match(wanted, asked_with(fact | {name: other[name] for name in more}))
    assert 0 <= near.distance <= far.distance <= 1


@given(TEXTS, st.integers(0, 19), TEXTS)
def test_a_text_that_differs_more_is_further_off(text, kept, noise):
    same, part = Mismatch("model", text, text, "letters"), Mismatch("model", text, text[:kept] + noise, "letters")
    assert 0 < same.distance <= part.distance <= 1
    assert "\n" not in part.line()
