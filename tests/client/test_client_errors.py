"""The exceptions: their tree, their words, and which error becomes which."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import ssl

import pytest
import requests
from scripted_server import answer

import qfkit.client
from qfkit.client import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConnectionFailed,
    NotFoundError,
    PermissionDeniedError,
    QianfanError,
    RateLimitError,
    ServerError,
    StreamTruncated,
    TimeoutExceeded,
    exceptions,
)
from qfkit.client.answers import EXCEPTIONS
from qfkit.client.transport import _explain
from qfkit.protocol.errors import KINDS, lookup


def test_the_tree_that_opens_the_module_is_the_tree():
    drawn = {}
    above = []
    for line in inspect.getdoc(exceptions).splitlines():
        if match := re.match(r"((?:│   |    )*)(?:[├└]── )?([A-Z]\w+)\b", line.removeprefix("    ")):
            depth = line.removeprefix("    ").index(match[2]) // 4
            if not line.startswith("    ") or not hasattr(exceptions, match[2]):
                continue
            above = [*above[:depth], match[2]]
            drawn[match[2]] = above[-2] if depth else "Exception"
    real = {
        name: kind.__base__.__name__
        for name, kind in vars(exceptions).items()
        if inspect.isclass(kind) and issubclass(kind, QianfanError)
    }
    assert drawn == real


def test_every_exception_is_public():
    classes = {
        kind.__name__ for kind in vars(exceptions).values() if inspect.isclass(kind) and issubclass(kind, QianfanError)
    }
    assert classes <= set(qfkit.client.__all__)


def test_every_kind_of_error_has_its_exception():
    assert set(EXCEPTIONS) == set(KINDS) - {"unknown"}


@pytest.mark.parametrize(
    "case",
    [
        ("v1", 336003, 200, BadRequestError),
        ("v1", 336007, 200, BadRequestError),
        ("v1", 14, 200, AuthenticationError),
        ("v1", 6, 200, PermissionDeniedError),
        ("v1", 3, 200, NotFoundError),
        ("v1", 17, 200, RateLimitError),
        ("v1", 18, 200, RateLimitError),
        ("v1", 336100, 200, ServerError),
        ("v1", 999999, 200, BadRequestError),
        ("v1", 999999, 503, ServerError),
        ("text_generation", 400, 400, BadRequestError),
        ("text_generation", 401, 401, AuthenticationError),
        ("text_generation", 429, 429, RateLimitError),
        ("text_generation", 500, 500, ServerError),
        ("v2", "invalid_iam_token", 401, AuthenticationError),
        ("v2", "account_overdue", 403, PermissionDeniedError),
        ("v2", "rpm_rate_limit_exceeded", 429, RateLimitError),
        ("v2", "brand_new_code", 403, PermissionDeniedError),
    ],
)
def test_each_error_is_raised_as_what_it_is(server, connect, only, case):
    dialect, code, status, kind = case
    body = {"error": {"code": code, "message": "in its words", "type": "t"}} if dialect == "v2" else None
    server.otherwise = answer(body or {"error_code": code, "error_msg": "in its words"}, status)
    with pytest.raises(kind) as caught:
        connect(dialect, only("bearer_token") if dialect == "v2" else only("access_key", "secret_key")).chat("hi")
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.status, error.message) == (code, status, "in its words")
    text = str(error)
    for said in (dialect, str(code), "in its words", error.spec.meaning.rstrip("."), error.spec.remedy.rstrip(".")):
        assert said in text


@pytest.mark.parametrize("body", [{"error_code": 336003}, {"error_code": 336003, "error_msg": 7}])
def test_an_error_without_words_borrows_the_tables(server, connect, body):
    server.play(answer(body))
    with pytest.raises(BadRequestError) as caught:
        connect("v1").chat("hi")
    assert caught.value.message == lookup("v1", 336003).message


def test_a_certificate_that_does_not_fit_is_not_tried_again():
    error = requests.exceptions.SSLError(ssl.SSLCertVerificationError(1, "certificate verify failed"))
    failure = _explain(error, (5.0, 60.0))
    assert isinstance(failure, ConnectionFailed)
    assert not failure.retryable
    assert "certificate verify failed" in str(failure)


def test_a_connection_that_cannot_be_made_in_time():
    failure = _explain(requests.ConnectTimeout("/x?access_token=24.secret"), (5.0, 60.0))
    assert isinstance(failure, TimeoutExceeded)
    assert str(failure) == "could not connect within 5 s (connect timeout)"


def test_words_on_several_lines_come_out_on_one(server, connect):
    server.play(answer({"error_code": 336003, "error_msg": "one\nINFO forged log line\r\ntwo"}))
    with pytest.raises(BadRequestError) as caught:
        connect("v1").chat("hi")
    assert "\n" not in str(caught.value)
    assert caught.value.message == "one\nINFO forged log line\r\ntwo"


def test_a_gateway_that_speaks_in_headers_only_is_understood(server, connect, only):
    headers = [
        ("X-Bce-Error-Code", "IamSignatureInvalid"),
        ("X-Bce-Error-Message", "IamSignatureInvalid, cause: Could not find credential."),
        ("x-bce-request-id", "6ba7b810-9dad"),
    ]
    server.play(answer(b"", 403, headers))
    with pytest.raises(AuthenticationError) as caught:
        connect("v2", only("access_key", "secret_key")).chat("hi")
    error = caught.value
    assert (error.dialect, error.code, error.request_id) == ("iam", "IamSignatureInvalid", "6ba7b810-9dad")
    assert error.message == "IamSignatureInvalid, cause: Could not find credential."


def test_oauth_says_which_key_is_wrong(server, connect, only):
    server.play(answer({"error_description": "Client authentication failed", "error": "invalid_client"}, 401))
    with pytest.raises(AuthenticationError, match="QIANFAN_SK") as caught:
        connect("v1", only("ak", "sk")).chat("hi")
    assert caught.value.dialect == "oauth"
    assert [attempt.error for attempt in caught.value.attempts] == [
        "oauth error invalid_client (HTTP 401): Client authentication failed"
    ]


def test_the_mocks_diagnosis_is_passed_on(server, connect):
    body = {"error_code": 401, "error_msg": "Authentication failed"}
    server.play(answer(body, 401, [("X-Qfkit-Diagnosis", "the full URL was signed instead of the path")]))
    with pytest.raises(AuthenticationError, match="the full URL was signed instead of the path") as caught:
        connect().chat("hi")
    assert caught.value.diagnosis == "the full URL was signed instead of the path"


def test_exceptions_cross_processes_whole(server, connect):
    server.play(answer({"error_code": 336003, "error_msg": "bad", "id": "as-1"}))
    with pytest.raises(APIError) as caught:
        connect("v1").chat("hi")
    for twin in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert type(twin) is BadRequestError
        assert str(twin) == str(caught.value)
        assert vars(twin) == vars(caught.value)
    truncated = pickle.loads(pickle.dumps(StreamTruncated("cut", text="你", chunks=1)))
    assert (str(truncated), truncated.text, truncated.chunks) == ("cut", "你", 1)


def test_a_spec_is_what_the_table_says(server, connect):
    server.play(answer({"error_code": 17, "error_msg": "Open api daily request limit reached"}))
    with pytest.raises(RateLimitError) as caught:
        connect("v1").chat("hi")
    assert caught.value.spec == lookup("v1", 17)
    assert not caught.value.retryable
