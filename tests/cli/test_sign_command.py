"""``qfkit sign``: held to the published vectors, and explaining as a person would want it."""

from __future__ import annotations

import json
import shlex
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from qfkit.cli.sign import command
from qfkit.cli.sign_input import UnreadableRequest, read_curl, read_raw, shell_words

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK has escapes and calls that new Pythons warn of; they are not ours to mend
    from baidubce.auth.bce_credentials import BceCredentials
    from baidubce.auth.bce_v1_signer import sign as bce_sign
    from baidubce.utils import get_canonical_time

sys.path.append(str(Path(__file__).parents[1] / "contract"))
import tutorial_client

KEYS = {"QIANFAN_ACCESS_KEY": "ALTAKFAKEACCESSKEY000000", "QIANFAN_SECRET_KEY": "0123456789abcdef0123456789abcdef"}
CHAT = "http://127.0.0.1:8866/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
HMAC = (CHAT, "--body", '{"messages":[]}', "--timestamp", "1714550400", "--nonce", "12345")
BCE = ("--scheme", "bce-auth-v1", "--timestamp", "2024-05-01T08:00:00Z")


def sign(*arguments: str, **options) -> Result:
    return CliRunner().invoke(command, arguments, env=KEYS, catch_exceptions=False, **options)


def header(*arguments: str, name: str = "X-Bce-Signature") -> str:
    return json.loads(sign(*arguments, "--json").output)["headers"][name]


def test_the_hmac_string_is_printed_line_by_line():
    assert sign(*HMAC).output.splitlines()[1:6] == [
        "  POST",
        "  /rpc/2.0/ai_custom/v1/text_generation/chat_completions",
        '  {"messages":[]}',
        "  1714550400",
        "  12345",
    ]


def test_a_published_vector_of_bce_auth_v1_comes_out():
    url = "http://aip.baidubce.com/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions"  # TV1 of the wire reference
    extra = ("--expiration", "300", "--header", "Request_id: sdk-py-0.4.12.3-AbCdEfGh12345678")
    assert header(url, *BCE, *extra, name="Authorization").endswith(
        "/content-type;host;request_id;x-bce-date/962438ee4fa43bb068025f2ca3b45e36269967f97594c85d0e9b2a9762d2040d"
    )


@pytest.mark.parametrize("form", ["B/path", "B/url", "A/path", "A/url"])
def test_every_form_is_right_when_explained(form):
    given = header(*HMAC, "--form", form)
    result = sign(*HMAC, "--explain", given)
    assert result.exit_code == 0
    assert form in result.output


def test_what_was_done_differently_is_named_and_marked():
    given = header(CHAT, "--body", '{"messages": []}', *HMAC[3:])
    result = sign(*HMAC, "--explain", given)
    assert result.exit_code == 1
    assert "Cause: body-reserialised" in result.output
    assert "How to fix:" in result.output
    assert KEYS["QIANFAN_SECRET_KEY"] not in result.output
    assert header(*HMAC) not in result.output


def test_the_string_that_was_signed_may_be_given(tmp_path):
    file = tmp_path / "signed.txt"
    file.write_text(f'GET\n{CHAT.removeprefix("http://127.0.0.1:8866")}\n{{"messages":[]}}\n1714550400\n12345')
    result = sign(*HMAC, "--explain", "bm90IGl0", "--given-string", str(file))
    assert result.exit_code == 1
    assert "METHOD" in result.output
    assert "GET" in result.output


def test_a_bce_authorization_is_explained():
    url = "http://aip.baidubce.com/v1/x?b=2&a=1"
    given = header(url, *BCE, name="Authorization")
    assert sign(url, *BCE, "--explain", given).exit_code == 0
    wrong = sign(url.replace("b=2", "b=3"), *BCE, "--explain", given, "--json")
    assert wrong.exit_code == 1
    assert json.loads(wrong.output)["reason"] == "mismatch"


@pytest.mark.parametrize("given", ["", "x", "bce-auth-v1/AK", "bce-auth-v1/a/b/c/d/e", "文"])
def test_garbage_is_explained_not_raised(given):
    assert sign(CHAT, *BCE, "--explain", given).exit_code == 1
    assert sign(*HMAC, "--explain", given).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((CHAT, "--timestamp", "yesterday"), "--timestamp is Unix seconds or UTC"),
        ((CHAT, "--header", "nonsense"), "--header is 'Name: value'"),
        ((CHAT, "--body", "x", "--body-file", "-"), "not both"),
        ((CHAT, "--given-string", "-"), "--given-string goes with --explain"),
        ((CHAT, "--nonce", "two words"), "one word without white space"),
    ],
)
def test_bad_use_is_told(arguments, told):
    result = sign(*arguments, input="")
    assert result.exit_code == 2
    assert told in result.output


# -- whole requests, captured from the wire ---------------------------------------------------------------------------

AK, SK = KEYS["QIANFAN_ACCESS_KEY"], KEYS["QIANFAN_SECRET_KEY"]
Capture = Callable[[Callable[[str], object]], bytes]


@pytest.fixture
def captured() -> Iterator[Capture]:
    """Calls a function with the URL of a listener, and returns the bytes of the request that it then makes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def capture(call: Callable[[str], object]) -> bytes:
            received = bytearray()

            def answer() -> None:
                connection, _ = listener.accept()
                with connection:
                    while not _complete(received):
                        received.extend(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

            thread = threading.Thread(target=answer)
            thread.start()
            call(f"http://127.0.0.1:{listener.getsockname()[1]}")
            thread.join(10)
            return bytes(received)

        yield capture


def _complete(received: bytes) -> bool:
    head, blank, body = bytes(received).partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    return bool(blank) and len(body) >= length


@pytest.fixture
def tutorial(captured: Capture, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A request of the tutorial's own client."""

    def call(url: str) -> None:
        monkeypatch.setattr(tutorial_client, "BASE_URL", url)
        tutorial_client.call_text_generation(AK, SK, "你好")

    return captured(call)


@pytest.fixture
def official(captured: Capture) -> bytes:
    """A request signed by the official SDK's signer."""

    def call(url: str) -> None:
        path, host = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions", url.removeprefix("http://")
        date = get_canonical_time(1714550400).decode()
        headers = {"Host": host, "Content-Type": "application/json", "x-bce-date": date}
        authorization = bce_sign(
            BceCredentials(AK, SK),
            b"POST",
            path.encode(),
            {name.encode(): value for name, value in headers.items()},
            {b"b": "2 x", b"a": "1/2"},
            timestamp=1714550400,
            headers_to_sign=[b"host", b"content-type", b"x-bce-date"],
        ).decode()
        requests.post(
            f"{url}{path}?b=2%20x&a=1%2F2", headers={**headers, "Authorization": authorization}, data=b'{"messages":[]}'
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # utcfromtimestamp in the SDK
        return captured(call)


def explained(data: bytes, *more: str) -> Result:
    return CliRunner().invoke(command, ["--explain", "--request", "-", *more], input=data, env=KEYS)


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@pytest.mark.parametrize("client", ["tutorial", "official"])
def test_a_captured_request_is_right(client, newline, request):
    data = request.getfixturevalue(client)
    head, _, body = data.partition(b"\r\n\r\n")
    # An editor may have put a newline at the end; Content-Length tells that it is none of the body's.
    result = explained(head.replace(b"\r\n", newline) + newline * 2 + body + b"\n")
    assert result.exit_code == 0, result.output
    assert "Signature accepted" in result.output


def test_what_is_wrong_in_a_captured_request_is_named(tutorial, official, tmp_path):
    file = tmp_path / "captured.http"
    file.write_bytes(tutorial.replace(b", ", b",").replace(b"Content-Length", b"X-Old-Length"))
    result = sign("--explain", "--request", str(file), "--json")
    assert (result.exit_code, json.loads(result.output)["cause"]) == (1, "body-reserialised")
    result = explained(official.replace(b"application/json", b"application/json; charset=utf-8"))
    assert result.exit_code == 1
    assert "Cause: content-type-changed" in result.output


def test_a_captured_request_is_judged_at_its_moment_unless_told(official):
    assert explained(official).exit_code == 0
    result = explained(official, "--now")
    assert result.exit_code == 1
    assert "Cause: expired" in result.output


def test_a_time_stamp_in_milliseconds_is_told_whatever_the_moment(tutorial):
    lines = tutorial.split(b"\r\n")
    wrong = [line + b"000" if line.lower().startswith(b"x-bce-timestamp") else line for line in lines]
    assert "Cause: timestamp-in-milliseconds" in explained(b"\r\n".join(wrong)).output


def curl_of(data: bytes) -> str:
    """The curl command that sends the same, as a browser's developer tools copy it."""
    request = read_raw(data)
    words = ["curl", "-X", request.method, f"http://{request.header('host')}{request.target}"]
    for name, value in request.headers:
        words += ["-H", f"{name}: {value}"]
    return shlex.join([*words, "--data-raw", request.body.decode(), "--compressed", "-k", "-s"])


@pytest.mark.parametrize("client", ["tutorial", "official"])
def test_a_curl_command_is_explained(client, request, tmp_path):
    curl = curl_of(request.getfixturevalue(client))
    assert sign("--explain", "--curl", curl).exit_code == 0
    file = tmp_path / "command.sh"
    file.write_text(curl.replace(" -H ", " \\\n  -H "), encoding="utf-8")
    assert sign("--curl", f"@{file}").exit_code == 0
    wrong = sign("--curl", f"@{file}", "--secret-key", "another")
    assert wrong.exit_code == 1
    assert "Cause: wrong-secret" in wrong.output


def test_another_access_key_is_pointed_out(official):
    result = explained(official, "--access-key", "other", "--secret-key", "another", "--json")
    assert f"it names access key {AK}, --access-key is other" in json.loads(result.output)["message"]


H = "-H 'X-Bce-Signature: x'"


@pytest.mark.parametrize(
    ("curl", "method", "target", "body"),
    [
        (f"curl http://h {H}", "GET", "/", b""),
        (f"curl h:80/a?b=1#c {H}", "GET", "/a?b=1", b""),
        (f"curl --url https://h/a -d a=1 -d b=2 {H}", "POST", "/a", b"a=1&b=2"),
        (f"curl -XPUT -d'a' http://h/ {H}", "PUT", "/", b"a"),
        (f"curl -skXPOST http://h/ --data-binary $'\\u4f60\\n\\'\\x41' {H}", "POST", "/", "你\n'A".encode()),
        (
            f"curl -G http://h/?z=0 -d a=1 --data-urlencode 'q=你 好' {H}",
            "GET",
            "/?z=0&a=1&q=%E4%BD%A0%20%E5%A5%BD",
            b"",
        ),
        (f"curl -I http://h/x {H}", "HEAD", "/x", b""),
        (f'curl http://h --json \'{{"a":\' --json "\\"b\\"}}" {H}', "POST", "/", b'{"a":"b"}'),
        (f"/usr/bin/curl \\\r\n http://h -v {H}", "GET", "/", b""),
    ],
)
def test_curl_commands_are_read_as_curl_does(curl, method, target, body):
    request = read_curl(curl)
    assert (request.method, request.target, request.body) == (method, target, body)
    assert request.header("x-bce-signature") == "x"
    assert request.header("host") in {"h", "h:80"}


def test_curl_fills_in_headers_and_reads_files(tmp_path):
    file = tmp_path / "body.json"
    file.write_bytes(b'{\r\n"a": 1}\n')
    assert read_curl(f"curl h -d @{file}").body == b'{"a": 1}'
    assert read_curl(f"curl h --data-binary @{file}").body == b'{\r\n"a": 1}\n'
    sent = read_curl(f"curl h --json @{file} -H 'Accept:' -H 'X-Empty;' -A me")
    assert dict(sent.headers) == {
        "Host": "h",
        "Content-Length": "11",
        "Content-Type": "application/json",
        "X-Empty": "",
        "User-Agent": "me",
    }
    assert read_curl("curl h -d a").header("content-type") == "application/x-www-form-urlencoded"


@settings(max_examples=200)
@given(words=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_words_are_split_as_a_shell_does(words):
    assert [*shell_words(shlex.join(words))] == words


def test_a_backslash_joins_lines():
    assert [*shell_words("cu\\\nrl\\\n -s \\\r\n\t'a\\\nb' \"c\\\nd\" e\\ f''")] == [
        "curl",
        "-s",
        "a\\\nb",
        "cd",
        "e f",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--curl", "curl h --frobnicate"), "curl option --frobnicate is not known here: leave it out"),
        (("--curl", "curl h --data-row x"), "did you mean --data-raw?"),
        (("--curl", "curl h -sZ"), "curl option -Z is not known"),
        (("--curl", "curl h -H"), "-H lacks its value"),
        (("--curl", "curl h -H x"), "is not 'Name: value'"),
        (("--curl", "curl h -H @f"), "headers from a file are not read"),
        (("--curl", "curl h 'x"), "quotation mark that is not closed"),
        (("--curl", "curl h g"), "two URLs"),
        (("--curl", "curl -s"), "has no URL"),
        (("--curl", "curl ftp://h"), "no http:// or https:// URL"),
        (("--curl", "curl h -d @/no/such"), "cannot be read"),
        (("--curl", "wget h"), "begins with 'wget'"),
        (("--curl", "@/no/such"), "cannot be read"),
        (("--curl", "curl h -H 'Authorization: Bearer t'"), "of the kind 'Bearer', which is no signature"),
        (("--curl", "curl h", "--request", "-"), "not both"),
        (("--curl", "curl h", "http://h"), "leave 'http://h' out"),
        (("--curl", "curl h", "--explain", "sig"), "carries its own signature"),
        (("--request", "-"), "the first line is"),
        ((CHAT, "--explain"), "--explain needs the signature, or a request"),
        ((CHAT, "--now"), "--now goes with"),
        ((), "Missing argument 'URL'"),
    ],
)
def test_bad_use_with_a_request_is_told(arguments, told):
    result = sign(*arguments, input="")
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"hello", "not METHOD TARGET"),
        (b"GET x HTTP/1.1\n\n", "begins with a slash or is a full URL"),
        (b"GET / HTTP/1.1\nHost h\n\n", "line 2 is 'Host h'"),
        (b"POST / HTTP/1.1\nContent-Length: 9\n\nabc", "only 3 follow"),
        (b"POST / HTTP/1.1\nContent-Length: x\n\nabc", "not a number of bytes"),
        (b"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\nzz\n", "not with its size in hex"),
        (b"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n5\nab", "ends inside a chunk"),
    ],
)
def test_what_is_no_request_is_told(data, told):
    with pytest.raises(UnreadableRequest, match=told):
        read_raw(data)


def test_captured_requests_of_other_shapes_are_read():
    head = b"POST http://h:1/a?b HTTP/1.1\r\nX: a\r\n b\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = read_raw(head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    assert (request.url, request.body, request.header("x")) == ("http://h:1/a?b", b"abc", "a b")
    assert read_raw(b"GET / HTTP/1.1\nHost: \xe9\n").header("host") == "é"
