"""The tutorial's error codes, and what to catch: each exception says what it means and what to do."""

from mock_server import MockServer
from qfkit import (
    APIError,
    AuthenticationError,
    BadRequestError,
    Client,
    QianfanError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TransportError,
)

CODES = {400: BadRequestError, 401: AuthenticationError, 429: RateLimitError, 500: ServerError}

with MockServer() as server:
    account = server.account()
    with Client(server.url, account.credentials, retry=RetryPolicy(attempts=1)) as client:
        for code, kind in CODES.items():
            account.fail(code)
            try:
                client.chat("你好")
            except APIError as error:
                failure = error
            print(code, type(failure).__name__, "| try again:", failure.retryable, "|", failure.spec.remedy)
            assert type(failure) is kind

with Client("http://127.0.0.1:1", account.credentials, retry=RetryPolicy(attempts=1)) as client:
    try:
        client.chat("你好")  # nobody listens there
    except TransportError as error:
        unheard = error
print(unheard)
assert isinstance(unheard, QianfanError)  # the base of all
