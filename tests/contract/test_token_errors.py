"""Every error of the two services that hand out tokens, through the fetches of the official SDK and of our client.

Wrong keys are refused by the mock itself (`test_qianfan_sdk_auth`, `test_reference_client`). No script reaches its
token endpoints, so here a server of the standard library sends what the mock's writer makes of each row.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import qianfan
from contract_helpers import IAM_TOKEN, OAUTH_TOKEN, QUIET, ask
from qianfan.errors import AccessTokenExpiredError, AuthError, RequestError

import qfkit
from mock_server.replies import refuse
from qfkit import Client, Credentials, RetryPolicy
from qfkit.protocol.errors import ERRORS, ErrorSpec

pytestmark = QUIET

BAD, AUTH, DENIED = qfkit.BadRequestError, qfkit.AuthenticationError, qfkit.PermissionDeniedError
MISSING, LIMIT, BROKEN = qfkit.NotFoundError, qfkit.RateLimitError, qfkit.ServerError

#: ``error``, a part of ``error_description``: HTTP status, what our client raises, whether it may try again (2.1).
OAUTH: dict[tuple[str, str], tuple[int, type[qfkit.APIError], bool]] = {
    ("invalid_client", "unknown client id"): (401, AUTH, False),
    ("invalid_client", "Client authentication failed"): (401, AUTH, False),
    ("invalid_request", "missing a required parameter"): (400, BAD, False),
    ("unsupported_grant_type", "grant type is not supported"): (400, BAD, False),
    ("invalid_grant", "grant is revoked"): (400, AUTH, False),
    ("unauthorized_client", "client is not authorized"): (400, DENIED, False),
    ("unknown_error", "unknown error"): (500, BROKEN, True),
    ("rate_limit_exceeded", "rate limit exceeded"): (429, LIMIT, True),
}

#: ``code``, a part of ``message``: the same (2.2, and the table of common errors of Baidu's cloud).
IAM: dict[tuple[str, str], tuple[int, type[qfkit.APIError], bool]] = {
    ("IamSignatureInvalid", "Could not find credential"): (403, AUTH, False),
    ("IamSignatureInvalid", "Signature does not match"): (403, AUTH, False),
    ("IamSignatureInvalid", "Missing headers required by signing"): (403, AUTH, False),
    ("IamSignatureInvalid", "request ip not allowed"): (403, DENIED, False),
    ("AccessDenied", "Access denied"): (403, DENIED, False),
    ("InappropriateJSON", "not appropriate for this operation"): (400, BAD, False),
    ("InternalError", "internal error"): (500, BROKEN, True),
    ("InvalidAccessKeyId", "does not exist in our records"): (403, AUTH, False),
    ("InvalidHTTPAuthHeader", "authorization header is invalid"): (400, AUTH, False),
    ("InvalidHTTPRequest", "error in the body"): (400, BAD, False),
    ("InvalidURI", "Could not parse the specified URI"): (400, BAD, False),
    ("MalformedJSON", "not well-formed"): (400, BAD, False),
    ("InvalidVersion", "API version specified was invalid"): (404, MISSING, False),
    ("OptInRequired", "subscription for the service is required"): (403, DENIED, False),
    ("PreconditionFailed", "If-Match header"): (412, BAD, False),
    ("RequestExpired", "Request has expired"): (400, AUTH, False),
    ("SignatureDoesNotMatch", "request signature we calculated does not match"): (400, AUTH, False),
    ("ResourceNotFound", "not found"): (404, MISSING, False),
}
ROWS = {"oauth": OAUTH, "iam": IAM}


@dataclass
class TokenService:
    """Answers token requests with ``row``; whoever goes on without a token is told so, as v1 does."""

    row: ErrorSpec
    url: str = ""
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def service() -> Iterator[TokenService]:
    played = TokenService(row=ERRORS[0])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path = self.path.partition("?")[0]
            played.paths.append(path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = 200, [("Content-Type", "application/json")], b'{"error_code":110,"error_msg":""}'
            if path in {OAUTH_TOKEN, IAM_TOKEN}:
                reply = refuse(played.row, request_id="as-none", uuid="00000000-1111-2222-3333-444444444444")
                status, headers, body = reply.status, reply.headers, b"".join(piece.data for piece in reply.body)
            self.send_response(status)
            for name, value in [*headers, ("Content-Length", str(len(body)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - what the standard library calls

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        played.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield played
        http.shutdown()
        thread.join()


def row_of(dialect: str, code: str, text: str) -> ErrorSpec:
    [found] = [
        spec for spec in ERRORS if (spec.dialect, spec.code) == (dialect, code) and text.lower() in spec.message.lower()
    ]
    return found


def named(rows: dict[tuple[str, str], Any]) -> Any:
    return pytest.mark.parametrize(("code", "text"), rows, ids=[f"{code}-{text.split()[0]}" for code, text in rows])


def test_no_row_is_left_out() -> None:
    for dialect, rows in ROWS.items():
        assert {row_of(dialect, *row) for row in rows} == {spec for spec in ERRORS if spec.dialect == dialect}


def refused(service: TokenService, dialect: str, keys: Credentials) -> qfkit.APIError:
    with (
        Client(service.url, keys, dialect, iam_base_url=service.url, retry=RetryPolicy(attempts=1)) as client,
        pytest.raises(qfkit.APIError) as caught,
    ):
        client.chat("你好")
    return caught.value


@named(OAUTH)
def test_reference_client_oauth(service: TokenService, code: str, text: str) -> None:
    status, kind, retryable = OAUTH[code, text]
    service.row = row_of("oauth", code, text)
    error = refused(service, "v1", Credentials(ak="some-key", sk="some-secret"))
    assert type(error) is kind
    assert (error.dialect, error.code, error.status, error.retryable) == ("oauth", code, status, retryable)
    assert text in error.message
    assert error.request_id is None
    assert service.paths == [OAUTH_TOKEN]


@named(IAM)
def test_reference_client_iam(service: TokenService, code: str, text: str) -> None:
    status, kind, retryable = IAM[code, text]
    service.row = row_of("iam", code, text)
    error = refused(service, "v2", Credentials(access_key="ALTAKsome", secret_key="some-secret"))
    assert type(error) is kind
    assert (error.dialect, error.code, error.status, error.retryable) == ("iam", code, status, retryable)
    assert text in error.message
    assert error.request_id == "00000000-1111-2222-3333-444444444444"
    assert service.paths == [IAM_TOKEN]


@named(OAUTH)
def test_sdk_oauth(
    service: TokenService, sdk: Callable[..., None], caplog: pytest.LogCaptureFixture, code: str, text: str
) -> None:
    # It looks at no status. Wrong keys raise; of all else it logs the text and goes on without a token (`AuthManager`).
    service.row = row_of("oauth", code, text)
    sdk("AK", "SK", BASE_URL=service.url, LLM_API_RETRY_COUNT="1")
    wrong_keys = code == "invalid_client"
    with pytest.raises(AuthError if wrong_keys else AccessTokenExpiredError) as caught:
        qianfan.ChatCompletion().do(messages=ask("你好"), model="ERNIE-3.5-8K")
    if wrong_keys:
        assert ("AK(" if "unknown" in text else "SK(") in str(caught.value)
        assert service.paths == [OAUTH_TOKEN]
    else:
        assert text in caplog.text
        assert service.paths[0] == OAUTH_TOKEN


@named(IAM)
def test_sdk_iam(service: TokenService, sdk: Callable[..., None], code: str, text: str) -> None:
    # Its console requests look at the status first, and put the answer's text into their own.
    status = IAM[code, text][0]
    service.row = row_of("iam", code, text)
    sdk("ACCESS_KEY", "SECRET_KEY", IAM_BASE_URL=service.url, CONSOLE_API_RETRY_COUNT="1")
    with pytest.raises(RequestError) as caught:
        qianfan.ChatCompletion(version="2").do(messages=ask("你好"), model="ernie-3.5-8k")
    error = caught.value
    assert error.status_code == status
    assert error.headers["X-Bce-Error-Code"] == code
    assert text in error.headers["X-Bce-Error-Message"]
    assert text in str(error)
    assert set(service.paths) == {IAM_TOKEN}
