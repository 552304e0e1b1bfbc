"""Setting a client up: from arguments, from the environment, and what is refused."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import textwrap

import pytest
import requests
from scripted_server import TEXT_GENERATION_OK, V2_OK, answer

import qfkit
import qfkit.client
from qfkit.client import Client, ConfigurationError, Credentials
from qfkit.client.auth import SCHEMES
from qfkit.client.credentials import is_real_host

TG = {"QIANFAN_ACCESS_KEY": "ALTAK1", "QIANFAN_SECRET_KEY": "secret"}
V1 = {"QIANFAN_AK": "ak", "QIANFAN_SK": "sk"}
V2 = {"QIANFAN_BEARER_TOKEN": "bce-v3/x"}


def described(client):
    with client:
        return client.dialect, client.base_url, repr(client).partition("auth='")[2].partition("'")[0]


@pytest.mark.parametrize(
    ("environ", "overrides", "result"),
    [
        (TG, {}, ("text_generation", "https://aip.baidubce.com", "hmac")),
        (V1, {}, ("v1", "https://aip.baidubce.com", "access_token")),
        ({"QIANFAN_ACCESS_TOKEN": "t"}, {}, ("v1", "https://aip.baidubce.com", "access_token")),
        (V2, {}, ("v2", "https://qianfan.baidubce.com", "bearer")),
        (TG | V1 | V2, {}, ("text_generation", "https://aip.baidubce.com", "hmac")),
        (V1 | V2, {}, ("v1", "https://aip.baidubce.com", "access_token")),
        (TG | V1 | V2, {"dialect": "v2"}, ("v2", "https://qianfan.baidubce.com", "bearer")),
        (TG, {"dialect": "v1"}, ("v1", "https://aip.baidubce.com", "bce-auth-v1")),
        (TG, {"dialect": "v2"}, ("v2", "https://qianfan.baidubce.com", "bearer")),
        (TG | V1, {"dialect": "v1", "auth": "bce-auth-v1"}, ("v1", "https://aip.baidubce.com", "bce-auth-v1")),
        (TG | {"QIANFAN_BASE_URL": "http://127.0.0.1:9/"}, {}, ("text_generation", "http://127.0.0.1:9", "hmac")),
        (V1 | {"QIANFAN_BASE_URL": "http://127.0.0.1:9"}, {}, ("v1", "http://127.0.0.1:9", "access_token")),
        (V2 | {"QIANFAN_BASE_URL": "http://127.0.0.1:9"}, {}, ("v2", "https://qianfan.baidubce.com", "bearer")),
        (V2 | {"QIANFAN_CONSOLE_API_BASE_URL": "http://127.0.0.1:9"}, {}, ("v2", "http://127.0.0.1:9", "bearer")),
        (TG | {"QIANFAN_BASE_URL": "http://a"}, {"base_url": "http://b"}, ("text_generation", "http://b", "hmac")),
        (TG, {"base_url": None, "dialect": None}, ("text_generation", "https://aip.baidubce.com", "hmac")),
        ({}, {"credentials": Credentials(bearer_token="x")}, ("v2", "https://qianfan.baidubce.com", "bearer")),
        (
            {"QIANFAN_ACCESS_KEY": " ALTAK1\n", "QIANFAN_SECRET_KEY": "s"},
            {},
            ("text_generation", "https://aip.baidubce.com", "hmac"),
        ),
    ],
)
def test_from_env(environ, overrides, result):
    assert described(Client.from_env(environ, **overrides)) == result


def test_from_env_reads_the_processs_own(monkeypatch):
    for name, value in TG.items():
        monkeypatch.setenv(name, value)
    assert described(Client.from_env())[2] == "hmac"


@pytest.mark.parametrize(
    ("environ", "overrides", "told"),
    [
        ({}, {}, ["QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY", "QIANFAN_AK and QIANFAN_SK", "QIANFAN_BEARER_TOKEN"]),
        ({"QIANFAN_AK": "a"}, {}, ["sk (QIANFAN_SK) is missing beside its partner"]),
        ({"QIANFAN_SECRET_KEY": "a"}, {}, ["access_key (QIANFAN_ACCESS_KEY) is missing"]),
        (V1, {"dialect": "text_generation"}, ["QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY"]),
        (V2, {"dialect": "v1"}, ["QIANFAN_AK and QIANFAN_SK", "QIANFAN_ACCESS_TOKEN", "QIANFAN_ACCESS_KEY"]),
        (V1, {"dialect": "v1", "auth": "bce-auth-v1"}, ["bce-auth-v1 lacks its keys"]),
        (V1, {"dialect": "v1", "auth": "hmac"}, ["'hmac'; it has access_token, bce-auth-v1"]),
        (V1, {"dialect": "v3"}, ["text_generation, v1, v2; got 'v3'"]),
        (TG, {"base_url": "127.0.0.1:80"}, ["scheme and host"]),
        (TG | {"QIANFAN_BASE_URL": "ftp://x"}, {}, ["scheme and host"]),
        (TG | {"QIANFAN_IAM_BASE_URL": "x"}, {}, ["scheme and host"]),
        (TG, {"timeout": 0}, ["timeout is seconds"]),
        ({"QIANFAN_BEARER_TOKEN": "two words"}, {}, ["bearer_token (QIANFAN_BEARER_TOKEN)", "printable ASCII"]),
        (TG | {"QIANFAN_ACCESS_KEY": "a/b"}, {}, ["access_key (QIANFAN_ACCESS_KEY)"]),
        ({"QIANFAN_AK": "\udce4", "QIANFAN_SK": "s"}, {}, ["ak (QIANFAN_AK) is not text"]),
    ],
)
def test_from_env_says_what_is_missing_or_wrong(environ, overrides, told):
    with pytest.raises(ConfigurationError) as caught:
        Client.from_env(environ, **overrides)
    for words in told:
        assert words in str(caught.value)


def test_app_id_and_iam_host_come_from_the_environment(server):
    environ = TG | {
        "QIANFAN_CONSOLE_API_BASE_URL": server.url,
        "QIANFAN_IAM_BASE_URL": f"{server.url}/iam",
        "QIANFAN_APP_ID": "app-1",
    }
    server.play(answer({"token": "t"}), answer(V2_OK))
    with Client.from_env(environ, dialect="v2") as client:
        client.chat("hi")
    assert server.requests[0].path == "/iam/v1/BCE-BEARER/token"
    assert server.requests[1].header("appid") == "app-1"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v2", "http://127.0.0.1:9/v2/", "http://127.0.0.1:9"])
def test_the_v2_of_openai_clients_may_stay(url):
    with Client(url, Credentials(bearer_token="t"), "v2") as client:
        assert client.base_url == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "url", ["", "x", "http://", "http://u:p@h", "http://h?q=1", "http://h#f", "http://h:port", "http://h:0", 7, b"x"]
)
def test_a_base_url_that_is_none_is_refused(url):
    with pytest.raises(ConfigurationError, match="a base URL is scheme and host") as caught:
        Client(url, Credentials(bearer_token="t"), "v2")
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, None, float("inf"), float("nan"), (5,), (5, None), (1, 2, 3), "5"])
def test_there_is_always_a_timeout(timeout):
    with pytest.raises(ConfigurationError, match="timeout is seconds"):
        Client("http://h", Credentials(bearer_token="t"), "v2", timeout=timeout)


def test_a_dialect_that_there_is_not_is_refused():
    with pytest.raises(ConfigurationError, match="text_generation, v1, v2; got 'v3'"):
        Client("http://h", Credentials(bearer_token="t"), "v3")  # type: ignore[arg-type]


def test_a_session_whose_headers_cannot_be_sent_is_the_callers_matter(server, connect):
    with requests.Session() as session:
        session.headers["X-Team"] = "blue\nred"
        with pytest.raises(ConfigurationError, match=r"requests refuses to send this \(InvalidHeader\)"):
            connect(session=session).chat("hi")


def test_without_keys_nothing_starts():
    with pytest.raises(ConfigurationError, match="QIANFAN_ACCESS_KEY"):
        Client("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("url", "real"),
    [
        ("https://aip.baidubce.com", True),
        ("https://QIANFAN.baidubce.com./x", True),
        ("http://iam.bj.baidubce.com:80", True),
        ("https://baidubce.com", True),
        ("http://127.0.0.1:80", False),
        ("http://notbaidubce.com", False),
        ("http://baidubce.com.example.org", False),
        ("nonsense", False),
    ],
)
def test_which_hosts_are_real(url, real):
    assert is_real_host(url) is real


def test_a_closed_client_says_so(connect):
    client = connect()
    client.close()
    client.close()
    with pytest.raises(ConfigurationError, match="closed"):
        client.chat("hi")


def test_a_model_for_text_generation_is_not_sent_and_said_so(server, connect, caplog):
    server.play(answer(TEXT_GENERATION_OK))
    connect().chat("hi", model="ernie-4.0-8k")
    assert server.requests[0].json == {"messages": [{"role": "user", "content": "hi"}]}
    assert "model='ernie-4.0-8k' is not sent" in caplog.text


def test_every_scheme_of_the_design_is_there():
    assert {scheme for schemes in SCHEMES.values() for scheme in schemes} == {
        "hmac",
        "access_token",
        "bce-auth-v1",
        "bearer",
    }


# The public face


def run(code):
    # -S -E would hide the package; a plain interpreter is what a downstream project has.
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )


def test_importing_qfkit_costs_nothing():
    result = run(
        """
        import sys
        import qfkit
        from qfkit import Credentials, Usage, Chunk
        heavy = {"requests", "urllib3", "tenacity", "qfkit.client", "flask", "click", "importlib.metadata"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        from qfkit import Client
        assert "requests" in sys.modules
        """
    )
    assert result.returncode == 0, result.stderr


def test_all_names_exactly_what_is_there():
    for module in (qfkit, qfkit.client):
        assert sorted(module.__all__, key=str.lower) == sorted(set(module.__all__), key=str.lower)
        for name in module.__all__:
            assert getattr(module, name) is not None
        assert set(module.__all__) <= set(dir(module))
    assert set(qfkit.__all__) == {*qfkit.client.__all__, "__version__"}
    for name in qfkit.client.__all__:
        assert getattr(qfkit, name) is getattr(qfkit.client, name)


def test_version_is_the_distributions():
    assert qfkit.__version__ == importlib.metadata.version("qfkit")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'qfkit' has no attribute 'Cleint'"):
        qfkit.Cleint  # noqa: B018


def test_star_import_gives_the_public_names():
    result = run("from qfkit import *; assert Client and RetryPolicy and __version__")
    assert result.returncode == 0, result.stderr
