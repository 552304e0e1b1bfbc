"""Other people's clients, and ours, on virtual time: minutes of backoff, of pacing and of waiting end at once.

Each test fails when it takes longer than `QUICK` real seconds, which is far from what it waits for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from random import Random

import aiohttp
import anyio
import httpx
import openai
import pytest
import qianfan
import requests
import tutorial_client
from contract_helpers import NO_LIMITER, QUIET

from qfkit import Cache, Client, RetryPolicy
from qfkit.testing.virtual import real

pytestmark = QUIET

ASK = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]}

#: Most need some 20 ms; the machine of the tests may be busy.
QUICK = 10.0


@pytest.fixture(autouse=True)
def _quick():
    began = real.monotonic()
    yield
    assert real.monotonic() - began < QUICK


@pytest.fixture
def official_sdk(qianfan_env, monkeypatch):
    """The official SDK, which reads the environment once and keeps what it learned, as if it were new."""
    from qianfan import config
    from qianfan.resources.llm.base import BaseResource

    monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)
    monkeypatch.setattr(BaseResource, "_runtime_models_info", {})
    return qianfan.ChatCompletion(**NO_LIMITER)


def offsets(account):
    entries = account.requests.where(operation="chat")
    return [round(entry.time - entries[0].time, 3) for entry in entries]


def test_openai(qianfan_mock, qianfan_env, qianfan_clock):
    qianfan_mock.fail(18, times=5, retry_after=45).then.reply("好")
    with openai.OpenAI(max_retries=8) as client:
        answer = client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "好"
    assert [each.seconds for each in qianfan_clock.sleeps] == [45] * 5
    assert offsets(qianfan_mock) == [0, 45, 90, 135, 180, 225]
    qianfan_mock.verdict().assert_ok()


def test_openai_async(qianfan_clock, qianfan_env, qianfan_mock):
    qianfan_mock.fail(18, times=5, retry_after=45).then.reply("好")

    async def main():
        async with openai.AsyncOpenAI(max_retries=8) as client:
            return await client.chat.completions.create(**ASK)

    assert asyncio.run(main()).choices[0].message.content == "好"
    assert [each.seconds for each in qianfan_clock.sleeps] == [45] * 5
    assert offsets(qianfan_mock) == pytest.approx([0, 45, 90, 135, 180, 225], abs=0.002)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asynchronous_tests(anyio_backend, qianfan_clock, qianfan_env, qianfan_mock):
    qianfan_mock.fail(18, times=2, retry_after=45).then.reply("好")
    async with openai.AsyncOpenAI(max_retries=8) as client:
        await client.chat.completions.create(**ASK)
    with anyio.move_on_after(1000):
        await anyio.sleep_forever()
    await anyio.to_thread.run_sync(time.sleep, 110)
    assert qianfan_clock.elapsed == pytest.approx(1200, abs=1e-3)


def test_official_sdk_async(official_sdk, qianfan_clock, qianfan_mock):
    qianfan_mock.fail(18, times=5).then.reply("好")
    answer = asyncio.run(
        official_sdk.ado(model="ERNIE-4.0-8K", messages=ASK["messages"], retry_count=8, backoff_factor=20)
    )
    assert answer["result"] == "好"
    assert qianfan_clock.elapsed > 300


def test_official_sdk(qianfan_clock, official_sdk, qianfan_mock):
    qianfan_mock.fail(18, times=5).then.reply("好")
    answer = official_sdk.do(model="ERNIE-4.0-8K", messages=ASK["messages"], retry_count=8, backoff_factor=20)
    assert answer["result"] == "好"
    assert qianfan_clock.elapsed > 300
    waits = [each.seconds for each in qianfan_clock.sleeps if each.who == threading.current_thread().name]
    assert sum(waits) == pytest.approx(offsets(qianfan_mock)[-1], abs=0.01)


def test_reference_client(qianfan_client, qianfan_clock, qianfan_mock):
    qianfan_mock.fail(18, times=2, retry_after=30).then.reply("好")
    assert qianfan_client.chat("?").text == "好"
    assert qianfan_clock.elapsed == sum(each.seconds for each in qianfan_clock.sleeps) >= 60
    assert offsets(qianfan_mock)[-1] == pytest.approx(qianfan_clock.elapsed, abs=0.001)
    assert qianfan_mock.waits_seen
    qianfan_mock.verdict().assert_ok()


def test_stream_pacing(qianfan_clock, qianfan_client, qianfan_mock):
    qianfan_mock.stream(["你", "好", "吗"], ttft=20, interval=30)
    seen = [(chunk.text, round(qianfan_clock.elapsed, 6)) for chunk in qianfan_client.stream("?") if chunk.text]
    assert seen == [("你", 20.0), ("好", 50.0), ("吗", 80.0)]
    [entry] = qianfan_mock.requests
    assert entry.written[1:4] == pytest.approx([20, 50, 80])
    assert entry.duration == pytest.approx(80)
    assert entry.finished - entry.time == pytest.approx(80)


@pytest.mark.parametrize(("timeout", "chunks"), [(25, 1), (15, 0), (35, 3), (20, 1), (30, 3)])
def test_a_read_timeout_comes_before_later_data(qianfan_clock, qianfan_env, qianfan_mock, timeout, chunks):
    qianfan_mock.stream(["你", "好", "吗"], ttft=20, interval=30)
    got = []
    with openai.OpenAI(max_retries=0, timeout=timeout) as client:
        try:
            for chunk in client.chat.completions.create(**ASK, stream=True):
                got += [chunk.choices[0].delta.content] if chunk.choices[0].delta.content else []
        except (openai.APITimeoutError, httpx.ReadTimeout):
            assert qianfan_clock.elapsed == pytest.approx(20 * (chunks > 0) + timeout)
        else:
            assert qianfan_clock.elapsed == pytest.approx(80)
    assert len(got) == chunks


def test_a_read_timeout_of_asyncio(qianfan_clock, qianfan_env, qianfan_mock):
    qianfan_mock.fault("hang")

    async def main():
        async with openai.AsyncOpenAI(max_retries=0, timeout=600) as client:
            await client.chat.completions.create(**ASK)

    with pytest.raises(openai.APITimeoutError):
        asyncio.run(main())
    assert qianfan_clock.elapsed == pytest.approx(600)


def test_hanging_server(qianfan_clock, qianfan_env, qianfan_mock):
    qianfan_mock.fault("hang", times=2).then.reply("好")
    with openai.OpenAI(max_retries=2, timeout=600) as client:
        assert client.chat.completions.create(**ASK).choices[0].message.content == "好"
    assert qianfan_clock.elapsed > 1200


def test_connections_that_are_reset_are_reset_at_their_time(qianfan_clock, qianfan_mock):
    qianfan_mock.stream(["你", "好"], ttft=20, interval=10, cut_after=1, cut="reset")
    answer = requests.post(
        f"{qianfan_mock.url}/v2/chat/completions",
        json={**ASK, "stream": True},
        headers={"Authorization": f"Bearer {qianfan_mock.credentials.bearer_token}"},
        timeout=50,
        stream=True,
    )
    with pytest.raises(requests.RequestException):
        assert answer.content
    assert 20 <= qianfan_clock.elapsed <= 30.001


def test_quota_windows_refill(qianfan_mock, qianfan_client, qianfan_clock):
    qianfan_mock.quota(rpm=2)
    for _ in range(4):
        qianfan_client.chat("?")
    assert 59 <= qianfan_clock.elapsed <= 130
    refused = [entry for entry in qianfan_mock.requests if entry.error_code is not None]
    assert refused
    assert all(entry.answered_by == "quota" for entry in refused)


@pytest.mark.qianfan(dialect="v1")
def test_tokens_expire(qianfan_mock, qianfan_client, qianfan_clock):
    qianfan_client.chat("?")
    qianfan_client.chat("?")
    qianfan_clock.advance(29 * 86_400)
    qianfan_client.chat("?")
    assert len(qianfan_mock.requests.where(dialect="oauth")) == 1
    qianfan_clock.advance(2 * 86_400)
    qianfan_client.chat("?")
    assert len(qianfan_mock.requests.where(dialect="oauth")) == 2


def test_cached_answers_grow_old(qianfan_mock, qianfan_clock):
    qianfan_mock.reply("一").reply("二")
    with Client(base_url=qianfan_mock.url, credentials=qianfan_mock.credentials, cache=Cache(ttl=1800)) as client:
        assert client.chat("?").text == "一"
        qianfan_clock.advance(1799)
        assert client.chat("?").text == "一"
        qianfan_clock.advance(2)
        assert client.chat("?").text == "二"


def test_an_old_signature_is_refused(qianfan_mock, qianfan_client, qianfan_clock):
    qianfan_client.chat("?")
    first = qianfan_mock.requests[0]
    headers = dict(first.headers)
    stamp = int(headers["X-Bce-Timestamp"])
    qianfan_clock.advance(3600)
    qianfan_client.chat("?")  # signed afresh, by the same clock as the mock's
    assert int(dict(qianfan_mock.requests[-1].headers)["X-Bce-Timestamp"]) - stamp == 3600
    assert all(entry.signature.ok for entry in qianfan_mock.requests)


def test_twenty_clients_wait_side_by_side(qianfan_clock, qianfan_mock):
    qianfan_mock.fail(500, times=20).then.reply("好", times=20)
    first = threading.Barrier(20)

    def ask(number):
        policy = RetryPolicy(base=10.0 * (number + 1), cap=10.0 * (number + 1), jitter="none", max_total=None)
        with Client(base_url=qianfan_mock.url, credentials=qianfan_mock.credentials, retry=policy) as client:
            first.wait()
            assert client.chat("?").text == "好"

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(offsets(qianfan_mock))[20:] == pytest.approx([10.0 * (n + 1) for n in range(20)], abs=0.01)
    assert qianfan_clock.elapsed == 200.0


@pytest.mark.qianfan(keys={"access_key": "ALTAK-tutorial", "secret_key": "s3cret"})
def test_the_tutorials_program(qianfan_intercept, qianfan_clock, qianfan_mock):
    qianfan_mock.reply("一").stream(["春", "眠"], ttft=60, interval=60)
    assert tutorial_client.call_text_generation("ALTAK-tutorial", "s3cret", "你好") == "一"
    assert "".join(tutorial_client.stream_response("ALTAK-tutorial", "s3cret", "你好")) == "春眠"
    assert qianfan_clock.elapsed == pytest.approx(120)
    assert tutorial_client.concurrent_call("ALTAK-tutorial", "s3cret", ["?"] * 5)


def test_tls_read_timeouts(qianfan_intercept, qianfan_clock, qianfan_mock):
    qianfan_mock.stream(["你", "好", "吗"], ttft=20, interval=30)
    key, got = qianfan_mock.credentials.bearer_token, []
    with openai.OpenAI(base_url="https://qianfan.baidubce.com/v2", max_retries=0, timeout=25, api_key=key) as client:
        chunks = client.chat.completions.create(**ASK, stream=True)
        with pytest.raises((openai.APITimeoutError, httpx.ReadTimeout)):
            got.extend((chunk.choices[0].delta.content, round(qianfan_clock.elapsed, 6)) for chunk in chunks)
    assert got == [("你", 20.0)]
    assert qianfan_clock.elapsed == pytest.approx(45)


@pytest.mark.parametrize("timeout", [25, 35])
def test_aiohttp(qianfan_clock, qianfan_mock, timeout):
    qianfan_mock.stream(["你", "好", "吗"], ttft=20, interval=30)
    url, headers = f"{qianfan_mock.url}/v2/chat/completions", {}
    headers["Authorization"] = f"Bearer {qianfan_mock.credentials.bearer_token}"

    async def main():
        limit = aiohttp.ClientTimeout(sock_read=timeout)
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(url, json={**ASK, "stream": True}, headers=headers) as got,
        ):
            return await got.text()

    if timeout < 30:
        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(main())
    else:
        assert "吗" in asyncio.run(main())
    assert qianfan_clock.elapsed == pytest.approx(45 if timeout < 30 else 80, abs=1.1)  # aiohttp rounds its timers up


def test_a_hundred_tasks_back_off_side_by_side(qianfan_clock, qianfan_mock):
    """Each on its own: the longest wait is the whole, not the sum."""
    qianfan_mock.fail(18, times=100).then.reply("好", times=100)
    url, headers = f"{qianfan_mock.url}/v2/chat/completions", {}
    headers["Authorization"] = f"Bearer {qianfan_mock.credentials.bearer_token}"

    async def client(http, number):
        assert (await http.post(url, json=ASK, headers=headers)).status_code == 429
        await asyncio.sleep(number)
        assert (await http.post(url, json=ASK, headers=headers)).status_code == 200
        return round(qianfan_clock.elapsed, 6)

    async def main():
        async with httpx.AsyncClient(timeout=5) as http:
            return await asyncio.gather(*(client(http, number) for number in range(1, 101)))

    assert asyncio.run(main()) == list(range(1, 101))


def test_no_leap_overtakes_an_answer_that_is_on_its_way(qianfan_clock, qianfan_mock):
    """A leap a moment too soon would end a read timeout of a millisecond; and the sum of all waits is exact."""
    url, headers = f"{qianfan_mock.url}/v2/chat/completions", {}
    headers["Authorization"] = f"Bearer {qianfan_mock.credentials.bearer_token}"
    ends = {}

    def client(number):
        draw, waited = Random(number), 0.0
        with requests.Session() as session:
            for _ in range(8):
                wait = draw.choice([0.5, 1, 7, 60])
                time.sleep(wait)
                waited += wait
                before = qianfan_clock.elapsed
                assert session.post(url, json=ASK, headers=headers, timeout=0.001).status_code == 200
                assert qianfan_clock.elapsed == before
        ends[number] = (qianfan_clock.elapsed, waited)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == 12
    assert all(end == waited for end, waited in ends.values())
