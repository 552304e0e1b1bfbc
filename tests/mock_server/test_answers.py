"""Kinds of answers: who says them, what they have beside their text, in every dialect, whole and streamed."""

from __future__ import annotations

import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import get_type_hints

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server import MockServer, Settings, State
from mock_server.answers.beside import AnswerOptions, Beside
from mock_server.answers.keywords import AnswerKeywords
from mock_server.answers.refusals import REFUSALS
from mock_server.answers.schema import Maker, Unmet
from mock_server.core import handle
from mock_server.faults.options import OptionError, UnknownOption, rows
from mock_server.generate import embedding
from mock_server.handle import AccountHandle
from qfkit import Client
from qfkit.client import RetryPolicy
from qfkit.protocol.http import HttpRequest

DOCS = Path(__file__).resolve().parents[2] / "docs"
V2 = "/v2/chat/completions"
WEATHER = {
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "minLength": 3}, "days": {"type": "integer", "minimum": 2}},
        "required": ["city"],
    },
}


class Mock:
    """An account, and its requests without a socket."""

    def __init__(self, **settings):
        self.state = State(Settings(quota="none", **settings))
        self.account = AccountHandle(self.state.add_account(), self.state, "http://127.0.0.1:1")

    def ask(self, text="天气", dialect="v2", **more):
        body = {"messages": [{"role": "user", "content": text}], **more}
        if dialect == "v2":
            headers = (("Authorization", f"Bearer {self.account.credentials.bearer_token}"),)
            target = V2
            body["model"] = "ernie-4.0-8k"
        else:
            headers = ()
            token = self.state.issue_access_token(self.state.default_account).value
            target = f"/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions?access_token={token}"
        reply = handle(HttpRequest("POST", target, headers, json.dumps(body).encode(), "http"), self.state)
        if not more.get("stream"):
            return json.loads(reply.content)
        lines = [line for line in reply.content.decode().split("\n") if line.startswith("data: {")]
        return [json.loads(line[6:]) for line in lines]

    def said(self, text="天气", **more):
        return self.ask(text, **more)["choices"][0]["message"]["content"]

    @property
    def last(self):
        return self.account.requests[-1]


@pytest.fixture
def mock():
    return Mock()


@pytest.fixture
def account(mock):
    return mock.account


# Who says it


def test_echo_says_what_was_asked_last(mock, account):
    account.echo("你问的是: ").then.echo()
    assert [mock.said("晴吗"), mock.said("雨吗")] == ["你问的是: 晴吗", "雨吗"]


def test_a_sequence_gives_each_its_text_and_then_ends_or_begins_again(mock, account):
    account.sequence(["一", "二"]).then.reply("完")
    assert [mock.said() for _ in range(3)] == ["一", "二", "完"]
    account.sequence(["一", "二"], cycle=True)
    assert [mock.said() for _ in range(5)] == ["一", "二", "一", "二", "一"]


def test_the_last_of_a_sequence_stays_for_those_who_come_later(mock, account):
    account.sequence(["一", "二"], times="forever")
    assert [mock.said() for _ in range(4)] == ["一", "二", "二", "二"]


def test_each_text_of_a_sequence_is_given_once_whoever_asks(mock, account):
    texts = [str(number) for number in range(64)]
    account.sequence(texts)
    together = threading.Barrier(16)

    def work(_):
        together.wait(20)
        return [mock.said() for _ in range(4)]

    with ThreadPoolExecutor(16) as pool:
        said = [text for each in pool.map(work, range(16)) for text in each]
    assert sorted(said, key=int) == texts


def test_a_template_sees_the_question_and_counts(mock, account):
    account.template("{{ number }}/{{ turn }} {{ q.messages | length }} {{ text | upper }} {{ model }}", times=2)
    assert mock.said("a") == "1/1 1 A ernie-4.0-8k"
    assert mock.said("b") == "2/2 1 B ernie-4.0-8k"


def test_a_template_is_the_same_for_the_same_seed_and_question():
    def run(seed):
        mock = Mock(seed=seed)
        mock.account.template("{{ random.randint(1, 1000000000) }}")
        return mock.said()

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.parametrize(
    "source",
    [
        "{{ q.__class__.__mro__ }}",
        "{{ q._request.headers }}",
        "{{ ''.__class__.__subclasses__() }}",
        "{{ q.headers.__class__ }}",
        "{{ 'a' * 10000000 }}",
        "{{ 10 ** 100000000 }}",
        "{{ range(100000) | list }}",
        "{% for a in range(1000) %}{% for b in range(1000) %}{{ 'xxxxxxxxxx' }}{% endfor %}{% endfor %}",
        "{{ q.json.clear() }}",
        "{{ 'x'.center(200000000) }}",
        "{{ '%200000000d' % 1 }}",
        "{{ '{:>200000000}'.format(1) }}",
        "{{ nothing }}",
        "{{ 1 / 0 }}",
        "{{ q.messages[7].content }}",
    ],
)
def test_a_template_can_do_no_harm_and_says_what_it_did_wrong(mock, account, source):
    account.template(source)
    assert mock.ask()["error"]["code"] == "internal_error"
    assert mock.last.diagnosis.startswith("template")
    assert "It may use q, turn, text" in mock.last.diagnosis


@pytest.mark.parametrize("source", ["{{ 'x' | center(9) }}", "{{ [1] | random }}"])
def test_filters_that_pad_or_follow_no_seed_are_not_there(account, source):
    with pytest.raises(OptionError, match="No filter named"):
        account.template(source)


def test_what_is_no_template_is_told_where_it_is_written(account):
    with pytest.raises(OptionError, match=r"template, line 2: .*\(in '\{\{ oops'\)"):
        account.template("good\n{{ oops\n")


def test_a_function_may_return_text_pieces_or_options(mock, account):
    account.reply(lambda q: f"{q.text}!").then.reply(lambda q: ["你", "好"]).then.reply(lambda q: (c for c in "abc"))
    account.reply(lambda q: {"text": "够了", "finish_reason": "length", "usage": {"prompt_tokens": 9}})
    assert mock.said() == "天气!"
    chunks = mock.ask(stream=True)
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["你", "好", ""]
    assert mock.said() == "abc"
    answer = mock.ask()
    assert (answer["choices"][0]["finish_reason"], answer["usage"]["prompt_tokens"]) == ("length", 9)


@pytest.mark.parametrize("wrong", [7, None, [1], {"text": 3}, {1: "x"}, [], {"texts": "x"}, {"flag": 9}])
def test_a_function_that_returns_nonsense_is_told_so(mock, account, wrong):
    account.reply(lambda q: wrong)
    assert mock.ask()["error"]["code"] == "internal_error"
    assert "<lambda>" in mock.last.diagnosis
    assert "test_answers.py" in mock.last.diagnosis


def test_a_function_that_raises_is_named_with_its_line(mock, account):
    def broken(q):
        return q.json["no such"]

    account.reply(broken)
    assert mock.ask()["error"]["code"] == "internal_error"
    assert "broken" in mock.last.diagnosis
    assert "KeyError: 'no such'" in mock.last.diagnosis
    assert 'return q.json["no such"]' in mock.last.diagnosis


@pytest.mark.parametrize("wrong", [lambda: "x", lambda a, b: "x"])
def test_a_function_that_cannot_be_called_is_refused_at_once(account, wrong):
    with pytest.raises(TypeError, match="has to take one argument"):
        account.reply(wrong)
    with pytest.raises(TypeError, match="reply\\(\\) takes a text, a function"):
        account.reply(7)


def test_a_slow_function_holds_up_nobody():
    gate = threading.Event()
    with MockServer() as server:
        slow, fast = server.account(), server.account()
        slow.reply(lambda q: "late" if gate.wait(20) else "never")
        with ThreadPoolExecutor(1) as pool, Client(server.url, slow.credentials, "v2") as client:
            waiting = pool.submit(client.chat, "?")
            with Client(server.url, fast.credentials, "v2") as other:
                assert other.chat("?").text
            assert not waiting.done()
            gate.set()
            assert waiting.result(20).text == "late"


def test_files(mock, account, tmp_path):
    (tmp_path / "one.txt").write_text("一首诗\n", "utf-8")
    (tmp_path / "lines.txt").write_text("甲\n\n乙\n", "utf-8")
    account.file(tmp_path / "one.txt").then.corpus(tmp_path / "lines.txt", times=3)
    assert [mock.said() for _ in range(4)] == ["一首诗\n", "甲", "乙", "甲"]


def test_a_corpus_with_prompts_answers_the_nearest(mock, account, tmp_path):
    pairs = [("北京天气怎么样", "晴"), ("上海股市", "涨"), ("how are you", "fine")]
    path = tmp_path / "qa.jsonl"
    path.write_text("".join(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in pairs), "utf-8")
    account.corpus(path)
    assert [mock.said(text) for text in ("今天北京的天气", "股市", "Are you well?")] == ["晴", "涨", "fine"]
    mock.said("###")
    assert "no prompt of" in mock.last.findings[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "there is no answer in this file"),
        ('{"prompt": "a"}\n', "1: not"),
        ('{"prompt": "a", "answer": "b"}\n{oops\n', "2: not JSON"),
    ],
)
def test_a_corpus_that_is_none_is_told_with_its_line(account, tmp_path, content, says):
    path = tmp_path / "qa.txt"
    path.write_text(content, "utf-8")
    with pytest.raises(OptionError, match=says):
        account.corpus(path)
    with pytest.raises(OptionError, match="cannot be read from"):
        account.file(tmp_path / "missing")


# Tools


def test_a_declared_tool_is_called_with_arguments_that_fit(mock, account):
    account.call_tool()
    answer = mock.ask(tools=[{"type": "function", "function": WEATHER}])
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], answer["choices"][0]["finish_reason"]) == ("get_weather", "tool_calls")
    jsonschema.validate(json.loads(call["function"]["arguments"]), WEATHER["parameters"])


def test_v1_calls_a_function(mock, account):
    account.call_tool("get_weather", {"city": "北京"})
    answer = mock.ask(dialect="v1", functions=[{**WEATHER, "description": "天气"}])
    assert answer["function_call"]["name"] == "get_weather"
    assert json.loads(answer["function_call"]["arguments"]) == {"city": "北京"}
    assert (answer["result"], answer["finish_reason"]) == ("", "function_call")


def test_the_tool_that_is_chosen_is_called_and_a_missing_one_is_told(mock, account):
    tools = [{"type": "function", "function": each} for each in ({"name": "first"}, WEATHER)]
    account.call_tool(times=2).then.call_tool("get_wether")
    choice = {"type": "function", "function": {"name": "get_weather"}}
    named = mock.ask(tools=tools, tool_choice=choice)["choices"][0]["message"]["tool_calls"][0]
    assert named["function"]["name"] == "get_weather"
    first = mock.ask(tools=tools)["choices"][0]["message"]["tool_calls"][0]
    assert first["function"] == {"name": "first", "arguments": "{}"}
    assert mock.ask(tools=tools)["error"]["code"] == "internal_error"
    assert "did you mean 'get_weather'?" in mock.last.diagnosis


def test_a_request_without_tools_is_answered_in_words(mock, account):
    account.call_tool()
    assert mock.said()
    assert "declares no tool" in mock.last.findings[0]


SCALARS = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({}),
    st.builds(
        lambda low, wide: {"type": "integer", "minimum": low, "maximum": low + wide},
        st.integers(-99, 99),
        st.integers(0, 50),
    ),
    st.builds(lambda low: {"type": "integer", "exclusiveMinimum": low, "multipleOf": 3}, st.integers(-99, 99)),
    st.builds(lambda high: {"type": "number", "exclusiveMaximum": high}, st.floats(-1e6, 1e6)),
    st.builds(
        lambda low, high: {"type": "string", "minLength": low, "maxLength": low + high},
        st.integers(0, 30),
        st.integers(0, 9),
    ),
    st.sampled_from(["date", "date-time", "email", "ipv4", "ipv6", "uuid", "uri", "hostname"]).map(
        lambda name: {"type": "string", "format": name}
    ),
    st.lists(st.one_of(st.text(max_size=5), st.integers()), min_size=1, max_size=4).map(
        lambda values: {"enum": values}
    ),
    st.integers().map(lambda value: {"const": value}),
    st.just({"$ref": "#/$defs/point"}),
    st.just({"type": ["null", "string"]}),
)
NAMES = st.sampled_from(["city", "days", "名称", "unit"])


def _containers(inner):
    objects = st.builds(
        lambda properties, optional: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name not in optional],
        },
        st.dictionaries(NAMES, inner, max_size=3),
        st.sets(NAMES),
    )
    arrays = st.builds(
        lambda items, least: {"type": "array", "items": items, "minItems": least, "maxItems": least + 2},
        inner,
        st.integers(0, 3),
    )
    either = st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
    return st.one_of(objects, arrays, either)


@given(schema=st.recursive(SCALARS, _containers, max_leaves=8), seed=st.integers())
def test_made_up_values_fit_their_schema(schema, seed):
    root = {
        "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
        "type": "object",
        "properties": {"it": schema},
        "required": ["it"],
    }
    value = Maker(root, Random(seed)).make(root)
    jsonschema.validate(json.loads(json.dumps(value)), root, format_checker=jsonschema.FormatChecker())


def test_a_schema_that_contains_itself_comes_to_an_end():
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}, "name": {"type": "string"}}, "required": ["name"]}
    jsonschema.validate(Maker(tree, Random(1)).make(tree), tree)
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    with pytest.raises(Unmet, match="without end"):
        Maker(endless, Random(1)).make(endless)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 4}, "no number is within its bounds"),
        ({"enum": []}, "empty enum"),
        ({"type": "colour"}, "no type 'colour'"),
        ({"$ref": "#/nowhere"}, "points nowhere"),
        ({"$ref": "https://example.com/x"}, "points outside"),
        (False, "is no schema"),
    ],
)
def test_what_cannot_be_made_up_is_said(schema, says):
    with pytest.raises(Unmet, match=says):
        Maker({}, Random(1)).make(schema)


def test_keywords_that_are_passed_over_are_noted(mock, account):
    account.call_tool()
    schema = {"type": "object", "properties": {"zip": {"type": "string", "pattern": "^[0-9]{6}$"}}, "required": ["zip"]}
    mock.ask(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])
    assert "has 'pattern'" in mock.last.findings[0]


# Beside the text


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_look_alike_whole_and_streamed(mock, account, kind, stream):
    account.refuse(kind).then.refuse(kind)
    wanted = REFUSALS[kind].options
    v2 = mock.ask(stream=stream)
    choice = (v2[-1] if stream else v2)["choices"][0]
    assert choice["finish_reason"] == wanted.get("finish_reason", "stop")
    assert choice["flag"] == wanted.get("flag", 0)
    assert choice.get("ban_round") == wanted.get("ban_round")
    v1 = mock.ask(dialect="v1", stream=stream)
    v1 = v1[-1] if stream else v1
    assert v1["need_clear_history"] is wanted.get("need_clear_history", False)
    assert v1.get("flag") == wanted.get("flag")
    assert v1.get("ban_round") == wanted.get("ban_round")
    if stream:
        first = mock.account.requests[-1].response.text.partition("\n")[0]
        assert "ban_round" not in first


def test_what_a_search_found(mock, account):
    found = ["https://a.example", {"url": "https://b.example", "title": "乙"}]
    wanted = [
        {"index": 1, "title": "", "url": "https://a.example"},
        {"index": 2, "title": "乙", "url": "https://b.example"},
    ]
    account.reply("x", search_results=found, times=4)
    assert mock.ask()["search_results"] == wanted
    assert mock.ask(stream=True)[-1]["search_results"] == wanted
    assert mock.ask(dialect="v1")["search_info"] == {"search_results": wanted}
    assert mock.ask(dialect="v1", stream=True)[-1]["search_info"] == {"search_results": wanted}


def test_truncation_and_given_usage(mock, account):
    account.reply("半", truncated=True, usage={"completion_tokens": 4096}, times=2)
    v1 = mock.ask(dialect="v1")
    assert (v1["is_truncated"], v1["finish_reason"], v1["usage"]["completion_tokens"]) == (True, "length", 4096)
    assert v1["usage"]["total_tokens"] == v1["usage"]["prompt_tokens"] + 4096
    v2 = mock.ask()
    assert (v2["choices"][0]["finish_reason"], v2["usage"]["completion_tokens"]) == ("length", 4096)


def test_usage_that_is_given_grows_in_a_v1_stream(mock, account):
    account.stream(["一", "二"], usage={"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 20})
    usages = [event["usage"] for event in mock.ask(dialect="v1", stream=True)]
    assert [usage["completion_tokens"] for usage in usages] == [4, 8, 8]
    assert usages[0]["total_tokens"] == 9
    assert usages[-1]["total_tokens"] == 20


@pytest.mark.parametrize(
    ("scores", "ranked"),
    [
        ([0.1, 0.9], [(0.9, "猫"), (0.1, "猫的家")]),
        ([0.1], [(1.0, "猫"), (0.1, "猫的家")]),
        ([], [(1.0, "猫的家"), (1.0, "猫")]),
    ],
)
def test_scripted_scores(account, scores, ranked):
    with MockServer() as server:
        mine = server.account()
        mine.reply(scores=scores)
        with Client(server.url, mine.credentials, "v2") as client:
            results = client.rerank("猫", ["猫的家", "猫"]).results
        assert [(it.score, it.document) for it in results] == ranked
        assert mine.requests[0].answered_by == (f"{len(scores)} scores" if scores else "default")


@pytest.mark.parametrize(
    "options",
    [
        {"vectors": [[1.0, math.nan]]},
        {"vectors": [[]]},
        {"vectors": [1.0]},
        {"vectors": [["1"]]},
        {"scores": [math.inf]},
        {"scores": 1.0},
    ],
)
def test_vectors_and_scores_are_finite_numbers(account, options):
    with pytest.raises(OptionError, match="finite numbers"):
        account.reply(**options)


def test_delivery_options_go_with_every_kind(mock, account, tmp_path):
    (tmp_path / "a.txt").write_text("一二三四", "utf-8")
    account.echo(chunk=1, cut_after=2).then.template("一二三", chunk="character").then.file(tmp_path / "a.txt", chunk=2)
    account.sequence(["一二三四"], chunk=2).then.reply(lambda q: "一二三", chunk=1)
    counts = [len(mock.ask("一二三", stream=True)) for _ in range(5)]
    assert counts == [2, 4, 3, 3, 4]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"flg": 1}, UnknownOption, "an answer has no option 'flg'; did you mean 'flag'"),
        ({"flag": 5}, OptionError, "flag is"),
        ({"usage": {"prompt_tokens": -1}}, OptionError, "usage is numbers of tokens"),
        ({"search_results": "https://a"}, OptionError, "search_results is a list"),
        ({"tool_calls": [{}]}, OptionError, "a tool call is"),
        ({"ban_round": "x"}, OptionError, "ban_round is"),
    ],
)
def test_wrong_options_are_told_where_they_are_written(account, options, error, says):
    with pytest.raises(error, match=says):
        account.reply("x", **options)
    with pytest.raises(OptionError, match="did you mean 'low-risk'"):
        account.refuse("low_risk")


def test_steps_as_data_are_the_same_steps(tmp_path):
    (tmp_path / "a.txt").write_text("甲\n乙\n", "utf-8")
    python, data = Mock(), Mock()
    python.account.template("{{ text }}").echo("> ").sequence(["一", "二"]).file(tmp_path / "a.txt").refuse("low-risk")
    python.account.call_tool("f", {"a": 1}).corpus(tmp_path / "a.txt", times=1)
    data.account.play(
        [
            {"template": "{{ text }}"},
            {"echo": "> "},
            {"sequence": ["一", "二"]},
            {"file": str(tmp_path / "a.txt")},
            {"refuse": "low-risk"},
            {"call_tool": "f", "arguments": {"a": 1}},
            {"corpus": str(tmp_path / "a.txt"), "times": 1},
        ]
    )
    assert data.account.waiting == python.account.waiting
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert [data.said(tools=tools) for _ in range(8)] == [python.said(tools=tools) for _ in range(8)]


def test_keywords_and_options_are_alike():
    assert set(get_type_hints(AnswerKeywords)) == {each.name for each in fields(AnswerOptions)}


def test_every_option_and_refusal_is_documented():
    page = (DOCS / "answers.md").read_text("utf-8")
    for name, says, default, what in rows(Beside):
        assert f"| `{name}` | {says} | `{default}` | {what} |\n" in page
    for kind, refusal in REFUSALS.items():
        assert f"| `{kind}` | {refusal.meaning} |" in page


# Embeddings and ranks


@given(st.text(max_size=60))
def test_embeddings_are_of_unit_length_and_the_same_again(text):
    vector = embedding(text, 384)
    assert vector == embedding(text, 384)
    assert math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-6)


def test_near_texts_have_near_embeddings():
    def cosine(one, other):
        return sum(a * b for a, b in zip(embedding(one, 384), embedding(other, 384), strict=True))

    near = cosine("北京今天的天气怎么样", "北京明天的天气怎么样")
    far = cosine("北京今天的天气怎么样", "quarterly revenue of the company")
    assert near > 0.6
    assert abs(far) < 0.3


def test_retries_of_an_answer_by_function_are_counted():
    with MockServer() as server:
        account = server.account()
        account.fail(429).then.reply(lambda q: f"attempt {q.attempt}, request {q.number}")
        retry = RetryPolicy(base=0.0)
        with Client(server.url, account.credentials, "v2", retry=retry) as client:
            assert client.chat("?").text == "attempt 2, request 2"
