"""Minutes of backoff, pacing and waiting, in milliseconds: the program is tested as it is."""

import threading
import time

import openai
import pytest
import requests

ASK = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]}


def test_a_backoff_of_minutes(qianfan_mock, qianfan_env, qianfan_clock):
    qianfan_mock.fail(18, times=3, retry_after=45).then.reply("好")
    with openai.OpenAI(max_retries=3) as client:
        answer = client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "好"
    assert [each.seconds for each in qianfan_clock.sleeps] == [45, 45, 45]
    qianfan_mock.verdict().assert_ok()  # the mock saw the same waits


def test_a_stream_that_stalls(qianfan_mock, qianfan_env, qianfan_clock):
    qianfan_mock.stream(["你", "好"], ttft=2, interval=600)
    got = []
    with openai.OpenAI(max_retries=0, timeout=30) as client:
        chunks = client.chat.completions.create(**ASK, stream=True)
        with pytest.raises(Exception, match=r"timed out"):
            got.extend(chunk.choices[0].delta.content for chunk in chunks)
    assert got == ["你"]
    assert qianfan_clock.elapsed == pytest.approx(2 + 30)  # its read timeout, not the 600 s


def test_waits_overlap(qianfan_mock, qianfan_clock):
    def program(seconds):
        time.sleep(seconds)
        requests.post(f"{qianfan_mock.url}/v2/chat/completions", json=ASK, headers=headers, timeout=10)

    headers = {"Authorization": f"Bearer {qianfan_mock.credentials.bearer_token}"}
    threads = [threading.Thread(target=program, args=(seconds,)) for seconds in (300, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert qianfan_clock.elapsed == 300  # the longest, not the sum
    times = [entry.time for entry in qianfan_mock.requests]
    assert times[1] - times[0] == pytest.approx(100)


@pytest.mark.qianfan(dialect="v1")
def test_a_token_runs_out(qianfan_mock, qianfan_client, qianfan_clock):
    qianfan_client.chat("你好")
    qianfan_clock.advance(31 * 86_400)  # its access token lives for 30 days
    qianfan_client.chat("你好")
    assert len(qianfan_mock.requests.where(dialect="oauth")) == 2
