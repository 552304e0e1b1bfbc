"""``qfkit sign``: held to the published vectors, and explaining as a person would want it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from qfkit.cli.sign import command

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
