"""The tutorial's own client, word for word: what its readers run must work, and fail as its error table says."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import requests
import tutorial_client
from contract_helpers import TEXT_GENERATION, inference

CHAT = f"{TEXT_GENERATION}/chat_completions"
STREAM = f"{TEXT_GENERATION}/chat_completions_stream"


@pytest.fixture(autouse=True)
def _only_the_host_changed(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tutorial_client, "BASE_URL", server.url)


@pytest.fixture
def keys(account: Any) -> tuple[str, str]:
    return account.credentials.access_key, account.credentials.secret_key


def signed_as_taught(account: Any, server: Any, *, path: str = CHAT, secret: str | None = None, **payload: Any) -> Any:
    """The same request, for tests that look at the answer itself, which the tutorial's functions throw away."""
    keys, now = account.credentials, str(int(time.time()))
    body = json.dumps(payload)
    url = f"{server.url}{path}"
    signature = tutorial_client.generate_signature(secret or keys.secret_key, "POST", url, body, now)
    headers = {
        "Content-Type": "application/json",
        "X-Bce-Signature": signature,
        "X-Bce-Timestamp": now,
        "X-Bce-Nonce": "12345",
        "X-Bce-AccessKey": keys.access_key,
    }
    return requests.post(url, headers=headers, data=body, timeout=10)


HELLO = {"messages": [{"role": "user", "content": "你好"}]}


def test_chat(account: Any, keys: tuple[str, str]) -> None:
    account.reply("def quick_sort(items): ...")
    assert tutorial_client.call_text_generation(*keys, "用Python写一个快速排序算法") == "def quick_sort(items): ..."
    [entry] = inference(account)
    assert (entry.method, entry.path, entry.dialect, entry.status) == ("POST", CHAT, "text_generation", 200)
    assert entry.json["messages"] == [{"role": "user", "content": "用Python写一个快速排序算法"}]
    assert not entry.error_code


def test_chat_answers_without_a_script(keys: tuple[str, str]) -> None:
    answer = tutorial_client.call_text_generation(*keys, "你好")
    assert isinstance(answer, str)
    assert answer


def test_its_signature_is_accepted_and_its_habits_are_named(account: Any, keys: tuple[str, str]) -> None:
    tutorial_client.call_text_generation(*keys, "你好")
    [entry] = inference(account)
    assert entry.signature.ok
    assert entry.signature.form == "A/url"  # URL for path, no nonce in the string
    assert "nonce-unsigned" in entry.signature.findings


@pytest.mark.parametrize("prompt", ["", "a", "多轮\n换行\t制表", 'quotes " and \\ and </script>', "😀🇨🇳", "x" * 4095])
def test_any_prompt_that_the_tutorial_allows(account: Any, keys: tuple[str, str], prompt: str) -> None:
    # An empty prompt is refused by the service for its content, never for its signature.
    tutorial_client.call_text_generation(*keys, prompt)
    [entry] = inference(account)
    assert entry.signature.ok
    assert entry.status == (200 if prompt else 400)


def test_stream(account: Any, keys: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    account.reply("春眠不觉晓，处处闻啼鸟。")
    pieces = list(tutorial_client.stream_response(*keys, "写一首诗"))
    assert "".join(pieces) == "春眠不觉晓，处处闻啼鸟。"
    assert capsys.readouterr().out == "春眠不觉晓，处处闻啼鸟。"
    [entry] = inference(account)
    assert (entry.path, entry.dialect, entry.status) == (STREAM, "text_generation", 200)
    assert entry.signature.ok


def test_scripted_stream_keeps_its_pieces(account: Any, keys: tuple[str, str]) -> None:
    account.stream(["你", "好", "😀", "世界"])
    pieces = [piece for piece in tutorial_client.stream_response(*keys, "问候") if piece]
    assert pieces == ["你", "好", "😀", "世界"]


def test_stream_is_one_json_object_a_line_when_nobody_asked_for_events(account: Any, server: Any) -> None:
    account.stream(["你", "好"])
    answer = signed_as_taught(account, server, path=STREAM, **HELLO)
    assert answer.status_code == 200
    assert "text/event-stream" not in answer.headers["Content-Type"]
    answer.encoding = "utf-8"
    events = [json.loads(line) for line in answer.text.splitlines() if line]
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events) == "你好"


def test_stream_type_does_not_make_requests_guess_latin_1(account: Any, server: Any) -> None:
    # iter_lines(decode_unicode=True) reads text/* without a charset as Latin-1: 汉 would arrive as three characters.
    account.stream(["汉", "字"])
    assert signed_as_taught(account, server, path=STREAM, **HELLO).encoding in {"utf-8", "UTF-8"}


@pytest.mark.parametrize(
    "piece", ["a\nb", "a\r\nb", "a\u2028b", "a\u2029b", "a\x85b", "a\x0b\x0c\x1c\x1d\x1eb"], ids=ascii
)
def test_no_character_breaks_a_line_of_the_stream(account: Any, keys: tuple[str, str], piece: str) -> None:
    # iter_lines(decode_unicode=True) splits text where str.splitlines() does, which is at more than line feeds.
    account.stream(["前", piece, "后"])
    assert "".join(tutorial_client.stream_response(*keys, "?")) == f"前{piece}后"


def test_thread_pool(account: Any, keys: tuple[str, str]) -> None:
    prompts = [f"问题{number}" for number in range(20)]
    account.reply("好", times=len(prompts))
    assert tutorial_client.concurrent_call(*keys, prompts) == ["好"] * len(prompts)
    entries = inference(account)
    assert sorted(entry.json["messages"][0]["content"] for entry in entries) == sorted(prompts)
    assert all(entry.signature.ok for entry in entries)


def test_equal_nonces_of_different_requests_are_no_replay(account: Any, server: Any) -> None:
    # Five digits: two workers draw the same number soon enough.
    answers = [
        signed_as_taught(account, server, messages=[{"role": "user", "content": text}]) for text in ("一", "二", "三")
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]


def test_the_same_request_twice_is_a_replay(account: Any, server: Any) -> None:
    sent = signed_as_taught(account, server, **HELLO).request
    with requests.Session() as session:
        again = session.send(sent, timeout=10)
    assert again.status_code == 401
    assert inference(account)[-1].signature.reason.name == "REPLAYED"


# 6.1: the table of common error codes, as a reader of it meets them.


def test_401_with_a_wrong_secret_key(account: Any, server: Any, keys: tuple[str, str]) -> None:
    answer = signed_as_taught(account, server, secret="not-the-secret", **HELLO)
    assert answer.status_code == 401
    assert answer.json()["error_code"]
    assert answer.json()["error_msg"]
    assert tutorial_client.call_text_generation(keys[0], "not-the-secret", "你好") == ""
    signature = inference(account)[-1].signature
    assert not signature.ok
    assert signature.reason.name == "MISMATCH"
    assert keys[1] not in f"{signature.message} {signature.expected} {signature.received}"


def test_401_with_an_unknown_api_key(account: Any, keys: tuple[str, str]) -> None:
    account.reply("这句话不属于别人")
    assert tutorial_client.call_text_generation("no-such-key", keys[1], "你好") == ""
    assert inference(account) == []


def test_401_with_a_stale_timestamp(account: Any, server: Any, keys: tuple[str, str]) -> None:
    url, body, stale = f"{server.url}{CHAT}", json.dumps(HELLO), str(int(time.time()) - 3600)
    headers = {
        "Content-Type": "application/json",
        "X-Bce-Signature": tutorial_client.generate_signature(keys[1], "POST", url, body, stale),
        "X-Bce-Timestamp": stale,
        "X-Bce-Nonce": "12345",
        "X-Bce-AccessKey": keys[0],
    }
    assert requests.post(url, headers=headers, data=body, timeout=10).status_code == 401
    assert not inference(account)[-1].signature.ok


def test_429_asks_to_slow_down(account: Any, server: Any, keys: tuple[str, str]) -> None:
    account.fail(429, times=2, retry_after=3)
    answer = signed_as_taught(account, server, **HELLO)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "3"
    assert set(answer.json()) >= {"error_code", "error_msg"}
    assert tutorial_client.call_text_generation(*keys, "你好") == ""
    assert [entry.status for entry in inference(account)] == [429, 429]


@pytest.mark.parametrize("path", [CHAT, STREAM])
def test_429_always_says_when_to_come_back(account: Any, server: Any, path: str) -> None:
    account.fail(429)  # the script names no time: this service sends one all the same (design notes 4)
    assert int(signed_as_taught(account, server, path=path, **HELLO).headers["Retry-After"]) >= 1


@pytest.mark.parametrize("status", [400, 500])
def test_scripted_statuses(account: Any, server: Any, keys: tuple[str, str], status: int) -> None:
    account.fail(status, times=2)
    answer = signed_as_taught(account, server, **HELLO)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("application/json")
    assert set(answer.json()) >= {"error_code", "error_msg"}
    assert tutorial_client.call_text_generation(*keys, "你好") == ""
    assert [entry.status for entry in inference(account)] == [status, status]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"messages": []},
        {"messages": "你好"},
        {"messages": [{"role": "user"}]},
        {**HELLO, "temperature": 5},
        {**HELLO, "temperature": "warm"},
        {**HELLO, "max_tokens": -1},
        {"messages": [{"role": "user", "content": "字" * 4097}]},
    ],
    ids=["nothing", "no-messages", "text-for-list", "no-content", "hot", "text-for-number", "negative", "long-prompt"],
)
def test_400_when_the_body_is_wrong(account: Any, server: Any, payload: dict[str, Any]) -> None:
    answer = signed_as_taught(account, server, **payload)
    assert answer.status_code == 400
    assert set(answer.json()) >= {"error_code", "error_msg"}
    assert inference(account)[-1].signature.ok


def test_a_stream_that_fails_is_a_plain_error(account: Any, server: Any, keys: tuple[str, str]) -> None:
    account.fail(429, times=2)
    answer = signed_as_taught(account, server, path=STREAM, **HELLO)
    assert answer.status_code == 429
    assert answer.json()["error_code"]
    # Its loop finds no choices in the error object and prints nothing.
    assert "".join(tutorial_client.stream_response(*keys, "你好")) == ""


def test_after_a_failure_the_next_call_works(account: Any, keys: tuple[str, str]) -> None:
    account.fail(500).then.reply("好")
    assert tutorial_client.call_text_generation(*keys, "你好") == ""
    assert tutorial_client.call_text_generation(*keys, "你好") == "好"
