"""What users of requests expect: proxies, certificates, sessions, adapters, hooks, threads, `with`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.adapters import HTTPAdapter
from scripted_server import OK, TEXT_GENERATION_OK, V2_OK, ScriptedServer, answer, drop, stream, v2_event

from mock_server import MockServer
from qfkit.client import Client, ConfigurationError, ConnectionFailed, RetryPolicy

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")
TOWARDS = "http://qianfan.invalid"  # no such host: only a proxy can answer for it


@pytest.fixture
def clean(monkeypatch):
    for variable in PROXIES:
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch


@pytest.fixture
def proxy():
    """Answers in place of whatever host it is asked for, as a forward proxy does for http."""
    server = ScriptedServer()
    server.otherwise = answer(TEXT_GENERATION_OK)
    yield server
    server.close()


def test_a_proxy_of_the_environment(clean, proxy, connect):
    clean.setenv("http_proxy", proxy.url)
    assert connect(base_url=TOWARDS).chat("hi").text == "你好"
    assert proxy.requests[0].target.startswith(f"{TOWARDS}/rpc/2.0/")
    assert proxy.requests[0].header("Host") == "qianfan.invalid"


def test_no_proxy_of_the_environment(clean, proxy, server, connect):
    clean.setenv("http_proxy", proxy.url)
    clean.setenv("no_proxy", "127.0.0.1")
    server.otherwise = answer(TEXT_GENERATION_OK)
    connect().chat("hi")
    assert (len(proxy.requests), len(server.requests)) == (0, 1)


def test_a_proxy_of_the_session(clean, proxy, connect):
    with requests.Session() as session:
        session.proxies = {"http": proxy.url}
        assert connect(base_url=TOWARDS, session=session).chat("hi").text == "你好"
    assert len(proxy.requests) == 1


def test_a_session_that_trusts_no_environment(clean, proxy, server, connect):
    clean.setenv("http_proxy", proxy.url)
    server.otherwise = answer(TEXT_GENERATION_OK)
    with requests.Session() as session:
        session.trust_env = False
        connect(session=session).chat("hi")
    assert (len(proxy.requests), len(server.requests)) == (0, 1)


def test_a_stream_through_a_proxy(clean, proxy, connect):
    proxy.otherwise = stream(v2_event({"content": "你"}), v2_event({"content": "好"}, "stop"), b"data: [DONE]\n\n")
    clean.setenv("http_proxy", proxy.url)
    assert connect("v2", base_url=TOWARDS).stream("hi").reply().text == "你好"


def test_a_proxy_that_is_down_is_a_failed_connection_and_hides_its_password(clean, connect):
    clean.setenv("http_proxy", "http://user:hunter2@127.0.0.1:1")
    with pytest.raises(ConnectionFailed) as caught:
        connect(base_url=TOWARDS, retry=RetryPolicy(attempts=1)).chat("hi")
    assert "hunter2" not in f"{caught.value}{caught.value.attempts}"


# verify: a certificate authority of one's own


@pytest.fixture(scope="module")
def https():
    """Where it is, the file of the authority that vouches for it, and keys."""
    pytest.importorskip("trustme", reason="NOT TESTED: no trustme (pip install 'qfkit[server]')")
    with MockServer(tls=True) as server:
        yield server.url, str(server.ca_file), server.account().credentials


def test_https_without_its_authority_fails_once_and_says_why(https, clean):
    url, _, keys = https
    with Client(url, keys) as client, pytest.raises(ConnectionFailed, match="certificate verify failed") as caught:
        client.chat("hi")
    assert len(caught.value.attempts) == 1  # no certificate grows valid by waiting


@pytest.mark.parametrize("how", ["session", "environment"])
def test_https_with_its_authority(https, clean, how):
    url, authority, keys = https
    with requests.Session() as session:
        if how == "session":
            session.verify = authority
        else:
            clean.setenv("REQUESTS_CA_BUNDLE", authority)
        with Client(url, keys, session=session if how == "session" else None) as client:
            assert client.chat("hi").text


# Sessions


def test_a_session_keeps_its_headers_hooks_and_adapters(server, connect):
    class Counting(HTTPAdapter):
        sent = 0

        def send(self, *arguments, **more):
            Counting.sent += 1
            return super().send(*arguments, **more)

    statuses = []
    server.play(drop)
    server.otherwise = answer(V2_OK)
    with requests.Session() as session:
        session.mount("http://", Counting())
        session.headers["X-Team"] = "blue"
        session.hooks["response"].append(lambda response, **_: statuses.append(response.status_code))
        client = connect("v2", session=session)
        client.chat("hi")
        client.close()
        assert (Counting.sent, statuses) == (2, [200])
        assert server.requests[-1].header("X-Team") == "blue"
        assert session.get(server.url, timeout=5).status_code == 200  # still its owner's


def test_connections_are_kept_and_given_back(server, connect):
    server.otherwise = answer(V2_OK)
    client = connect("v2")
    for _ in range(5):
        client.chat("hi")
    assert server.connections == 1


# Threads and blocks


@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
def test_one_client_serves_many_threads(server, connect, only, dialect):
    server.otherwise = answer(OK[dialect])
    keys = only("bearer_token") if dialect == "v2" else only("access_key", "secret_key")
    client = connect(dialect, keys)
    together = threading.Barrier(16)

    def ask(number):
        together.wait(20)
        return [client.chat(f"{number}-{turn}").text for turn in range(5)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    assert answers == [["你好"] * 5] * 16
    said = sorted(request.json["messages"][-1]["content"] for request in server.requests)
    assert said == sorted(f"{number}-{turn}" for number in range(16) for turn in range(5))
    if dialect == "text_generation":
        assert len({request.header("X-Bce-Nonce") for request in server.requests}) == 80


def test_leaving_the_block_closes_connections_also_after_a_failure(server, keys):
    closed = threading.Event()

    def wait_for_close(exchange):
        answer(V2_OK)(exchange)
        if exchange.peer_closed():
            closed.set()
        exchange.hang_up()

    server.play(wait_for_close)
    client = Client(server.url, keys, "v2")

    def fail_inside():
        with client:
            client.chat("hi")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert closed.wait(20)
    with pytest.raises(ConfigurationError, match="closed"):
        client.chat("hi")
