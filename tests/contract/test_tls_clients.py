"""Other people's clients over TLS, told to trust the throw-away authority and nothing else."""

from __future__ import annotations

import ssl

import httpx2
import openai
import pytest
import qianfan
import requests

from mock_server import MockServer
from qfkit import Client


@pytest.fixture(scope="module")
def server():
    with MockServer(tls=True) as server:
        yield server


@pytest.fixture
def account(server):
    return server.account().reply("好")


def test_openai(server, account, monkeypatch):
    for name, value in account.env().items():
        monkeypatch.setenv(name, value)
    with openai.OpenAI(max_retries=0) as client:
        reply = client.chat.completions.create(model="ernie-4.0-8k", messages=[{"role": "user", "content": "?"}])
    assert reply.choices[0].message.content == "好"


def test_openai_with_a_context_of_its_own(server, account):
    trusting = httpx2.Client(verify=ssl.create_default_context(cafile=server.ca_file), trust_env=False)
    with openai.OpenAI(
        base_url=f"{server.url}/v2", api_key=account.credentials.bearer_token, http_client=trusting, max_retries=0
    ) as client:
        reply = client.chat.completions.create(model="ernie-4.0-8k", messages=[{"role": "user", "content": "?"}])
    assert reply.choices[0].message.content == "好"


@pytest.mark.parametrize("stream", [False, True])
def test_the_official_sdk(server, account, sdk, monkeypatch, stream):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.ca_file)
    sdk("AK", "SK")
    found = qianfan.ChatCompletion().do([{"role": "user", "content": "?"}], stream=stream, retry_count=1)
    assert "".join(part["result"] for part in (found if stream else [found])) == "好"


@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
def test_the_reference_client(server, account, dialect):
    with requests.Session() as session:
        session.verify = server.ca_file
        with Client(server.url, account.credentials, dialect, session=session) as client:
            assert client.chat("?").text == "好"


def test_who_does_not_trust_it_gets_no_answer(server, account):
    with pytest.raises(requests.exceptions.SSLError):
        requests.post(f"{server.url}/v2/chat/completions", timeout=10)
    assert len(account.requests) == 0
