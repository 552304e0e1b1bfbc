"""Replies and chunks as they were recorded from the service (wire reference 3.3, 3.4, 4.2, 4.3)."""

from __future__ import annotations

import pytest

from qfkit.protocol.credentials import Credentials, mask
from qfkit.protocol.messages import MalformedReply, Usage, content_text, last_user_text, parse_chunk, parse_reply


def test_a_real_v1_reply():
    reply = parse_reply(
        "v1",
        {
            "id": "as-1j42wp3555",
            "object": "chat.completion",
            "created": 1712937294,
            "result": "你好，有什么我可以帮助你的吗？",
            "is_truncated": False,
            "need_clear_history": False,
            "usage": {"prompt_tokens": 1, "completion_tokens": 8, "total_tokens": 9},
        },
    )
    assert (reply.text, reply.id, reply.usage) == ("你好，有什么我可以帮助你的吗？", "as-1j42wp3555", Usage(1, 8, 9))
    assert reply.finish_reason is None


def test_a_real_v2_reply_of_a_reasoning_model():
    reply = parse_reply(
        "v2",
        {
            "id": "as-yqqxsmi5np",
            "model": "ernie-5.0-thinking-preview",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello!", "reasoning_content": "The user"},
                    "finish_reason": "stop",
                    "flag": 0,
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 227, "total_tokens": 228},
        },
    )
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("Hello!", "The user", "stop")
    assert reply.model == "ernie-5.0-thinking-preview"


def test_a_function_call_of_v1_and_a_tool_call_of_v2():
    call = {"name": "paper_search", "thoughts": "…", "arguments": "{}"}
    assert parse_reply("v1", {"result": "", "function_call": call}).tool_calls == (call,)
    tool = {"id": "call_x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"message": {"role": "assistant", "content": "", "tool_calls": [tool]}, "finish_reason": "tool_calls"}
    assert parse_reply("v2", {"choices": [choice]}).tool_calls == (tool,)


@pytest.mark.parametrize(
    ("dialect", "event", "text", "last"),
    [
        ("v1", {"result": "当然", "is_end": False, "finish_reason": "normal"}, "当然", False),
        ("v1", {"result": "", "is_end": True, "finish_reason": "normal"}, "", True),
        ("v2", {"choices": [{"delta": {"content": "你好", "role": "assistant"}, "flag": 0}]}, "你好", False),
        ("v2", {"choices": [{"delta": {"content": None, "reasoning_content": "好的"}}]}, "", False),
        ("v2", {"choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]}, "", True),
        ("v2", {"choices": [], "usage": {"prompt_tokens": 1, "total_tokens": 1}}, "", False),
        ("text_generation", {"choices": [{"delta": {"content": "水"}}]}, "水", False),
    ],
)
def test_real_stream_events(dialect, event, text, last):
    chunk = parse_chunk(dialect, event)
    assert (chunk.text, chunk.is_last) == (text, last)
    assert (chunk.finish_reason is not None) == last


@pytest.mark.parametrize("body", [None, [], "x", {}, {"result": 3}, {"choices": "x"}, {"choices": [{}]}])
@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
def test_what_is_no_reply_is_said_to_be_none(dialect, body):
    with pytest.raises(MalformedReply, match=dialect):
        parse_reply(dialect, body)


@pytest.mark.parametrize("body", [None, {}, {"choices": ["x"]}, {"result": None}])
@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
def test_what_is_no_chunk_is_said_to_be_none(dialect, body):
    with pytest.raises(MalformedReply, match=dialect):
        parse_chunk(dialect, body)


def test_the_text_of_messages():
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "b"}]
    assert content_text(parts) == "a\nb"
    assert content_text(None) == ""
    messages = [{"role": "user", "content": "first"}, {"role": "user", "content": parts}, {"role": "assistant"}]
    assert last_user_text(messages) == "a\nb"
    assert last_user_text(None) == ""
    assert last_user_text([]) == ""


def test_usage_that_is_partial_or_odd():
    assert Usage.read({"prompt_tokens": 2, "completion_tokens": 3}) == Usage(2, 3, 5)
    assert Usage.read({"prompt_tokens": "x"}) == Usage(0, 0, 0)
    assert Usage.read(None) is None


def test_credentials_never_show_a_secret():
    keys = Credentials(access_key="ALTAKpublic", secret_key="s3cr3t-s3cr3t", ak="api-key-123456", sk="tiny")
    shown = repr(keys)
    assert "s3cr3t-s3cr3t" not in shown
    assert "api-key-123456" not in shown
    assert "tiny" not in shown
    assert keys.environment()["QIANFAN_SECRET_KEY"] == "s3cr3t-s3cr3t"
    assert set(keys.secrets()) == {"s3cr3t-s3cr3t", "api-key-123456", "tiny"}
    assert mask(None) == "-"
    assert mask("") == "***"
