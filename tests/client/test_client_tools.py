"""Tools: functions as a model sees them, and a loop that carries out its calls and ends."""

from __future__ import annotations

import enum
import json
import pickle
import threading
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, TypedDict

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionToolParam
from pydantic import TypeAdapter
from scripted_server import PATIENCE, V1_OK, V2_OK, answer, stream, v1_event, v2_event

from mock_server import MockServer
from qfkit.client import Client, ConfigurationError, Tool, ToolError, ToolLoopExceeded, ToolStep


class Unit(enum.Enum):
    CELSIUS = "c"
    KELVIN = "k"


@dataclass
class Place:
    city: str
    height: float = 0.0


class Span(TypedDict, total=False):
    days: int


def get_weather(city: str, unit: Literal["c", "f"] = "c") -> str:
    """The weather
    in a city, now.

    More that a model needs not know.

    Args:
        city: its name,
            in Chinese.
        unit (str): of the temperature

    Returns:
        city: not an argument
    """
    return f"{city}: 22{unit}"


def everything(
    *,
    text: str,
    number: int,
    real: float,
    yes: bool,
    which: Literal["a", "b"],
    many: list[int],
    table: dict[str, float],
    place: Place,
    span: Span,
    unit: Unit,
    maybe: Optional[str] = None,  # noqa: UP045 - as many write it
    bounded: Annotated[int, msgspec.Meta(ge=1, le=9)] = 3,
    some: list[str] = ["x"],  # noqa: B006 - as many write it
) -> dict[str, Any]:
    """All of it.

    :param text: some text
    :param int number: some number
    """
    return dict(locals())


def wants(*calls):
    """A v2 answer that asks for calls: (name, arguments)."""
    listed = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": text}}
        for n, (name, text) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": "", "tool_calls": listed}
    return answer({**V2_OK, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls", "flag": 0}]})


def wants_v1(name, text):
    call = {"name": name, "thoughts": "想", "arguments": text}
    return answer({**V1_OK, "result": "", "function_call": call, "finish_reason": "function_call"})


def results(request):
    return [json.loads(m["content"]) for m in request.json["messages"] if m["role"] in ("tool", "function")]


# Schemas


def test_name_description_and_notes_come_from_the_function():
    tool = Tool.of(get_weather)
    assert (tool.name, tool.description) == ("get_weather", "The weather in a city, now.")
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "its name, in Chinese."},
            "unit": {"enum": ["c", "f"], "default": "c", "description": "of the temperature"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    notes = Tool.of(everything).parameters["properties"]
    assert (notes["text"]["description"], notes["number"]["description"]) == ("some text", "some number")


def test_schemas_are_valid_whole_and_known_to_openai():
    for function in (get_weather, everything):
        tool = Tool.of(function)
        jsonschema.Draft202012Validator.check_schema(tool.parameters)
        assert "$ref" not in json.dumps(tool.parameters)
        described = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        TypeAdapter(ChatCompletionToolParam).validate_python({"type": "function", "function": described})


good = st.fixed_dictionaries(
    {
        "text": st.text(),
        "number": st.integers(-1000, 1000),
        "real": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
        "yes": st.booleans(),
        "which": st.sampled_from(["a", "b"]),
        "many": st.lists(st.integers(-9, 9), max_size=3),
        "table": st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
        "place": st.fixed_dictionaries({"city": st.text()}, optional={"height": st.integers(0, 9)}),
        "span": st.fixed_dictionaries({}, optional={"days": st.integers(0, 9)}),
        "unit": st.sampled_from(["c", "k"]),
    },
    optional={"maybe": st.none() | st.text(), "bounded": st.integers(1, 9), "some": st.lists(st.text(), max_size=2)},
)
junk = st.none() | st.booleans() | st.integers(-3, 12) | st.text(max_size=2) | st.lists(st.integers(), max_size=2)


@given(
    arguments=good, name=st.sampled_from(["number", "yes", "which", "many", "place", "bounded", "extra"]), value=junk
)
def test_what_the_schema_allows_is_called_and_what_it_forbids_is_not(arguments, name, value):
    tool = Tool.of(everything)
    validator = jsonschema.Draft202012Validator(tool.parameters)
    validator.validate(arguments)
    assert tool.call(arguments)["text"] == arguments["text"]
    changed = {**arguments, name: value}
    if validator.is_valid(changed):
        tool.call(changed)
    else:
        with pytest.raises(msgspec.ValidationError):
            tool.call(changed)


def test_arguments_arrive_as_what_they_are_annotated_as():
    arguments = {
        "text": "t", "number": 1, "real": 2, "yes": True, "which": "a", "many": [1], "table": {"x": 1},
        "place": {"city": "北京"}, "span": {"days": 2}, "unit": "k",
    }  # fmt: skip
    got = Tool.of(everything).call(arguments)
    assert (got["place"], got["unit"], got["some"], got["bounded"]) == (Place("北京"), Unit.KELVIN, ["x"], 3)
    got["some"].append("y")
    assert Tool.of(everything).call(arguments)["some"] == ["x"]


class Opaque:
    pass


@dataclass
class Node:
    next: Node | None = None


def no_annotation(x):
    pass


def star(*rest: int):
    pass


def positional(x: int, /):
    pass


async def later(x: int):
    pass


def opaque(x: Opaque):
    pass


def recursive(x: Node):
    pass


def unknown(x: NoSuchType):  # noqa: F821 - that is the point
    pass


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_annotation, r"no_annotation\(x\): annotate it, as in x: str"),
        (star, r"star\(\*rest: 'int'\): a model gives arguments by name"),
        (positional, r"a model gives arguments by name"),
        (later, "later is async"),
        (opaque, "no JSON Schema can be made of the arguments of opaque: .*Opaque.* is not supported"),
        (recursive, "hold Node within Node without end"),
        (unknown, "annotations of unknown cannot be read: name 'NoSuchType' is not defined"),
        (lambda x: x, "a tool's name has 1 to 64 letters, .*; got '<lambda>'"),
        (7, "a tool is a Python function; got int"),
    ],
)
def test_functions_that_cannot_be_tools_say_why(connect, function, words):
    with pytest.raises(ConfigurationError, match=words):
        connect("v2").run_tools("?", [function])


@pytest.mark.parametrize(
    ("tools", "options", "words"),
    [
        ([], {}, "tools is a list of Python functions, at least one"),
        (get_weather, {}, "tools is a list"),
        ([get_weather, get_weather], {}, "two tools are called 'get_weather'"),
        ([get_weather], {"max_rounds": 0}, "max_rounds is a whole number from 1; got 0"),
        ([get_weather], {"max_repeats": True}, "max_repeats is a whole number from 1; got True"),
    ],
)
def test_arguments_that_make_no_loop_are_refused(connect, tools, options, words):
    with pytest.raises(ConfigurationError, match=words):
        connect("v2").run_tools("?", tools, **options)
    with pytest.raises(ConfigurationError, match="text_generation has no tools"):
        connect().run_tools("?", [get_weather])


# The loop


def test_v2_calls_are_carried_out_and_answered_by_id(server, connect):
    server.play(wants(("get_weather", '{"city":"北京"}'), ("get_weather", '{"city":"上海"}')), answer(V2_OK))
    result = connect("v2").run_tools("天气?", [get_weather], temperature=0.5, system="助手")
    assert (str(result), result.rounds, len(result.replies)) == ("你好", 1, 2)
    assert result.steps == (
        ToolStep(round=1, id="call_0", name="get_weather", arguments={"city": "北京"}, result="北京: 22c"),
        ToolStep(round=1, id="call_1", name="get_weather", arguments={"city": "上海"}, result="上海: 22c"),
    )
    first, second = (request.json for request in server.requests)
    assert (
        first["tools"]
        == second["tools"]
        == [
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "description": "The weather in a city, now.",
                    "parameters": Tool.of(get_weather).parameters,
                },
            }
        ]
    )
    assert second["temperature"] == 0.5
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert second["messages"][3] == {"role": "tool", "tool_call_id": "call_0", "content": "北京: 22c"}
    assert [*second["messages"][1:], {"role": "assistant", "content": "你好"}] == list(result.messages)


def test_v1_calls_are_carried_out_and_answered_by_name(server, connect):
    server.play(wants_v1("get_weather", '{"city":"北京"}'), answer(V1_OK))
    result = connect("v1").run_tools("天气?", [get_weather])
    assert result.text == "你好"
    first, second = (request.json for request in server.requests)
    assert [function["name"] for function in first["functions"]] == ["get_weather"]
    assert second["messages"][1] == {
        "role": "assistant",
        "content": "",
        "function_call": {"name": "get_weather", "thoughts": "想", "arguments": '{"city":"北京"}'},
    }
    content = {"role": "function", "name": "get_weather", "content": '{"result":"北京: 22c"}'}
    assert second["messages"][2] == content


def test_a_model_that_is_not_listed_for_functions_is_warned_of(server, connect, caplog):
    server.play(answer(V1_OK))
    connect("v1", model="ernie-lite-8k").run_tools("?", [get_weather])
    assert "v1's ernie-lite-8k is not listed as taking functions" in caplog.text


def broken(x: int = 0) -> None:
    """Fails."""
    raise KeyError("secret\nplan")


def unwritable() -> object:
    """Gives what JSON cannot hold."""
    return object()


def empty() -> str:
    """Says nothing."""
    return ""


FAILURES = [
    ("get_whether", "{}", "there is no tool 'get_whether'. Did you mean get_weather? Tools: get_weather, broken"),
    ("get_weather", "{", "the arguments are not a JSON object"),
    ("get_weather", "[]", "the arguments are not a JSON object"),
    ("get_weather", "{}", "wrong arguments: Object missing required field `city`"),
    ("get_weather", '{"city":1}', "wrong arguments: Expected `str`, got `int` - at `$.city`"),
    ("get_weather", '{"city":"a","x":1}', "wrong arguments: Object contains unknown field `x`"),
    ("broken", "", "KeyError: 'secret\\nplan'"),
    ("unwritable", "{}", "its result cannot be written as JSON"),
]


@pytest.mark.parametrize(("name", "text", "words"), FAILURES)
def test_what_goes_wrong_is_told_to_the_model_or_raised_when_asked(server, connect, name, text, words):
    tools = [get_weather, broken, unwritable]
    server.play(wants((name, text)), answer(V2_OK), wants((name, text)))
    result = connect("v2").run_tools("?", tools)
    assert result.steps[0].error.startswith(words)
    assert results(server.requests[1]) == [{"error": result.steps[0].error}]
    assert "Traceback" not in server.requests[1].json["messages"][-1]["content"]
    with pytest.raises(ToolError, match=r"the tool .* failed") as caught:
        connect("v2").run_tools("?", tools, strict=True)
    assert words in str(caught.value)
    assert caught.value.name == name
    assert isinstance(caught.value.__cause__, KeyError) is (name == "broken")


def test_an_empty_result_is_sent_as_one_that_the_service_takes(server, connect):
    server.play(wants(("empty", "{}")), answer(V2_OK))
    connect("v2").run_tools("?", [empty])
    assert server.requests[1].json["messages"][-1]["content"] == '""'


def test_the_loop_ends_after_so_many_rounds(server, connect):
    server.play(*[wants(("get_weather", f'{{"city":"{n}"}}')) for n in range(9)])
    with pytest.raises(
        ToolLoopExceeded, match=r"after 3 rounds: get_weather 3 times. Allow more with max_rounds="
    ) as caught:
        connect("v2").run_tools("?", [get_weather], max_rounds=3)
    assert (caught.value.rounds, len(caught.value.steps), len(server.requests)) == (3, 3, 4)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.rounds, again.steps) == (3, caught.value.steps)


@pytest.mark.parametrize(("most", "asked"), [(1, 2), (2, 3), (3, 4)])
def test_the_loop_ends_when_the_same_call_comes_again_and_again(server, connect, most, asked):
    server.otherwise = wants(("get_weather", '{"city": "北京", "unit": "c"}'))
    server.play(wants(("get_weather", '{"unit":"c","city":"北京"}')))
    with pytest.raises(ToolLoopExceeded, match=f"used {most} times: it goes round in circles") as caught:
        connect("v2").run_tools("?", [get_weather], max_repeats=most, max_rounds=50)
    assert (len(server.requests), len(caught.value.steps)) == (asked, most)


def test_calls_of_one_answer_run_together_when_asked_and_keep_their_order(server, connect):
    meet = threading.Barrier(2, timeout=PATIENCE)

    def wait(name: str) -> str:
        """Waits for the other."""
        meet.wait()
        return name

    server.play(wants(("wait", '{"name":"a"}'), ("wait", '{"name":"b"}')), answer(V2_OK))
    result = connect("v2").run_tools("?", [wait], parallel=True)
    assert [step.result for step in result.steps] == ["a", "b"]


def test_text_is_given_as_it_is_written_and_streamed_calls_are_put_together(server, connect):
    def piece(**function):
        return {"tool_calls": [{"index": 0, "function": function}]}

    first = {"tool_calls": [{"index": 0, "id": "c7", "type": "function", "function": {"name": "get_weather"}}]}
    server.play(
        stream(
            v2_event(first),
            v2_event(piece(arguments='{"city":')),
            v2_event(piece(arguments='"北京"}')),
            v2_event({"content": ""}, "tool_calls"),
            b"data: [DONE]\n\n",
        ),
        stream(v2_event({"content": "晴"}), v2_event({"content": "天"}, "stop"), b"data: [DONE]\n\n"),
    )
    heard = []
    result = connect("v2").run_tools("?", [get_weather], on_text=heard.append)
    assert (heard, result.text) == (["晴", "天"], "晴天")
    call = {"id": "c7", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"北京"}'}}
    assert server.requests[1].json["messages"][1]["tool_calls"] == [call]


def test_v1_streams_too(server, connect):
    event = json.loads(v1_event("", last=True)[6:])
    event |= {"function_call": {"name": "get_weather", "arguments": '{"city":"北京"}'}}
    server.play(stream(b"data: " + json.dumps(event).encode() + b"\n\n"), stream(v1_event("晴", last=True)))
    assert connect("v1").run_tools("?", [get_weather], on_text=print).text == "晴"


def test_a_call_without_an_id_gets_one(server, connect):
    message = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "empty"}}]}
    server.play(answer({**V2_OK, "choices": [{"message": message}]}), answer(V2_OK))
    connect("v2").run_tools("?", [empty])
    assistant, tool = server.requests[1].json["messages"][1:]
    assert assistant["tool_calls"][0]["id"] == tool["tool_call_id"] == "call_1_0"


# In a conversation


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_a_turn_with_calls_enters_whole_and_goes_whole(server, connect, dialect):
    ok = answer(V1_OK if dialect == "v1" else V2_OK)
    arguments = '{"city":"北京"}'
    server.play(wants_v1("get_weather", arguments) if dialect == "v1" else wants(("get_weather", arguments)), ok, ok)
    talk = connect(dialect).conversation("助手")
    result = talk.run_tools("天气?", [get_weather])
    assert talk.messages == list(result.messages)
    roles = ["user", "assistant", "function" if dialect == "v1" else "tool", "assistant"]
    assert [message["role"] for message in talk.messages] == roles
    assert len(talk) == 1
    talk.say("谢谢")
    assert server.requests[-1].json["messages"][-1]["content"] == "谢谢"
    talk.undo()
    assert len(talk.undo()) == 4


def test_a_loop_that_fails_leaves_the_conversation_as_it_was(server, connect):
    server.otherwise = wants(("empty", "{}"))
    talk = connect("v2").conversation()
    with pytest.raises(ToolLoopExceeded):
        talk.run_tools("?", [empty])
    assert talk.messages == []


def test_calls_may_be_answered_by_hand(server, connect):
    server.play(wants(("get_weather", "{}")), answer(V2_OK))
    talk = connect("v2").conversation()
    reply = talk.say("天气?", tools=[])
    talk.say([{"role": "tool", "tool_call_id": reply.tool_calls[0]["id"], "content": "晴"}])
    assert [message["role"] for message in talk.messages] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize(("dialect", "model"), [("v1", "ernie-3.5-8k"), ("v2", "ernie-4.0-8k")])
def test_the_mock_takes_the_whole_exchange(dialect, model):
    with MockServer(port=0) as server:
        account = server.account()
        account.reply(tool_calls=[{"name": "get_weather", "arguments": {"city": "北京"}}])
        account.reply(tool_calls=[{"name": "broken", "arguments": {}}])
        account.reply("晴, 22 度")
        with Client(server.url, account.credentials, dialect=dialect, model=model) as client:
            talk = client.conversation()
            result = talk.run_tools("天气?", [get_weather, broken])
            assert (result.text, result.rounds) == ("晴, 22 度", 2)
            assert [step.error is None for step in result.steps] == [True, False]
            account.reply("再见")
            assert talk.stream("谢谢").reply().text == "再见"


@pytest.mark.parametrize(("dialect", "model"), [("v1", "ernie-3.5-8k"), ("v2", "ernie-4.0-8k")])
@pytest.mark.parametrize("streamed", [False, True])
def test_arguments_that_the_mock_makes_up_from_the_schema_are_accepted(dialect, model, streamed):
    with MockServer(port=0) as server:
        account = server.account()
        account.call_tool("get_weather")
        account.call_tool("everything")
        account.reply("好")
        with Client(server.url, account.credentials, dialect=dialect, model=model) as client:
            heard = []
            result = client.run_tools("?", [get_weather, everything], on_text=heard.append if streamed else None)
        assert [(step.name, step.error) for step in result.steps] == [("get_weather", None), ("everything", None)]
        assert bool(heard) is streamed
