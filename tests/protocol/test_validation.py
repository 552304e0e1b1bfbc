"""What the service refuses, and in which words: live texts (wire reference 5.1, 5.2), and the rules of 3.2 and 4.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfkit.protocol.dialects import FIELDS, INFERENCE_DIALECTS, V1_PREFIX, route
from qfkit.protocol.errors import lookup
from qfkit.protocol.models import by_name
from qfkit.protocol.validation import CODES, Problem, decode_object, validate

USER = {"role": "user", "content": "你好"}
ASSISTANT = {"role": "assistant", "content": "您好"}


def v1(**fields):
    return validate("v1", "chat", {"messages": [USER]} | fields, model=by_name("ERNIE-3.5-8K"))


def v2(**fields):
    return validate("v2", "chat", {"model": "ernie-4.0-8k", "messages": [USER]} | fields, model=by_name("ernie-4.0-8k"))


def text_generation(**fields):
    return validate("text_generation", "chat", {"messages": [USER]} | fields)


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"temperature": 0}, 336003, "parameter check failed, temperature range is (0, 1.0]"),
        ({"temperature": 1.2}, 336003, "parameter check failed, temperature range is (0, 1.0]"),
        ({"temperature": "hot"}, 336001, "Invalid Argument"),
        ({"temperature": True}, 336001, "Invalid Argument"),
        ({"max_output_tokens": 1}, 336003, "parameter check failed, max_output_tokens range is [2, 2048]"),
        ({"messages": [USER, ASSISTANT]}, 336006, "the length of messages must be an odd number"),
        (
            {"messages": [{"role": "system", "content": "x"}, ASSISTANT, USER]},
            336006,
            "the role of message with even index in the messages must be user or function",
        ),
        ({"messages": [{"role": "user", "content": " "}]}, 336003, "message content can not be empty"),
        ({"messages": [{"role": "user", "content": "字" * 20001}]}, 336007, "the max input characters is 20000"),
        ({"messages": [{"role": "user", "content": "字 " * 9000}]}, 336103, "Prompt tokens too long"),
        ({"messages": []}, 336006, None),
        ({"messages": None}, 336003, None),
        ({"messages": "hi"}, 336001, None),
        ({"messages": ["hi"]}, 336001, None),
        ({"stop": ["a"] * 5}, 336003, None),
        ({"stop": ["a" * 21]}, 336003, None),
        ({"stop": "a"}, 336001, None),
        ({"response_format": "xml"}, 336003, None),
        ({"response_format": {"type": "text"}}, 336001, None),
    ],
)
def test_v1_refuses(fields, code, message):
    problem = v1(**fields)
    assert problem is not None
    assert problem.code == code
    assert message is None or problem.message == message


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"messages": []}, "invalid_argument", "messages cannot be empty"),
        ({"model": None}, "invalid_argument", "you must provide a model parameter"),
        (
            {"messages": [{"role": "robot", "content": "x"}]},
            "invalid_argument",
            "the role must be one of the following: system,developer,user,assistant,tool",
        ),
        (
            {"max_completion_tokens": 0},
            "invalid_argument",
            "parameter check failed, max_completion_tokens range is [1, 12288]",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "invalid_messages", None),
        ({"messages": [{"role": "user", "content": 3}]}, "invalid_argument", None),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "invalid_argument", None),
        ({"messages": [{"role": "user", "content": "字" * 20001}]}, "characters_too_long", None),
    ],
)
def test_v2_refuses(fields, code, message):
    problem = v2(**fields)
    assert problem is not None
    assert problem.code == code
    assert message is None or problem.message == message


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.05},
        {"temperature": 1.01},
        {"messages": [{"role": "user", "content": "字" * 4096}]},
        {"messages": [USER, USER]},
        {"max_tokens": 0},
    ],
)
def test_text_generation_refuses(fields):
    problem = text_generation(**fields)
    assert problem is not None
    assert problem.code == 400


def test_text_generation_takes_32_kb_and_not_a_byte_more():
    body = {"messages": [USER]}
    assert validate("text_generation", "chat", body, size=32768) is None
    problem = validate("text_generation", "chat", body, size=32769)
    assert problem is not None
    assert "32768" in problem.message


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stop": None, "temperature": 0.95, "top_p": 0.8, "penalty_score": 1},  # LangChain (A.20)
        {"messages": [USER, ASSISTANT, USER]},
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "{}"},
            ]
        },
        {"extra_parameters": {"request_source": "x"}, "unknown": object()},
    ],
)
def test_v1_accepts(fields):
    assert v1(**fields) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "system", "content": "x"}, USER]},
        {"messages": [USER, USER]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
                {"role": "tool", "tool_call_id": "1", "content": "{}"},
            ]
        },
        {"temperature": 0, "stop": "a", "tool_choice": "auto"},
    ],
)
def test_v2_accepts(fields):
    assert v2(**fields) is None


@pytest.mark.parametrize(
    ("operation", "body", "code"),
    [
        ("embeddings", {"input": []}, 336003),
        ("embeddings", {"input": ["a"] * 17}, 336003),
        ("embeddings", {"input": "a"}, 336001),
        ("embeddings", {"input": [1]}, 336001),
        ("embeddings", {"input": [" "]}, 336003),
        ("rerank", {"query": "a", "documents": ["b"] * 65}, 336221),
        ("rerank", {"query": "a" * 1601, "documents": ["b"]}, 336003),
        ("rerank", {"query": "a"}, 336003),
        ("text2image", {"prompt": "a", "size": "1x1"}, 336003),
        ("text2image", {"prompt": "a", "n": 5}, 336003),
        ("text2image", {"prompt": ""}, 336003),
        ("image2text", {"prompt": "a"}, 336003),
        ("tokenizer", {"prompt": 3}, 336001),
        ("plugin", {"query": "a" * 1001}, 336003),
    ],
)
def test_the_other_operations_refuse(operation, body, code):
    problem = validate("v1", operation, body)
    assert problem is not None
    assert problem.code == code


@pytest.mark.parametrize("body", [b"", b"{", b"a=1", b"\xff", b"[" * 100_000, b'{"a": NaN}', b"\xef\xbb\xbf{}x"])
@pytest.mark.parametrize("dialect", INFERENCE_DIALECTS)
def test_what_is_not_json_is_refused(dialect, body):
    problem = decode_object(dialect, body)
    assert isinstance(problem, Problem)
    assert problem.code == CODES[dialect]["json"]


@pytest.mark.parametrize("body", [b"1", b"[]", b'"a"', b"null"])
def test_json_that_is_no_object_is_refused(body):
    assert isinstance(decode_object("v1", body), Problem)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
OPERATIONS = sorted(FIELDS)


@given(st.data())
def test_any_json_is_accepted_or_refused_with_a_code_of_the_dialect(data):
    dialect, operation = data.draw(st.sampled_from(OPERATIONS))
    names = [field.name for field in FIELDS[dialect, operation]]
    message = st.fixed_dictionaries(
        {}, optional={"role": st.sampled_from(["user", "assistant"]) | JSON, "content": JSON}
    )
    values = JSON | st.lists(message, max_size=3)
    body = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=6))
    problem = validate(dialect, operation, body, model=by_name("ernie-4.0-8k"))
    if problem is not None:
        assert lookup(dialect, problem.code) is not None
        assert problem.message


@pytest.mark.parametrize(
    ("path", "dialect", "operation"),
    [
        ("/v2/chat/completions", "v2", "chat"),
        ("/v2/rerankers", "v2", "rerank"),
        (f"{V1_PREFIX}/chat/abcd1234_xyz", "v1", "chat"),
        (f"{V1_PREFIX}/plugin/abcd/", "v1", "plugin"),
        (f"{V1_PREFIX}/erniebot/plugins", "v1", "plugins"),
        (f"{V1_PREFIX}/tokenizer/erniebot", "v1", "tokenizer"),
    ],
)
def test_paths_mean_what_they_say(path, dialect, operation):
    found = route(path)
    assert found is not None
    assert (found.dialect, found.operation) == (dialect, operation)


@pytest.mark.parametrize(
    "path", ["", "/", "/v2", "/v2/chat/completions/", f"{V1_PREFIX}/chat/", f"{V1_PREFIX}/chat/a/b"]
)
def test_paths_that_mean_nothing(path):
    assert route(path) is None
