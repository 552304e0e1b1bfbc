"""What stands on the wire, judged by a stdlib reading of the documents and by Baidu's own signer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import warnings
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import parse_qs

import pytest
import requests
from baidubce.auth.bce_credentials import BceCredentials
from baidubce.auth.bce_v1_signer import sign as baidu_sign
from scripted_server import OK, STREAMS, TEXT_GENERATION_OK, V1_OK, V2_OK, answer, drop, stream

from qfkit.client import ConfigurationError, Credentials, InvalidReply, transport

V1 = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
TG = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"


def hmac_signature(request, secret):
    """Form B over the path, read off section 4 of the design notes."""
    parts = [
        request.method.encode(),
        request.target.encode(),
        request.body,
        request.header("X-Bce-Timestamp").encode(),
        request.header("X-Bce-Nonce").encode(),
    ]
    return base64.b64encode(hmac.new(secret.encode(), b"\n".join(parts), hashlib.sha256).digest()).decode()


def assert_signed_as_baidu_does(request, keys):
    """bce-python-sdk, given the request that arrived, comes to the same signature."""
    prefix, key, timestamp, expiration, signed, signature = request.header("Authorization").split("/")
    assert (prefix, key, timestamp) == ("bce-auth-v1", keys.access_key, "2024-05-01T08:00:00Z")
    assert timestamp == request.header("x-bce-date")
    assert signed == "content-type;host;x-bce-date"
    headers = {name.encode(): value.encode() for name, value in request.headers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's own, on Python 3.12 and newer
        theirs = baidu_sign(
            BceCredentials(keys.access_key, keys.secret_key),
            request.method.encode(),
            request.path.encode(),
            headers,
            {name.encode(): values[0].encode() for name, values in parse_qs(request.query).items()},
            timestamp=1_714_550_400,
            expiration_in_seconds=int(expiration),
            headers_to_sign={name.encode() for name in signed.split(";")},
        ).decode()
    assert signature == theirs.rpartition("/")[2]


@pytest.mark.parametrize("streamed", [False, True])
def test_hmac_signs_form_b_over_the_exact_bytes_and_path(server, connect, keys, streamed):
    server.play(stream(*STREAMS["text_generation"]) if streamed else answer(TEXT_GENERATION_OK))
    client = connect()
    said = client.stream("你好 <&>", temperature=0.7).reply() if streamed else client.chat("你好 <&>", temperature=0.7)
    (request,) = server.requests
    assert said.text == "你好"
    assert request.target == TG + ("_stream" if streamed else "")
    assert request.body == '{"messages":[{"role":"user","content":"你好 <&>"}],"temperature":0.7}'.encode()
    assert request.header("X-Bce-AccessKey") == keys.access_key
    assert request.header("X-Bce-Timestamp") == "1714550400"
    assert request.header("X-Bce-Signature") == hmac_signature(request, keys.secret_key)
    assert request.header("Content-Type") == "application/json"
    assert request.header("Accept") == ("text/event-stream" if streamed else "application/json")
    assert request.header("Authorization") is None


def test_each_attempt_is_signed_afresh(server, connect, clock, keys):
    server.play(answer({"error_code": 500, "error_msg": "busy"}, 500), drop, answer(TEXT_GENERATION_OK))
    connect().chat("你好")
    nonces = {request.header("X-Bce-Nonce") for request in server.requests}
    stamps = [int(request.header("X-Bce-Timestamp")) for request in server.requests]
    assert len(nonces) == 3
    assert stamps == [int(1_714_550_400 + sum(clock.sleeps[:n])) for n in range(3)]
    for request in server.requests:
        assert request.header("X-Bce-Signature") == hmac_signature(request, keys.secret_key)


def test_a_path_in_front_is_signed_as_sent(server, connect, keys):
    server.play(answer(TEXT_GENERATION_OK))
    connect(base_url=f"{server.url}/网关/").chat("hi")
    (request,) = server.requests
    assert request.target == f"/%E7%BD%91%E5%85%B3{TG}"
    assert request.header("X-Bce-Signature") == hmac_signature(request, keys.secret_key)


def test_v1_with_an_iam_pair_signs_as_baidus_own_signer(server, connect, only):
    keys = only("access_key", "secret_key")
    server.play(answer(V1_OK))
    connect("v1", keys, model="ERNIE-4.0-8K").chat("你好", system="你是助手")
    (request,) = server.requests
    assert request.target == f"{V1}/chat/completions_pro"
    assert request.json == {"messages": [{"role": "user", "content": "你好"}], "system": "你是助手"}
    assert request.header("Host") == f"127.0.0.1:{server.port}"
    assert_signed_as_baidu_does(request, keys)


def test_v1_prefers_the_applications_keys_and_can_be_told_not_to(server, connect, keys):
    server.play(answer(V1_OK), answer(V1_OK))
    connect("v1").chat("hi")
    connect("v1", auth="bce-auth-v1").chat("hi")
    first, second = server.requests
    assert parse_qs(first.query) == {"access_token": [keys.access_token]}
    assert first.header("Authorization") is None
    assert second.query == ""
    assert_signed_as_baidu_does(second, keys)


def test_v1_buys_an_access_token_once(server, connect, only, keys):
    server.play(answer({"access_token": "24.new/token+=", "expires_in": 2592000}), answer(V1_OK), answer(V1_OK))
    client = connect("v1", only("ak", "sk"))
    client.chat("one")
    client.chat("two")
    token, one, two = server.requests
    assert (token.method, token.path) == ("POST", "/oauth/2.0/token")
    assert parse_qs(token.query) == {
        "grant_type": ["client_credentials"],
        "client_id": [keys.ak],
        "client_secret": [keys.sk],
    }
    assert token.header("Authorization") is None
    for request in (one, two):
        assert parse_qs(request.query) == {"access_token": ["24.new/token+="]}


def test_v2_sends_a_bearer_token_the_model_and_the_application(server, connect, keys):
    server.play(answer(V2_OK))
    reply = connect("v2", app_id="app-FAKE0001").chat("你好", system="你是助手", model="ernie-4.0-turbo-8k")
    (request,) = server.requests
    assert request.target == "/v2/chat/completions"
    assert request.header("Authorization") == f"Bearer {keys.bearer_token}"
    assert request.header("appid") == "app-FAKE0001"
    assert request.json == {
        "model": "ernie-4.0-turbo-8k",
        "messages": [{"role": "system", "content": "你是助手"}, {"role": "user", "content": "你好"}],
    }
    assert reply.model == "ernie-5.0-thinking-preview"
    assert reply.reasoning == "想一想"


def test_v2_buys_a_bearer_token_with_an_iam_pair(server, connect, only):
    keys = only("access_key", "secret_key")
    token = {
        "userId": "0" * 32,
        "token": "bce-v3/ALTAK-new/token",
        "status": "enable",
        "createTime": "2024-11-27T06:09:57.000Z",
        "expireTime": "2024-11-28T06:09:57.000Z",
    }
    server.play(answer(token), answer(V2_OK))
    connect("v2", keys).chat("你好")
    fetch, chat = server.requests
    assert (fetch.method, fetch.target) == ("GET", "/v1/BCE-BEARER/token?expireInSeconds=43200")
    assert_signed_as_baidu_does(fetch, keys)
    assert chat.header("Authorization") == "Bearer bce-v3/ALTAK-new/token"


def test_iam_can_be_elsewhere(server, connect, only):
    server.play(answer({"token": "t"}), answer(V2_OK))
    connect("v2", only("access_key", "secret_key"), iam_base_url=f"{server.url}/iam").chat("hi")
    assert [request.path for request in server.requests] == ["/iam/v1/BCE-BEARER/token", "/v2/chat/completions"]


@pytest.mark.parametrize(
    ("dialect", "more"),
    [
        ("text_generation", {}),
        ("v1", {"stream": True}),
        ("v2", {"stream": True, "stream_options": {"include_usage": True}, "model": "ernie-3.5-8k"}),
    ],
)
def test_streams_are_asked_for_as_each_dialect_wants(server, connect, dialect, more):
    server.play(stream(*STREAMS[dialect]))
    assert connect(dialect).stream("hi").reply().text == "你好"
    assert server.requests[0].json == {"messages": [{"role": "user", "content": "hi"}], **more}


@pytest.mark.parametrize("as_message", [False, True])
def test_a_system_prompt_reaches_every_dialect(server, connect, as_message):
    for dialect in OK:
        server.play(answer(OK[dialect]))
        if as_message:
            messages = [{"role": "system", "content": "短"}, {"role": "user", "content": "你好"}]
            connect(dialect).chat(messages)
        else:
            connect(dialect).chat("你好", system="短")
    tg, v1, v2 = (request.json for request in server.requests)
    assert tg == {"messages": [{"role": "user", "content": "短\n\n你好"}]}
    assert v1 == {"messages": [{"role": "user", "content": "你好"}], "system": "短"}
    assert v2["messages"] == [{"role": "system", "content": "短"}, {"role": "user", "content": "你好"}]


def test_the_users_messages_are_not_changed(server, connect):
    server.play(answer(TEXT_GENERATION_OK))
    messages = [{"role": "user", "content": "一"}, {"role": "assistant", "content": "二"}]
    connect().chat(messages, system="短")
    assert messages == [{"role": "user", "content": "一"}, {"role": "assistant", "content": "二"}]


def test_none_leaves_a_parameter_out(server, connect):
    server.play(answer(V1_OK))
    connect("v1").chat("hi", temperature=None, top_p=0.5)
    assert server.requests[0].json == {"messages": [{"role": "user", "content": "hi"}], "top_p": 0.5}


def test_a_service_of_ones_own_is_named_by_its_path(server, connect):
    server.play(answer(V1_OK))
    connect("v1", model="/chat/abcd1234_xyz").chat("hi")
    assert server.requests[0].path == f"{V1}/chat/abcd1234_xyz"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("ernie-4.0-8kk", "ernie-4.0-8k"),
        ("bge-large-zh", "embeddings"),
        ("ernie-x1.1", "dialect='v2'"),
        ("/chat/x?y", "without ?"),
    ],
)
def test_a_model_that_v1_cannot_chat_with_is_explained(server, connect, model, told):
    with pytest.raises(ConfigurationError) as caught:
        connect("v1", model=model).chat("hi")
    assert told in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize(
    ("prompt", "params", "told"),
    [
        ("hi", {"stream": True}, "client.stream"),
        ("hi", {"messages": []}, "first argument"),
        ({"role": "user", "content": "hi"}, {}, "list of messages"),
        (["hi"], {}, "list of messages"),
        (7, {}, "list of messages"),
        ("half \ud800", {}, "U+D800"),
        ("hi", {"temperature": float("nan")}, "JSON"),
        ("hi", {"tools": object()}, "JSON"),
        ([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], {"system": "c"}, "two system prompts"),
        ([{"role": "system", "content": ["a"]}], {}, "is a string"),
        ([{"role": "assistant", "content": "a"}], {"system": "c"}, "dialect='v1'"),
    ],
)
def test_arguments_that_make_no_request_are_refused_before_sending(server, connect, prompt, params, told):
    with pytest.raises(ConfigurationError) as caught:
        connect().chat(prompt, **params)
    assert told in str(caught.value)
    assert server.requests == []


def test_netrc_and_cookies_stay_out_of_it(server, connect, keys, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.play(answer(V2_OK, headers=[("Set-Cookie", "BAIDUID=x:FG=1; path=/")]), answer(V2_OK))
    client = connect("v2")
    client.chat("one")
    client.chat("two")
    assert server.requests[1].header("Authorization") == f"Bearer {keys.bearer_token}"
    assert server.requests[1].header("Cookie") is None
    assert server.connections == 1


@pytest.mark.parametrize("dialect", ["text_generation", "v2"])
def test_a_session_of_ones_own_is_used_and_left_open(server, connect, keys, dialect):
    server.play(answer(OK[dialect]), answer(b"plain", kind="text/plain"))
    with requests.Session() as session:
        session.headers["X-Team"] = "blue"
        client = connect(dialect, session=session)
        client.chat("hi")
        client.close()
        assert session.get(server.url).text == "plain"
    assert server.requests[0].header("X-Team") == "blue"
    if dialect == "text_generation":
        assert server.requests[0].header("X-Bce-Signature") == hmac_signature(server.requests[0], keys.secret_key)


def test_the_environments_proxy_is_used(server, connect, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.play(answer(V2_OK), answer(V2_OK))
    client = connect("v2", base_url="http://qianfan.invalid")
    client.chat("one")
    client.chat("two")
    assert {request.target for request in server.requests} == {"http://qianfan.invalid/v2/chat/completions"}


def test_the_user_agent_names_client_and_transport(server, connect, monkeypatch):
    server.otherwise = answer(V2_OK)
    connect("v2").chat("hi")
    assert server.requests[0].header("User-Agent") == f"qfkit/{version('qfkit')} python-requests/{version('requests')}"

    def not_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", not_installed)
    monkeypatch.setattr(transport, "_user_agent", transport._user_agent.__wrapped__)
    connect("v2").chat("hi")
    assert server.requests[1].header("User-Agent").startswith("qfkit python-requests/")


def test_a_redirect_is_not_followed(server, connect):
    server.play(answer(b"", 302, [("Location", "/elsewhere")]))
    with pytest.raises(InvalidReply, match="redirect"):
        connect().chat("hi")
    assert len(server.requests) == 1


def test_what_a_reply_carries(server, connect):
    server.play(answer(V1_OK, headers=[("X-Baidu-Request-Id", "c74a5c8f"), ("X-Ratelimit-Limit-Requests", "300")]))
    reply = connect("v1").chat("你好")
    assert (str(reply), reply.id, reply.finish_reason, reply.model) == (
        "你好",
        "as-1j42wp3555",
        "normal",
        "ernie-3.5-8k",
    )
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (1, 8, 9)
    assert reply.request_id == "c74a5c8f"
    assert reply.headers["x-ratelimit-limit-requests"] == "300"
    assert reply.raw == V1_OK
    (attempt,) = reply.attempts
    assert (attempt.number, attempt.status, attempt.code, attempt.error) == (1, 200, None, None)
    assert (attempt.waited, attempt.wait_reason, attempt.request_id) == (0.0, None, "c74a5c8f")
    assert reply.latency == 0.0


def test_tool_calls_are_as_each_dialect_writes_them(server, connect):
    call = {"name": "paper_search", "thoughts": "…", "arguments": '{"q":"physics"}'}
    tool = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    v2 = json.loads(json.dumps(V2_OK))
    v2["choices"][0]["message"] = {"role": "assistant", "content": "", "tool_calls": [tool]}
    server.play(answer(V1_OK | {"result": "", "function_call": call}), answer(v2))
    assert connect("v1").chat("hi").tool_calls == (call,)
    assert connect("v2").chat("hi").tool_calls == (tool,)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>hello</html>", "'<html>hello</html>'"),
        (b"", "an empty body"),
        (b"[1]", "'[1]'"),
        (b"\xff\xfe\x00", "JSON object"),
        (b'{"unexpected": 1}', "['unexpected']"),
    ],
)
def test_an_answer_of_another_kind_is_not_retried_and_quoted(server, connect, body, told):
    server.play(answer(body))
    with pytest.raises(InvalidReply) as caught:
        connect().chat("hi")
    assert told in str(caught.value)
    assert [attempt.status for attempt in caught.value.attempts] == [200]


def test_credentials_stay_where_they_are(only):
    assert only("ak", "sk") == Credentials(ak="FAKE_API_KEY_0001", sk="FAKE_SECRET_KEY_0001")
