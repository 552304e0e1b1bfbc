"""Clients that do it right, over sockets, on one virtual clock: none of them is told off."""

from __future__ import annotations

from random import Random

import httpx
import openai
import pytest
import requests
import stamina
import tenacity
import urllib3
from requests.adapters import HTTPAdapter

from qfkit import Client, RetryPolicy
from qfkit.protocol.dialects import V1_PREFIX

QUIET = pytest.mark.filterwarnings(
    r"ignore:datetime\.datetime\.utc(now|fromtimestamp)\(\) is deprecated:DeprecationWarning:(qianfan|baidubce)\."
)

#: How often each call of a run fails before it is answered.
FAILURES = (0, 1, 2, 2, 0, 2, 1)
CALLS = len(FAILURES)


def busy(account, code=18):
    for times in FAILURES:
        if times:
            account.fail(code, times=times)
        account.reply("好")


def questions():
    return [f"第{number}问" for number in range(CALLS)]


def judged(account, calls=CALLS, **more):
    verdict = account.verdict(**more)
    assert verdict.ok, verdict.render()
    assert len(verdict.calls) == calls
    assert verdict.attempts > calls
    return verdict


@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
@pytest.mark.parametrize("jitter", ["full", "equal", "decorrelated", "none"])
def test_the_reference_client(account, clock, dialect, jitter):
    policy = RetryPolicy(jitter=jitter)
    busy(account, 500 if dialect == "text_generation" else 18)
    with Client(
        base_url=account.url,
        credentials=account.credentials,
        dialect=dialect,
        clock=clock,
        retry=policy,
        random=Random(3),
    ) as client:
        for question in questions():
            client.chat(question)
    assert judged(account, schedule=policy).judgement.answer in {"kept", "unclear"}
    if jitter != "none":
        judged(account)


def test_the_reference_client_keeps_retry_after_renews_its_token_and_reads_streams(account, clock):
    with Client(
        base_url=account.url, credentials=account.credentials, dialect="v1", clock=clock, random=Random(1)
    ) as client:
        client.chat("a")
        account.expire_tokens()
        client.chat("b")
        "".join(chunk.text for chunk in client.stream("c"))
        for _ in client.stream("d"):
            break
    with Client(
        base_url=account.url, credentials=account.credentials, dialect="text_generation", clock=clock
    ) as client:
        account.fail(429, retry_after=7).reply("好")
        client.chat("e")
    judged(account, calls=5)


def test_a_run_of_the_reference_client_is_found_to_keep_its_policy(account, clock):
    policy = RetryPolicy(attempts=5)
    with Client(
        base_url=account.url,
        credentials=account.credentials,
        dialect="v2",
        clock=clock,
        retry=policy,
        random=Random(8),
    ) as client:
        for number in range(8):
            account.fail(500, times=4).reply("好")
            client.chat(f"q{number}")
    assert judged(account, calls=8, schedule=policy).judgement.answer == "kept"
    verdict = account.verdict(schedule="aws-equal:base=0.5,cap=30")
    assert verdict.codes == ("schedule-broken",)


def chat_completions(client, question):
    return client.chat.completions.create(model="ernie-4.0-8k", messages=[{"role": "user", "content": question}])


def test_openai_python(account, asleep):
    busy(account)
    with openai.OpenAI(base_url=f"{account.url}/v2", api_key=account.credentials.bearer_token) as client:
        for question in questions():
            chat_completions(client, question)
    assert judged(account, schedule="openai").certainty == "explicit"


@QUIET
def test_the_official_sdk(account, sdk):
    busy(account)
    chat = sdk.ChatCompletion(forcing_disable=True)
    for question in questions():
        chat.do(messages=[{"role": "user", "content": question}], retry_count=3)
    judged(account, schedule="qianfan")


def post(account, question, send=requests.post):
    return send(
        f"{account.url}/v2/chat/completions",
        json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": question}]},
        headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
        timeout=10,
    )


def test_tenacity_and_requests(account, asleep):
    busy(account)

    @tenacity.retry(wait=tenacity.wait_random_exponential(max=10), stop=tenacity.stop_after_attempt(4))
    def ask(question):
        post(account, question).raise_for_status()

    for question in questions():
        ask(question)
    judged(account)
    assert account.verdict(schedule="tenacity-random:max=10").ok


def test_urllib3(account, asleep):
    busy(account)
    retry = urllib3.Retry(
        total=4, backoff_factor=0.5, backoff_jitter=0.5, status_forcelist=[429, 500, 503], allowed_methods=None
    )
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=retry))
        for question in questions():
            assert post(account, question, session.post).status_code == 200
    judged(account)
    assert account.verdict(schedule="urllib3:backoff_factor=0.5,backoff_jitter=0.5").ok


def test_stamina_and_httpx(account, asleep):
    busy(account)
    stamina.instrumentation.set_on_retry_hooks(())
    try:
        with httpx.Client() as client:

            @stamina.retry(on=httpx.HTTPStatusError, attempts=4)
            def ask(question):
                post(account, question, client.post).raise_for_status()

            for question in questions():
                ask(question)
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    judged(account, schedule="stamina")


def test_openai_within_tenacity_with_its_own_retries_off(account, asleep):
    busy(account)
    with openai.OpenAI(base_url=f"{account.url}/v2", api_key=account.credentials.bearer_token, max_retries=0) as client:

        @tenacity.retry(wait=tenacity.wait_exponential_jitter(max=10), stop=tenacity.stop_after_attempt(4))
        def ask(question):
            chat_completions(client, question)

        for question in questions():
            ask(question)
    assert judged(account).certainty == "likely"


@pytest.mark.parametrize("jitter", ["full", "equal", "decorrelated"])
def test_twenty_clients_with_jitter_are_no_herd(account, clock, jitter):
    verdict = herd(account, clock, RetryPolicy(jitter=jitter))
    assert verdict.ok, verdict.render()


def test_twenty_clients_without_are_one(account, clock):
    verdict = herd(account, clock, RetryPolicy(jitter="none"))
    assert verdict.codes == ("lockstep",), verdict.render()


def herd(account, clock, policy):
    """Twenty clients that live at the same time: each begins when the first began, and fails twice."""
    account.on(attempt=[1, 2]).fail(500, times="forever")
    for number in range(20):
        clock.now = clock.START + number * 0.0005
        with Client(
            base_url=account.url,
            credentials=account.credentials,
            dialect="v2",
            clock=clock,
            retry=policy,
            random=Random(number),
        ) as client:
            client.chat(f"q{number}")
    clock.now = clock.START + 100
    return account.verdict()


def test_a_client_that_speaks_v1_with_its_own_retries(account, asleep):
    """Two hundred lines of somebody's own code, in twenty."""
    random = Random(6)

    def token():
        keys = account.credentials
        query = {"grant_type": "client_credentials", "client_id": keys.ak, "client_secret": keys.sk}
        return requests.post(f"{account.url}/oauth/2.0/token", params=query, timeout=10).json()["access_token"]

    def ask(question):
        for attempt in range(1, 5):
            answer = requests.post(
                f"{account.url}{V1_PREFIX}/chat/completions",
                params={"access_token": held[0]},
                json={"messages": [{"role": "user", "content": question}]},
                timeout=10,
            ).json()
            if answer.get("error_code") in {110, 111}:
                held[0] = token()
            elif "error_code" in answer:
                asleep.sleep(random.uniform(0.0, 0.5 * 2**attempt))
            else:
                return

    held = [token()]
    busy(account)
    for question in questions():
        account.expire_tokens()
        ask(question)
    judged(account)
