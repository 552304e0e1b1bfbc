"""The fixtures, as a downstream project uses them."""

import pytest


def test_retries(qianfan_mock, qianfan_client):
    qianfan_mock.fail(18, times=2).then.reply("好")
    reply = qianfan_client.chat("你好")
    assert reply.text == "好"
    assert [attempt.code for attempt in reply.attempts] == [18, 18, None]


@pytest.mark.qianfan(dialect="v2")
def test_v2(qianfan_mock, qianfan_client):
    qianfan_client.chat("你好")
    assert qianfan_mock.requests[-1].dialect == "v2"


def test_any_client(qianfan_mock, qianfan_env):
    import openai

    qianfan_mock.stream(["你", "好"])
    with openai.OpenAI() as client:  # the environment names the mock
        chunks = client.chat.completions.create(
            model="ernie-4.0-8k", messages=[{"role": "user", "content": "?"}], stream=True
        )
        assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "你好"


@pytest.mark.qianfan(strict="requests")  # the rules are shared: a test may leave some of them unmet, but adds none
@pytest.mark.parametrize(("city", "answer"), [("杭州", "晴"), ("广州", "雨")])
def test_shared_rules(qianfan_mock, qianfan_client, city, answer):
    qianfan_mock.on(contains="杭州").reply("晴")
    qianfan_mock.on(contains="广州").reply("雨")
    assert qianfan_client.chat(f"{city}天气？").text == answer
