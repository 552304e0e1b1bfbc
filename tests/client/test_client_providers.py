"""Where keys come from, and what happens when they change."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_server import PATIENCE, TEXT_GENERATION_OK, V1_OK, V2_OK, FakeClock, answer

from qfkit.client import AuthenticationError, Client, ConfigurationError, Credentials, KeyFile, SharedTokens
from qfkit.client.providers import KeyRing
from qfkit.protocol.credentials import ENVIRONMENT

OLD = Credentials(access_key="ALTAKold0000000000000000", secret_key="oldoldoldoldoldoldoldoldoldoldol")
NEW = Credentials(access_key="ALTAKnew0000000000000000", secret_key="newnewnewnewnewnewnewnewnewnewne")
UNAUTHORIZED = answer({"error_code": 401, "error_msg": "Authentication failed"}, 401)
OK = answer(TEXT_GENERATION_OK)


class Service:
    """A key service: hands out what it holds, and counts how often it is asked."""

    def __init__(self, keys, max_age=None):
        self.keys = keys
        self.asked = 0
        if max_age is not None:
            self.max_age = max_age

    def __call__(self):
        self.asked += 1
        return self.keys


def signers(server):
    return [request.header("X-Bce-AccessKey") for request in server.requests]


# Files


def key_file(tmp_path, text, mode=0o600):
    path = tmp_path / "keys"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "QIANFAN_ACCESS_KEY=ALTAKold0000000000000000\nQIANFAN_SECRET_KEY=oldoldoldoldoldoldoldoldoldoldol\n",
        (
            "# mine\n\nexport QIANFAN_ACCESS_KEY='ALTAKold0000000000000000'\r\n"
            ' QIANFAN_SECRET_KEY = "oldoldoldoldoldoldoldoldoldoldol" \nOTHER=x'
        ),
        "\ufeff" + json.dumps({"access_key": OLD.access_key, "secret_key": OLD.secret_key, "port": 3}),
        json.dumps({"QIANFAN_ACCESS_KEY": OLD.access_key, "QIANFAN_SECRET_KEY": OLD.secret_key}),
    ],
)
def test_a_key_file_holds_lines_or_json(tmp_path, text):
    assert KeyFile(key_file(tmp_path, text))() == OLD


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622, 0o777])
def test_a_key_file_that_others_can_read_is_refused(tmp_path, mode):
    path = key_file(tmp_path, "QIANFAN_AK=a\n", mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
        KeyFile(path)()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names none of QIANFAN_ACCESS_KEY.*it has nothing"),
        ("KEY=a\n", "it has KEY"),
        ("QIANFAN_AK=a\nverysecret\n", "line 2, is not NAME=value"),
        ("{'access_key': 'verysecret'", "begins as JSON and is none"),
        ("x" * 70_000, "over 65536 bytes"),
    ],
)
def test_a_key_file_that_is_none_teaches_and_keeps_the_secret(tmp_path, text, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        KeyFile(key_file(tmp_path, text))()
    assert "verysecret" not in str(caught.value)
    assert caught.value.__context__ is None or "verysecret" not in repr(caught.value.__context__)


def test_a_key_file_that_is_missing_or_a_folder(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        KeyFile(tmp_path / "none")()
    with pytest.raises(ConfigurationError, match="directory"):
        KeyFile(tmp_path)()


def test_a_key_file_is_read_again_when_it_changes(tmp_path, server, connect):
    server.play(OK, OK)
    path = key_file(tmp_path, json.dumps({"access_key": OLD.access_key, "secret_key": OLD.secret_key}))
    client = connect(credentials=KeyFile(path))
    client.chat("?")
    path.write_text(json.dumps({"access_key": NEW.access_key, "secret_key": NEW.secret_key}))
    os.utime(path, ns=(1, 1))  # also where the file system's clock is coarse
    client.chat("?")
    assert signers(server) == [OLD.access_key, NEW.access_key]


# .env files


def test_a_dotenv_file_stands_in_for_what_the_environment_lacks(tmp_path, monkeypatch):
    file = tmp_path / ".env"
    file.write_text('QIANFAN_ACCESS_KEY="from-file"\nQIANFAN_SECRET_KEY=also\nQIANFAN_BASE_URL=http://127.0.0.1:1\n')
    with Client.from_env({"QIANFAN_ACCESS_KEY": "from-environment"}, dotenv=file) as client:
        assert client.base_url == "http://127.0.0.1:1"
        assert client._auth._access_key == "from-environment"
    monkeypatch.chdir(tmp_path)
    with Client.from_env({}, dotenv=True) as client:
        assert client._auth._access_key == "from-file"
    with Client.from_env({"QIANFAN_DOT_ENV_CONFIG_FILE": str(file)}) as client:
        assert client._auth._access_key == "from-file"


def test_a_dotenv_file_is_read_only_when_asked_for(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("QIANFAN_AK=a\nQIANFAN_SK=b\n")
    monkeypatch.chdir(tmp_path)
    for environ, dotenv in (
        ({}, None),
        ({"QIANFAN_DOT_ENV_CONFIG_FILE": "/nonexistent"}, None),
        ({"QIANFAN_DOT_ENV_CONFIG_FILE": str(tmp_path / ".env")}, False),
    ):
        with pytest.raises(ConfigurationError, match="no complete set of keys"):
            Client.from_env(environ, dotenv=dotenv)
    with pytest.raises(ConfigurationError, match="there is no file nowhere"):
        Client.from_env({}, dotenv="nowhere")


# Rotation


def test_a_provider_is_asked_again_when_its_keys_are_old(server, connect, clock):
    server.play(OK, OK, OK)
    service = Service(OLD, max_age=60)
    client = connect(credentials=service)
    client.chat("?")
    service.keys = NEW
    clock.advance(59)
    client.chat("?")
    clock.advance(1)
    client.chat("?")
    assert signers(server) == [OLD.access_key, OLD.access_key, NEW.access_key]
    assert service.asked == 2


def test_a_refused_key_makes_the_client_ask_once_more(server, connect, clock):
    server.play(UNAUTHORIZED, OK)
    service = Service(OLD)
    client = connect(credentials=service)
    service.keys = NEW
    reply = client.chat("?")
    assert signers(server) == [OLD.access_key, NEW.access_key]
    assert [attempt.wait_reason for attempt in reply.attempts] == [None, "token-refresh"]
    assert (service.asked, clock.sleeps) == (2, [])


def test_the_same_keys_again_are_not_sent_again(server, connect):
    server.play(UNAUTHORIZED)
    service = Service(OLD)
    with pytest.raises(AuthenticationError):
        connect(credentials=service).chat("?")
    assert (len(server.requests), service.asked) == (1, 2)


def test_new_keys_that_are_refused_too_end_it(server, connect):
    server.play(UNAUTHORIZED, UNAUTHORIZED)
    service = Service(OLD)
    client = connect(credentials=service)
    service.keys = NEW
    with pytest.raises(AuthenticationError):
        client.chat("?")
    assert len(server.requests) == 2


def test_keys_that_no_longer_buy_a_token_are_replaced_before_the_request_is_sent(server, connect):
    refused = answer({"error_description": "Client authentication failed", "error": "invalid_client"}, 401)
    bought = answer({"access_token": "24.new", "expires_in": 3600})
    server.play(refused, bought, answer(V1_OK))
    service = Service(Credentials(ak="old-application", sk="old-secret"))
    client = connect("v1", credentials=service)
    service.keys = Credentials(ak="new-application", sk="new-secret")
    client.chat("?")
    assert [request.path.rpartition("/")[2] for request in server.requests] == ["token", "token", "completions"]
    assert "client_id=new-application" in server.requests[1].query
    assert server.requests[2].query == "access_token=24.new"


def test_a_stale_token_is_renewed_before_anybody_asks_for_keys(server, connect):
    stale = answer({"error_code": 111, "error_msg": "Access token expired"})
    tokens = [answer({"access_token": f"24.{n}", "expires_in": 3600}) for n in range(2)]
    server.play(tokens[0], stale, tokens[1], answer(V1_OK))
    service = Service(Credentials(ak="application", sk="secret"))
    connect("v1", credentials=service).chat("?")
    assert service.asked == 1


def test_an_api_key_can_be_replaced(server, connect):
    refused = answer({"error": {"code": "invalid_iam_token", "message": "x", "type": "y"}}, 401)
    server.play(refused, answer(V2_OK))
    service = Service(Credentials(bearer_token="bce-v3/ALTAK-old/1"))
    client = connect("v2", credentials=service)
    service.keys = Credentials(bearer_token="bce-v3/ALTAK-new/2")
    client.chat("?")
    assert [request.header("Authorization") for request in server.requests] == [
        "Bearer bce-v3/ALTAK-old/1",
        "Bearer bce-v3/ALTAK-new/2",
    ]


def test_new_keys_are_struck_out_of_errors_too(server, connect):
    quoting = answer({"error_code": 336003, "error_msg": f"you sent {NEW.secret_key}"}, 400)
    server.play(UNAUTHORIZED, quoting)
    service = Service(OLD)
    client = connect(credentials=service)
    service.keys = NEW
    with pytest.raises(Exception, match="you sent") as caught:
        client.chat("?")
    assert NEW.secret_key not in str(caught.value)


def test_what_a_provider_gets_wrong_is_said(connect):
    def broken():
        raise KeyError("vault")

    with pytest.raises(ConfigurationError, match="failed with KeyError") as caught:
        connect(credentials=broken)
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ConfigurationError, match="returns Credentials; got dict"):
        connect(credentials=dict)
    with pytest.raises(ConfigurationError, match="is a Credentials or a provider of them; got str"):
        connect(credentials="key")


@pytest.mark.parametrize("threads", [2, 16])
def test_however_many_are_refused_the_provider_is_asked_once(threads):
    service = Service(OLD)
    ring = KeyRing(service, FakeClock())
    service.keys = NEW
    together = threading.Barrier(threads)

    def refused(_):
        together.wait(PATIENCE)
        return ring.replace(OLD)

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(refused, range(threads)))
    assert service.asked == 2
    assert ring.current() == NEW


# Tokens shared by clients


def test_clients_that_share_tokens_buy_one(server, connect):
    server.play(answer({"access_token": "24.one", "expires_in": 3600}), answer(V1_OK), answer(V1_OK))
    keys, tokens = Credentials(ak="application", sk="secret"), SharedTokens()
    first, second = (connect("v1", credentials=keys, tokens=tokens) for _ in range(2))
    first.chat("?")
    first.close()
    second.chat("?")
    assert [request.path.rpartition("/")[2] for request in server.requests] == ["token", "completions", "completions"]
    assert repr(tokens) == "<SharedTokens of 1 sets of keys>"


def test_other_keys_or_hosts_get_other_tokens(server, connect):
    tokens, keys = SharedTokens(), Credentials(ak="application", sk="secret")
    for one in (keys, replace(keys, sk="other"), replace(keys, ak="other")):
        connect("v1", credentials=one, tokens=tokens)
    connect("v1", credentials=keys, tokens=tokens, base_url=server.url.replace("127.0.0.1", "localhost"))
    connect("v2", credentials=OLD, tokens=tokens)
    assert repr(tokens) == "<SharedTokens of 5 sets of keys>"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    keys=st.builds(Credentials, **{name: st.text("abcXYZ019-_/.", min_size=12, max_size=40) for name in ENVIRONMENT})
)
def test_no_repr_shows_a_secret(keys, tmp_path):
    path = key_file(tmp_path, json.dumps({name: getattr(keys, name) for name in ENVIRONMENT}))
    tokens = SharedTokens()
    with Client("http://127.0.0.1:1", KeyFile(path), "v1", tokens=tokens) as client:
        shown = repr(client) + repr(KeyFile(path)) + repr(tokens) + repr(client._auth) + repr(keys)
    assert KeyFile(path)() == keys
    assert not [secret for secret in keys.secrets() if secret in shown]
