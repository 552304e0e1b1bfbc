"""A program with the host and the keys written into it, tested without a change to it."""

import pytest
import requests

KEY = "bce-v3/ALTAK-mine/secret"


def program(question):
    answer = requests.post(
        "https://qianfan.baidubce.com/v2/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": question}]},
        timeout=10,
    )
    return answer.json()["choices"][0]["message"]["content"]


@pytest.mark.qianfan(keys={"bearer_token": KEY})
def test_it(qianfan_intercept, qianfan_mock, qianfan_guard):  # and nothing else may leave this machine
    qianfan_mock.reply("晴")
    assert program("天气？") == "晴"
    assert qianfan_mock.requests[0].json["messages"][0]["content"] == "天气？"
