"""Interception: code with the real hosts written into it lands on the mock, and nothing else changes."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from pathlib import Path

import pytest
import requests

from mock_server import MockServer
from mock_server.tls import Authority
from qfkit.testing.intercept import HOSTS, intercept
from qfkit.testing.network import NETWORK

CONTRACT = Path(__file__).parent.parent / "contract"

QUESTION = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]}


@pytest.fixture(scope="module")
def server():
    with MockServer() as server:
        yield server


@pytest.fixture
def account(server):
    return server.account().reply("好", times="forever")


def headers(account):
    return {"Authorization": f"Bearer {account.credentials.bearer_token}"}


def ask(account, url="https://qianfan.baidubce.com/v2/chat/completions", **options):
    return requests.post(url, json=QUESTION, headers=headers(account), timeout=10, **options)


# Promises, as a downstream project meets them


def test_the_tutorials_program_runs_word_for_word(pytester: pytest.Pytester):
    pytester.makepyfile(
        tutorial_client=(CONTRACT / "tutorial_client.py").read_text("utf-8"),
        test_it="""
        import tutorial_client

        def test_it(qianfan_intercept, qianfan_mock, capsys):
            assert tutorial_client.BASE_URL == "https://aip.baidubce.com"
            keys = qianfan_mock.credentials.access_key, qianfan_mock.credentials.secret_key
            qianfan_mock.reply("一").stream(["二", "三"]).reply("四", times=3)
            assert tutorial_client.call_text_generation(*keys, "?") == "一"
            assert "".join(tutorial_client.stream_response(*keys, "?")) == "二三"
            assert tutorial_client.concurrent_call(*keys, ["a", "b", "c"]) == ["四"] * 3
            assert len(qianfan_mock.requests) == 5
            assert {entry.signature.form for entry in qianfan_mock.requests} == {"A/url"}
        """,
    )
    pytester.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=1)


HARD_CODED = """
    import pytest
    import tutorial_client

    def program():  # its keys are its own
        return tutorial_client.call_text_generation("my-access-key", "my-secret-key", "?")
"""


def test_keys_written_into_the_code_are_let_in_test_after_test(pytester: pytest.Pytester):
    pytester.makepyfile(
        tutorial_client=(CONTRACT / "tutorial_client.py").read_text("utf-8"),
        test_it=HARD_CODED
        + """
    def test_use(qianfan_intercept, qianfan_mock):
        before = qianfan_mock.credentials
        qianfan_intercept.use(access_key="my-access-key", secret_key="my-secret-key")
        qianfan_mock.reply("好")
        assert program() == "好"
        assert qianfan_mock.requests[0].findings == ("nonce-unsigned",)
        assert qianfan_mock.credentials.bearer_token == before.bearer_token

    @pytest.mark.qianfan(keys={"access_key": "my-access-key", "secret_key": "my-secret-key"})
    @pytest.mark.parametrize("again", [1, 2])
    def test_marker(qianfan_intercept, again):
        assert program()
        assert len(qianfan_intercept.requests) == 1
        """,
    )
    pytester.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=3)


def test_keys_that_nobody_has_are_told_in_the_report(pytester: pytest.Pytester):
    pytester.makepyfile(
        tutorial_client=(CONTRACT / "tutorial_client.py").read_text("utf-8"),
        test_it=HARD_CODED
        + """
    def test_it(qianfan_intercept):
        assert program()
        """,
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*what the mock Qianfan saw*", "of no account: #* POST /rpc/2.0/*my-a*key*"])


def test_a_second_interception_is_refused(pytester: pytest.Pytester):
    pytester.makepyfile("""
        from qfkit.testing.intercept import intercept

        def test_it(qianfan_intercept, qianfan_server, qianfan_mock):
            with intercept(qianfan_server, qianfan_mock):
                pass
    """)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*RuntimeError: an interception is on already*end one intercept(*"])


def test_half_a_pair_of_keys_is_refused(pytester: pytest.Pytester):
    pytester.makepyfile("""
        import pytest

        @pytest.mark.qianfan(keys={"access_key": "a"})
        def test_it(qianfan_intercept):
            pass
    """)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*use(access_key=...) needs secret_key= as well*"])


# Clients


@pytest.mark.parametrize("host", HOSTS)
def test_requests(server, account, host):
    with intercept(server, account) as interception:
        answer = ask(account, f"https://{host}/v2/chat/completions")
    assert answer.json()["choices"][0]["message"]["content"] == "好"
    assert [entry.path for entry in interception.requests] == ["/v2/chat/completions"]


def test_plain_http(server, account):
    with intercept(server, account):
        assert ask(account, "http://qianfan.baidubce.com/v2/chat/completions").status_code == 200


def test_urllib3(server, account):
    import urllib3

    with intercept(server, account), urllib3.PoolManager() as pool:
        answer = pool.request(
            "POST", "https://qianfan.baidubce.com/v2/chat/completions", json=QUESTION, headers=headers(account)
        )
        assert answer.status == 200


def test_http_client(server, account):
    import urllib.request

    with intercept(server, account):
        asked = urllib.request.Request("https://qianfan.baidubce.com/v2/models", headers=headers(account))
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_httpx_made_before_it(server, account, library):
    httpx = pytest.importorskip(library)
    with httpx.Client() as client, intercept(server, account):
        answer = client.post(
            "https://qianfan.baidubce.com/v2/chat/completions", json=QUESTION, headers=headers(account)
        )
        assert answer.status_code == 200


LOOPS = ["asyncio"] if sys.platform == "win32" else ["asyncio", "uvloop"]


def run(loop, coroutine):
    import asyncio

    if loop == "asyncio":
        return asyncio.run(coroutine)
    uvloop = pytest.importorskip("uvloop")
    made = uvloop.new_event_loop()
    try:
        return made.run_until_complete(coroutine)
    finally:
        made.run_until_complete(made.shutdown_asyncgens())
        made.run_until_complete(made.shutdown_default_executor())
        made.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_async_httpx(server, account, loop):
    import httpx

    async def program():
        async with httpx.AsyncClient() as client:
            return await client.post(
                "https://qianfan.baidubce.com/v2/chat/completions", json=QUESTION, headers=headers(account)
            )

    with intercept(server, account):
        assert run(loop, program()).status_code == 200


@pytest.mark.parametrize("loop", LOOPS)
def test_aiohttp(server, account, loop):
    aiohttp = pytest.importorskip("aiohttp")

    async def program():
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                "https://qianfan.baidubce.com/v2/chat/completions", json=QUESTION, headers=headers(account)
            ) as answer,
        ):
            return answer.status

    with intercept(server, account):
        assert run(loop, program()) == 200


@pytest.mark.parametrize("loop", LOOPS)
def test_streams_of_asyncio(server, account, loop):
    import asyncio

    async def program():
        reader, writer = await asyncio.open_connection("aip.baidubce.com", 443, ssl=ssl.create_default_context())
        writer.write(b"GET / HTTP/1.1\r\nHost: aip.baidubce.com\r\nConnection: close\r\n\r\n")
        line = await reader.readline()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        return line

    with intercept(server, account):
        assert run(loop, program()).startswith(b"HTTP/1.1 ")


def test_openai(server, account):
    openai = pytest.importorskip("openai")
    with (
        intercept(server, account),
        openai.OpenAI(
            base_url="https://qianfan.baidubce.com/v2", api_key=account.credentials.bearer_token, max_retries=0
        ) as client,
    ):
        reply = client.chat.completions.create(model="ernie-4.0-8k", messages=QUESTION["messages"])
    assert reply.choices[0].message.content == "好"


def test_the_official_sdk_without_a_word_of_configuration(pytester: pytest.Pytester):
    pytest.importorskip("qianfan")
    pytester.makepyfile("""
        def test_it(qianfan_intercept, qianfan_mock, monkeypatch):
            import qianfan

            monkeypatch.setenv("QIANFAN_DISABLE_CACHE", "true")
            keys = qianfan_mock.credentials
            qianfan.AK(keys.ak)
            qianfan.SK(keys.sk)
            qianfan_mock.reply("好")
            assert qianfan.ChatCompletion().do([{"role": "user", "content": "?"}])["result"] == "好"
            assert qianfan_mock.requests[-1].dialect == "v1"
    """)
    pytester.runpytest_subprocess("-W", "ignore").assert_outcomes(passed=1)  # the SDK keeps its keys with the process


# Certificates


def test_certificates_are_checked(server, account, monkeypatch):
    other = Authority().pem
    monkeypatch.setattr(Authority, "pem", property(lambda _self: other))  # signed by one, checked against another
    with intercept(server, account), pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(account)
    assert len(account.requests) == 0


def test_so_is_the_name(server, account, monkeypatch):
    full = Authority.context
    monkeypatch.setattr(Authority, "context", lambda self, *_names: full(self))
    with (
        intercept(server, account, hosts=["gateway.example.com"]),
        pytest.raises(requests.exceptions.SSLError, match=r"gateway\.example\.com"),
    ):
        ask(account, "https://gateway.example.com/v2/chat/completions")


def test_who_does_not_check_is_left_to_it(server, account):
    import urllib3

    with intercept(server, account), pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        assert ask(account, verify=False).status_code == 200


def test_the_programs_context_trusts_nobody_new(server, account):
    context = ssl.create_default_context()
    before = context.cert_store_stats()
    with intercept(server, account), socket.create_connection(("aip.baidubce.com", 443)) as plain:
        with context.wrap_socket(plain, server_hostname="aip.baidubce.com") as secure:
            assert secure.getpeercert()["subjectAltName"]
        assert context.cert_store_stats() == before


# Edges


def test_more_hosts(server, account):
    with intercept(server, account, hosts=["Gateway.Example.com."]):
        assert ask(account, "https://gateway.example.com/v2/chat/completions").status_code == 200


@pytest.mark.parametrize("name", ["aip.baidubce.com", "AIP.baidubce.com.", b"aip.baidubce.com"])
def test_a_name_is_known_however_it_is_spelled(server, account, name):
    with intercept(server, account):
        assert socket.getaddrinfo(name, "https")[0][4][1] == 443
        assert socket.gethostbyname("aip.baidubce.com").startswith("127.")


def test_another_port_is_refused_with_the_reason(server, account):
    with (
        intercept(server, account),
        pytest.raises(ConnectionRefusedError, match=r"aip\.baidubce\.com is asked for on port 8443; .*443 .* and 80"),
    ):
        socket.create_connection(("aip.baidubce.com", 8443), timeout=5)


def test_a_proxy_of_the_environment_is_passed_by(server, account, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.com")
    with intercept(server, account):
        assert os.environ["NO_PROXY"].startswith("example.com,aip")
        assert ask(account).status_code == 200
    assert os.environ["NO_PROXY"] == "example.com"
    assert "no_proxy" not in os.environ


def test_other_hosts_are_as_ever(server, account):
    with intercept(server, account):
        assert requests.get(server.url, timeout=10).status_code
        assert socket.getaddrinfo("127.0.0.1", 80)[0][4] == ("127.0.0.1", 80)


def state_of_the_process():
    patched = [
        (socket, "getaddrinfo"),
        (socket, "gethostbyname"),
        (socket.socket, "connect"),
        (socket.socket, "connect_ex"),
        (socket.socket, "sendto"),
        (ssl.SSLContext, "wrap_socket"),
        (ssl.SSLContext, "wrap_bio"),
    ]
    return [(name, name in vars(owner), getattr(owner, name)) for owner, name in patched]


def test_everything_is_put_back(server, account):
    before, environment = state_of_the_process(), dict(os.environ)
    with intercept(server, account):
        assert state_of_the_process() != before
    assert state_of_the_process() == before
    with pytest.raises(ZeroDivisionError), intercept(server, account):
        _ = 1 / 0
    assert state_of_the_process() == before
    assert dict(os.environ) == environment
    assert NETWORK.router is None


def test_keys_of_another_account_are_refused(server, account):
    from mock_server.state import DuplicateCredentials

    other = server.account(access_key="taken", secret_key="s")
    with intercept(server, account) as interception, pytest.raises(DuplicateCredentials):
        interception.use(access_key="taken", secret_key="s")
    server.remove(other)
