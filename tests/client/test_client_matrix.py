"""The error matrix: each error of each dialect, whole and streamed, under each way to set the retries.

What another attempt may cure is the table's judgement (held against the documents in tests/contract); here is tested
what the client makes of it: class, attempts, waits and words.
"""

from __future__ import annotations

import os
import socket
import struct
from email.utils import formatdate

import pytest
from scripted_server import OK, STREAMS, FakeClock, answer, drop, event, stream

from qfkit.client import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConnectionFailed,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    StreamError,
    StreamTruncated,
    TimeoutExceeded,
)
from qfkit.protocol.errors import ERRORS, envelope

DIALECTS = ["text_generation", "v1", "v2"]
ROWS = [spec for spec in ERRORS if spec.dialect in DIALECTS]
WAYS = ["whole", "stream"]

#: What a caller should catch for each kind of row, written down by hand.
CLASSES = {
    BadRequestError: "bad_request malformed_json invalid_messages too_many_items too_long_chars too_long_tokens unsafe "
    "unsafe_system unsafe_user method",
    AuthenticationError: "auth token_expired",
    PermissionDeniedError: "permission feature_permission overdue",
    NotFoundError: "not_found model_offline",
    RateLimitError: "quota_daily quota_total rate_limit rate_limit_qps rate_limit_rpm rate_limit_tpm cluster_limit "
    "rate_limit_input_tpm rate_limit_output_tpm rate_limit_preemptible rate_limit_batch",
    ServerError: "overloaded unavailable internal",
}
CLASS_OF = {kind: found for found, kinds in CLASSES.items() for kind in kinds.split()}


def name(spec):
    return f"{spec.dialect}-{spec.code}-{spec.status}-{ROWS.index(spec)}"


def policies(spec):
    """Retry settings, and whether a call that meets ``spec`` is tried again under each."""
    own = {spec.code}
    return (
        (RetryPolicy(attempts=1), False),
        (RetryPolicy(attempts=3, jitter="none"), spec.retryable),
        (RetryPolicy(attempts=3, jitter="none", never=own), False),
        (RetryPolicy(attempts=3, jitter="none", also=own), True),
        (RetryPolicy(attempts=3, jitter="none", never=own, also=own), False),
    )


@pytest.fixture
def client_of(connect, only):
    """Clients with keys that cannot be renewed: no attempt but those of the policy."""
    keys = {
        "text_generation": ("access_key", "secret_key"),
        "v1": ("access_key", "secret_key"),
        "v2": ("bearer_token",),
    }
    return lambda dialect, **more: connect(dialect, only(*keys[dialect]), **more)


def ask(client, way):
    return client.chat("hi") if way == "whole" else client.stream("hi").reply()


def good(dialect, way):
    return answer(OK[dialect]) if way == "whole" else stream(*STREAMS[dialect])


def fails(client, way):
    with pytest.raises(APIError) as caught:
        ask(client, way)
    return caught.value


def test_every_kind_of_row_has_its_class():
    assert {spec.kind for spec in ROWS} <= CLASS_OF.keys()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spec", ROWS, ids=name)
def test_the_matrix(spec, way, server, client_of, clock):
    for policy, retried in policies(spec):
        server.requests.clear()
        clock.sleeps.clear()
        check(spec, way, server, client_of(spec.dialect, retry=policy), retried=retried)


def check(spec, way, server, client, *, retried):
    clock = client._caller.clock
    failure = answer(envelope(spec, request_id="as-0123456789"), spec.status)

    # It fails for good.
    server.otherwise = failure
    error = fails(client, way)
    assert type(error) is CLASS_OF[spec.kind]
    assert (error.code, error.status, error.dialect, error.message) == (
        spec.code,
        spec.status,
        spec.dialect,
        spec.message,
    )
    assert error.retryable is spec.retryable
    waits = [0.5, 1.0] if retried else []
    assert len(server.requests) == 1 + len(waits)
    assert clock.sleeps == waits
    assert [(each.code, each.status) for each in error.attempts] == [(spec.code, spec.status)] * (1 + len(waits))
    assert [each.waited for each in error.attempts] == [0.0, *waits]
    assert [each.wait_reason for each in error.attempts] == [None, *["backoff"] * len(waits)]
    assert error.gave_up == ("RetryPolicy.attempts=3" if retried else None)
    # Its message teaches: whose, which, the service's words, what it means, what to do.
    for words in (spec.dialect, str(spec.code), f"HTTP {spec.status}", spec.meaning, spec.remedy):
        assert words.rstrip(".") in str(error)
    assert " ".join(spec.message.split()) in str(error)

    # It fails once.
    clock.sleeps.clear()
    server.play(failure)
    server.otherwise = good(spec.dialect, way)
    if not retried:
        fails(client, way)
        assert clock.sleeps == []
        return
    reply = ask(client, way)
    assert reply.text == "你好"
    assert [each.code for each in reply.attempts] == [spec.code, None]
    assert clock.sleeps == [0.5]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spec", [spec for spec in ROWS if spec.status != 200], ids=name)
def test_the_same_body_under_http_200(spec, way, server, client_of):
    # As v1 does it, and some gateways do it to the others: the body says that it failed.
    server.otherwise = answer(envelope(spec), 200)
    error = fails(client_of(spec.dialect, retry=RetryPolicy(attempts=1)), way)
    assert (error.code, error.status, error.retryable) == (spec.code, 200, spec.retryable)
    assert isinstance(error, CLASS_OF[spec.kind])


def status_class(status):
    named = {401: AuthenticationError, 402: PermissionDeniedError, 403: PermissionDeniedError, 404: NotFoundError}
    if status in named:
        return named[status]
    if status == 429:
        return RateLimitError
    if status in {408, 409, 425}:  # what openai-python retries as well, and Too Early
        return ServerError
    return ServerError if status >= 500 and status != 501 else BadRequestError


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_bare_statuses(dialect, way, server, client_of, clock):
    client = client_of(dialect, retry=RetryPolicy(attempts=2, jitter="none"))
    for status in range(400, 600):
        clock.sleeps.clear()
        server.otherwise = answer(b"", status)
        error = fails(client, way)
        retried = status in {408, 409, 425, 429} or (status >= 500 and status != 501)
        assert (status, type(error), error.retryable) == (status, status_class(status), retried)
        assert clock.sleeps == ([0.5] if retried else [])
        assert [each.status for each in error.attempts] == [status] * (1 + retried)
        assert f"HTTP {status}" in str(error)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_statuses_can_be_added_and_taken_out(dialect, way, server, client_of):
    client = client_of(dialect, retry=RetryPolicy(attempts=2, also={418}, never={503}))
    for status, attempts in ((418, 2), (503, 1), (502, 2), (400, 1)):
        server.otherwise = answer(b"", status)
        assert len(fails(client, way).attempts) == attempts


def date(seconds):
    return formatdate(1_714_550_400 + seconds, usegmt=True)  # the fake clock begins then


#: Headers -> seconds that are waited, and on whose word.
AFTER = [
    ({"Retry-After": "2"}, 2.0, "retry-after"),
    ({"Retry-After": "1.5"}, 1.5, "retry-after"),
    ({"Retry-After": "60"}, 60.0, "retry-after"),
    ({"Retry-After-Ms": "250"}, 0.25, "retry-after"),
    ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25, "retry-after"),
    ({"Retry-After": date(7)}, 7.0, "retry-after"),
    ({"Retry-After": date(1007), "Date": date(1000)}, 7.0, "retry-after"),  # our clock is off; the difference is not
    ({"Retry-After": date(-7)}, 0.5, "backoff"),
    ({"Retry-After": "0"}, 0.5, "backoff"),
    ({"Retry-After": "-5"}, 0.5, "backoff"),
    ({"Retry-After": "soon"}, 0.5, "backoff"),
    ({}, 0.5, "backoff"),
    ({"Retry-After": "60.5"}, None, "60.5 s"),
    ({"Retry-After-Ms": "61000"}, None, "61 s"),
    ({"Retry-After": date(3600)}, None, "3600 s"),
    ({"Retry-After": "inf"}, None, "inf s"),
]


@pytest.mark.parametrize("status", [200, 429, 503])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("after", AFTER, ids=[str(headers) for headers, _, _ in AFTER])
def test_retry_after(after, dialect, status, server, client_of):
    for way in WAYS:
        server.requests.clear()
        clock = FakeClock()
        check_after(after, way, server, client_of(dialect, retry=RetryPolicy(jitter="none"), clock=clock), status)


def check_after(after, way, server, client, status):
    (headers, wait, word), dialect, clock = after, client.dialect, client._caller.clock
    spec = next(spec for spec in ROWS if spec.dialect == dialect and spec.kind.startswith("rate_limit"))
    server.play(answer(envelope(spec), status, headers.items()))
    server.otherwise = good(dialect, way)
    if wait is not None:
        reply = ask(client, way)
        assert clock.sleeps == [wait]
        assert (reply.attempts[1].waited, reply.attempts[1].wait_reason) == (wait, word)
        return
    error = fails(client, way)
    assert clock.sleeps == []
    assert len(server.requests) == 1
    assert error.gave_up is not None
    assert f"asks to wait {word}, more than RetryPolicy.retry_after_ceiling=60" in str(error)
    assert "call again after that, or raise the ceiling" in str(error)


# The network


def reset(exchange):
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(exchange.connection.detach())  # with a lingering time of zero, that is a RST
    exchange.hang_up()


def headers_only(exchange):
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n")
    exchange.hang_up()


def half(exchange):
    exchange.head(kind="application/json")
    exchange.chunk(b'{"res')
    exchange.hang_up()


def stall(exchange):
    exchange.peer_closed()


FAULTS = {
    "reset": (reset, ConnectionFailed, "Connection reset"),
    "close": (drop, ConnectionFailed, "no whole answer"),
    "headers only": (headers_only, ConnectionFailed, "closed before its end"),
    "half": (half, ConnectionFailed, "closed before its end"),
    "timeout": (stall, TimeoutExceeded, "nothing came for 0.05 s (read timeout)"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_network_faults(fault, dialect, way, server, client_of):
    for attempts in (1, 3):
        server.requests.clear()
        policy = RetryPolicy(attempts=attempts, jitter="none")
        client = client_of(dialect, retry=policy, clock=FakeClock(), timeout=(5, 0.05))
        check_fault(FAULTS[fault], way, server, client)


def check_fault(fault, way, server, client):
    step, kind, words = fault
    dialect, clock, attempts = client.dialect, client._caller.clock, client._caller.retry.attempts
    server.otherwise = step
    if step in {headers_only, half} and (dialect, way) == ("text_generation", "stream"):
        kind = StreamTruncated  # JSON is a stream there, which has begun
    with pytest.raises(kind) as caught:
        ask(client, way)
    error = caught.value
    waits = [0.5, 1.0][: attempts - 1]
    assert clock.sleeps == waits
    assert len(server.requests) == len(error.attempts) == attempts
    assert all(each.error and each.code is None for each in error.attempts)
    assert words in str(error)
    clock.sleeps.clear()
    server.play(*[step] * (attempts - 1))
    server.otherwise = good(dialect, way)
    assert ask(client, way).text == "你好"
    assert clock.sleeps == waits


# In the middle of a stream


@pytest.mark.parametrize("spec", [spec for spec in ROWS if spec.retryable], ids=name)
def test_after_its_first_content_a_stream_is_not_tried_again(spec, server, client_of, clock):
    first = STREAMS[spec.dialect][:2]
    server.otherwise = stream(*first, event(envelope(spec)))
    opened = client_of(spec.dialect, retry=RetryPolicy(attempts=3, also={spec.code})).stream("hi")
    with pytest.raises(StreamError) as caught:
        opened.reply()
    assert caught.value.text == opened.text != ""
    assert str(spec.code) in str(caught.value)
    assert (len(server.requests), clock.sleeps) == (1, [])
