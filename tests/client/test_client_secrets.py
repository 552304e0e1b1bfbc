"""No key, token or signature is ever written: not in a log, not in an exception, not in a repr."""

from __future__ import annotations

import json
import logging
import re
import string
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from urllib.parse import quote, quote_plus, urlencode

import pytest
import requests
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_server import FakeClock, ScriptedServer, answer, drop, stream, v1_event

from qfkit.client import Client, Credentials, QianfanError, RetryPolicy, StreamError
from qfkit.client.redaction import redact
from qfkit.client.transport import _explain

#: Long enough not to occur by chance, odd enough to be spelled differently in URLs, JSON and reprs.
secret = st.text(string.ascii_letters + string.digits + "-_.~/+=&%:'\"\\?#@ ", min_size=14, max_size=40).filter(
    lambda text: sum(character.isalnum() for character in text) >= 12 and text == text.strip() and len(set(text)) > 4
)
in_header = st.text(string.ascii_letters + string.digits + "-_.~/+=:", min_size=14, max_size=40).filter(
    lambda text: len(set(text)) > 4
)


@pytest.fixture(scope="module")
def echo() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


def parrot(exchange):
    """Refuse, quoting everything that was sent: line, headers and body."""
    request = exchange.request
    heard = f"{request.method} {request.target} {request.headers} {request.body!r}"
    if "/v2/" in request.path:
        body = {"error": {"code": "internal_error", "message": heard, "type": "t"}, "id": "as-1"}
        return answer(body, 500)(exchange)
    if "oauth" in request.path:
        return answer({"error": "unknown_error", "error_description": heard}, 500)(exchange)
    if "BCE-BEARER" in request.path:
        return answer({"code": "InternalError", "message": heard, "requestId": "r"}, 500)(exchange)
    return answer({"error_code": 336100, "error_msg": heard}, 500)(exchange)


def parrot_page(exchange):
    """The same as a web page."""
    request = exchange.request
    answer(f"<html>{request.headers} {request.target}".encode(), 200, kind="text/html")(exchange)


def parrot_in_the_middle(exchange):
    """The same in the middle of a stream."""
    heard = json.dumps({"error_code": 336100, "error_msg": str(exchange.request)})
    stream(v1_event("你"), b"data: " + heard.encode() + b"\n\n")(exchange)


SERVERS = {"refuses": parrot, "page": parrot_page, "middle": parrot_in_the_middle, "drops": drop}


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter("%(name)s %(message)s").format(record))
        self.lines.append(repr(record.__dict__))


@contextmanager
def everything_logged() -> Iterator[list[str]]:
    root, handler = logging.getLogger(), Collector()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def spellings(value: str) -> set[str]:
    return {value, quote(value), quote(value, ""), quote_plus(value), urlencode({"": value})[1:], repr(value)[1:-1]}


def signatures(server: ScriptedServer) -> set[str]:
    """What signed the requests that arrived."""
    found = set()
    for request in server.requests:
        found.add(request.header("X-Bce-Signature"))
        parts = (request.header("Authorization") or "").split("/")
        found.add(parts[-1] if parts[0] == "bce-auth-v1" else None)
    return found - {None}


def assert_silent(written: str, credentials: Credentials, server: ScriptedServer) -> None:
    for value in credentials.secrets():
        for spelling in spellings(value):
            assert spelling not in written
    for signature in signatures(server):
        assert signature not in written


@pytest.mark.parametrize("how", SERVERS)
@pytest.mark.parametrize("verb", ["chat", "stream"])
@settings(max_examples=15)
@given(data=st.data())
def test_nothing_that_was_given_or_made_is_written(echo, verb, how, data):
    dialect, names = data.draw(
        st.sampled_from(
            [
                ("text_generation", ("access_key", "secret_key")),
                ("v1", ("access_key", "secret_key")),
                ("v1", ("ak", "sk")),
                ("v1", ("access_token", "ak", "sk")),
                ("v1", ("access_token",)),
                ("v2", ("bearer_token",)),
                ("v2", ("access_key", "secret_key")),
                ("v2", ("bearer_token", "access_key", "secret_key")),
            ]
        )
    )
    keys = {name: data.draw(in_header if name == "bearer_token" else secret, label=name) for name in names}
    if "access_key" in keys:
        keys["access_key"] = "ALTAKFAKEACCESSKEY000000"
    credentials = Credentials(**keys)
    echo.requests.clear()
    echo.otherwise = SERVERS[how]
    with everything_logged() as lines:
        client = Client(
            echo.url, credentials, dialect, clock=FakeClock(), random=Random(1), retry=RetryPolicy(attempts=2)
        )
        ask = client.chat if verb == "chat" else lambda prompt: client.stream(prompt).reply()
        with client, pytest.raises(QianfanError) as caught:
            ask("你好 and nothing but the prompt")
    error = caught.value
    written = "\n".join(
        [
            *lines,
            repr(client),
            repr(credentials),
            str(error),
            repr(error),
            repr(error.attempts),
            repr(vars(error)),
            *traceback.format_exception(error),
        ]
    )
    assert len(echo.requests) >= 1
    assert_silent(written, credentials, echo)


@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
@given(value=st.text(min_size=14, max_size=30).filter(lambda text: not text.isascii() or not text.isprintable()))
def test_keys_that_cannot_be_sent_are_refused_without_being_quoted(dialect, value):
    from qfkit.client import ConfigurationError

    name = "bearer_token" if dialect == "v2" else "access_key"
    with everything_logged() as lines, pytest.raises(ConfigurationError) as caught:
        Client("http://127.0.0.1:1", Credentials(**{name: value, "secret_key": "s" * 20}), dialect, auth=None)
    assert value not in "\n".join([*lines, str(caught.value), *traceback.format_exception(caught.value)])


def test_a_port_where_nobody_listens_gives_no_token_away(echo):
    credentials = Credentials(access_token="24.FAKEaccesstoken.2592000.1700000000.282335-1")
    with everything_logged() as lines, Client("http://127.0.0.1:1", credentials, "v1", clock=FakeClock()) as client:
        with pytest.raises(QianfanError) as caught:
            client.chat("hi")
        chained = []
        error: BaseException | None = caught.value
        while error is not None:  # also what a traceback hides but a crash reporter sends
            chained.append(f"{error!r} {vars(error)}")
            error = error.__cause__ or error.__context__
    assert_silent("\n".join([*lines, *chained]), credentials, echo)


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("Max retries exceeded with url: /x?access_token=24.secret"),
        requests.exceptions.InvalidHeader("invalid header value: 'Bearer 24.secret'"),
        requests.exceptions.ChunkedEncodingError("24.secret"),
        requests.exceptions.ContentDecodingError("24.secret"),
        requests.exceptions.SSLError("/x?access_token=24.secret"),
        urllib3.exceptions.ProtocolError("24.secret", ValueError("24.secret")),
        urllib3.exceptions.MaxRetryError(urllib3.HTTPConnectionPool("h"), "/x?access_token=24.secret"),
    ],
)
def test_the_words_of_the_libraries_are_never_quoted(error):
    assert "secret" not in str(_explain(error, (5.0, 60.0)))


def test_a_token_fetched_on_the_way_is_a_secret_too(echo):
    token = "24.boughtaccesstoken.2592000.1700000000.282335-1"

    def serve(exchange):
        if "oauth" in exchange.request.path:
            answer({"access_token": token, "expires_in": 100})(exchange)
        else:
            parrot(exchange)

    echo.otherwise = serve
    with (
        everything_logged() as lines,
        Client(echo.url, Credentials(ak="a" * 20, sk="b" * 20), "v1", clock=FakeClock()) as client,
        pytest.raises(QianfanError) as caught,
    ):
        client.chat("hi")
    assert token not in "\n".join([*lines, str(caught.value), repr(vars(caught.value))])


def test_what_the_log_says(echo):
    body = {"error_code": 18, "error_msg": "Open api qps request limit reached"}
    good = {"result": "好", "id": "as-1", "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}}
    echo.play(answer(body), answer(good))
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record):
            records.append(record)

    handler = Keep()
    logger = logging.getLogger("qfkit")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        with Client(echo.url, Credentials(access_token="t" * 20), "v1", clock=FakeClock(), random=Random(1)) as client:
            client.chat("长" * 60)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    start, retry, success = records
    assert [record.levelname for record in records] == ["DEBUG", "WARNING", "INFO"]
    assert "长" * 50 in start.getMessage()
    assert "长" * 51 not in start.getMessage()
    assert re.fullmatch(r"#\d+ failed, next attempt in 0\.\d{3} s \(backoff\): v1 error 18 .+", retry.getMessage())
    assert re.fullmatch(
        r"#\d+ answered in 0\.\d{3} s, 1 characters, attempts: 2, tokens: 3 in, 5 out", success.getMessage()
    )


def test_the_log_of_a_stream(echo):
    echo.play(stream(v1_event("你"), v1_event("", last=True, number=1)), stream(v1_event("你")))
    with everything_logged() as lines, Client(echo.url, Credentials(access_token="t" * 20), "v1") as client:
        list(client.stream("hi"))
        with pytest.raises(StreamError):
            list(client.stream("hi"))
    ours = [line for line in lines if line.startswith("qfkit.client #")]
    assert "tokens: 5 in, 2 out" in ours[1]
    assert "stream failed in" in ours[3]
    numbers = [line.split()[1] for line in ours]
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]


def test_redaction_takes_the_longest_first_and_leaves_short_values():
    assert redact("abcd abcdefgh a%2Fb%2Fc a/b/c xyz", ["abcd", "abcdefgh", "a/b/c", "xyz"]) == "*** *** *** *** xyz"
