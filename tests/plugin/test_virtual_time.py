"""`qianfan_clock`: every promise of virtual time in a test, kept and broken. The clients: tests/contract."""

from __future__ import annotations

import pytest

ASKED_TWICE = """
    from qfkit import Client
    from qfkit.client import Cache

    def asked_twice(account, clock, after):
        # The same question, a while apart; how many requests the account has seen.
        with Client(account.url, account.credentials, "v2", cache=Cache(ttl=1800)) as client:
            client.chat("?", model="ernie-4.0-8k", temperature=0.1)
            clock.advance(after)
            client.chat("?", model="ernie-4.0-8k", temperature=0.1)
        return len(account.requests)
"""

KEPT = """
    import asyncio, threading, time
    import pytest
"""
KEPT += ASKED_TWICE
KEPT += """
    real = time.sleep  # a module of tests is loaded before any clock is on

    def backs_off(account, client, clock):
        account.fail(18, times=2, retry_after=50).then.reply("好")
        assert client.chat("?").text == "好"
        assert clock.elapsed == 100

    def test_the_clock_first(qianfan_clock, qianfan_mock, qianfan_client, qianfan_env):
        backs_off(qianfan_mock, qianfan_client, qianfan_clock)

    def test_the_clock_last(qianfan_env, qianfan_client, qianfan_mock, qianfan_clock):
        backs_off(qianfan_mock, qianfan_client, qianfan_clock)

    def test_the_clock_between(qianfan_server, qianfan_mock, qianfan_clock, qianfan_intercept, qianfan_client):
        backs_off(qianfan_mock, qianfan_client, qianfan_clock)

    def test_backoff(qianfan_client, qianfan_clock, qianfan_mock):
        qianfan_mock.fail(18, times=2, retry_after=50).then.reply("好")
        assert qianfan_client.chat("?").text == "好"
        assert [each.seconds for each in qianfan_clock.sleeps] == [50, 50]
        first, _, last = qianfan_mock.requests
        assert last.time - first.time == pytest.approx(100)
        qianfan_mock.verdict().assert_ok()

    def test_pacing(qianfan_clock, qianfan_client, qianfan_mock):
        qianfan_mock.stream(["你", "好"], ttft=30, interval=50)
        assert "".join(chunk.text for chunk in qianfan_client.stream("?")) == "你好"
        assert qianfan_clock.elapsed == pytest.approx(80)
        assert qianfan_mock.requests[-1].duration == pytest.approx(80)

    def test_time_passes_when_told(qianfan_clock):
        before = time.time()
        qianfan_clock.advance(3600)
        assert time.time() - before == pytest.approx(3600)

    def test_the_quota_refills(qianfan_clock, qianfan_client, qianfan_mock):
        qianfan_mock.quota(rpm=1)
        for _ in range(3):
            assert qianfan_client.chat("?").text
            qianfan_clock.advance(60)
        assert [entry.ok for entry in qianfan_mock.requests] == [True] * 3

    @pytest.mark.qianfan(dialect="v1")
    def test_a_token_of_last_month_is_bought_anew(qianfan_clock, qianfan_client, qianfan_mock):
        for _ in range(2):
            assert qianfan_client.chat("?").text
            qianfan_clock.advance(31 * 86_400)
        assert [entry.dialect for entry in qianfan_mock.requests].count("oauth") == 2

    def test_the_life_of_what_is_cached(qianfan_clock, qianfan_mock):
        assert asked_twice(qianfan_mock, qianfan_clock, after=1799.0) == 1
        assert asked_twice(qianfan_mock, qianfan_clock, after=1801.0) == 3

    def test_waits_overlap(qianfan_clock):
        threads = [threading.Thread(target=time.sleep, args=(seconds,)) for seconds in (60, 90, 30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert qianfan_clock.elapsed == 90

    def test_asyncio(qianfan_clock):
        async def all_of_them():
            await asyncio.gather(asyncio.sleep(60), asyncio.sleep(90), asyncio.to_thread(time.sleep, 30))

        asyncio.run(all_of_them())
        assert qianfan_clock.elapsed == 90

    def test_real_time_is_back():
        assert time.sleep is real
"""

BROKEN = """
    import time
    import pytest, requests
"""
BROKEN += ASKED_TWICE
BROKEN += """

    ASK = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}], "stream": True}

    @pytest.fixture
    def ask(qianfan_mock):
        headers = {"Authorization": f"Bearer {qianfan_mock.credentials.bearer_token}"}
        url = f"{qianfan_mock.url}/v2/chat/completions"
        return lambda **options: requests.post(url, json=ASK, headers=headers, **options)

    def test_waits_are_judged(qianfan_clock, qianfan_mock, ask):
        qianfan_mock.fail(18, times=3, retry_after=60)
        for _ in range(3):
            ask()
            time.sleep(1)
        qianfan_mock.verdict().assert_ok()

    def test_too_impatient(qianfan_clock, qianfan_mock, ask):
        qianfan_mock.stream(["你", "好"], ttft=60)
        ask(timeout=59.9)

    def test_gives_up_too_soon(qianfan_clock, qianfan_client, qianfan_mock):
        qianfan_mock.fail(18, times=3, retry_after=45).then.reply("好")
        qianfan_client.chat("?")

    def test_before_the_quota_refills(qianfan_clock, qianfan_mock, ask):
        qianfan_mock.quota(rpm=1)
        ask().raise_for_status()
        time.sleep(59)
        ask().raise_for_status()

    def test_with_a_token_of_last_month(qianfan_clock, qianfan_mock):
        keys, url = qianfan_mock.credentials, qianfan_mock.url
        who = {"grant_type": "client_credentials", "client_id": keys.ak, "client_secret": keys.sk}
        token = requests.post(f"{url}/oauth/2.0/token", params=who).json()["access_token"]
        qianfan_clock.advance(31 * 86_400)
        answer = requests.post(f"{url}/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions_pro",
            params={"access_token": token}, json={"messages": [{"role": "user", "content": "?"}]})
        assert answer.json().get("error_msg") is None

    def test_what_is_cached_is_too_old(qianfan_clock, qianfan_mock):
        assert asked_twice(qianfan_mock, qianfan_clock, after=1801.0) == 1

    def test_backwards(qianfan_clock):
        qianfan_clock.advance(-1)

    def test_twice(qianfan_clock):
        from qfkit.testing.virtual import virtual_time

        with virtual_time():
            pass

    def test_uvloop(qianfan_clock):
        import asyncio, uvloop

        loop = uvloop.new_event_loop()
        try:
            loop.run_until_complete(asyncio.sleep(60))
        finally:
            loop.close()

    def test_the_clock_is_shown(qianfan_clock):
        time.sleep(90)
        assert qianfan_clock.elapsed == 60
"""


def test_what_it_promises_is_kept(pytester: pytest.Pytester):
    pytester.makepyfile(KEPT)
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=12)


def test_what_is_broken_is_told(pytester: pytest.Pytester):
    pytester.makepyfile(BROKEN)
    result = pytester.runpytest_inprocess("-q", "-p", "no:randomly")
    result.assert_outcomes(failed=10)
    result.stdout.fnmatch_lines(
        [
            "*_ test_waits_are_judged _*",
            "*retry-after*",
            "*_ test_too_impatient _*",
            "E *Read timed out.*",
            "*_ test_gives_up_too_soon _*",
            "E *RateLimitError*",
            "*_ test_before_the_quota_refills _*",
            "E *HTTPError: 429 Client Error*",
            "*RPM 1: *",
            "*_ test_with_a_token_of_last_month _*",
            "E *'Access token expired'*",
            "*_ test_what_is_cached_is_too_old _*",
            "E *assert 2 == 1",
            "*_ test_backwards _*",
            "E *ValueError: time does not run backwards: advance(seconds) takes 0 or more, got -1",
            "*_ test_twice _*",
            "E *RuntimeError: virtual time is on already, and a process has one time only: ask for qianfan_clock once*",
            "*_ test_uvloop _*",
            "E *RuntimeError: uvloop keeps its own time, which virtual time cannot reach*",
            "*_ test_the_clock_is_shown _*",
            "E *<virtual clock: 90 s passed, slept 90 s>.elapsed",
        ]
    )
