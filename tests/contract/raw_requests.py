"""Requests as bytes, authenticated by code that is not ours, and the one question put to every answer.

That question: is this an answer that the service itself would give? Each dialect has an error envelope of its own, and
no request, however broken, makes the service fail by itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from baidubce.auth.bce_credentials import BceCredentials
from baidubce.auth.bce_v1_signer import sign
from contract_helpers import IAM_TOKEN, OAUTH_TOKEN, SERVICE_LIST, TEXT_GENERATION, V1, ask

#: v1 codes that say "we failed" (wire reference 5.1): with HTTP 200 they would hide a fault of the mock.
_SERVICE_FAULTS = {1, 2, 336000, 336100}


@dataclass(frozen=True)
class Endpoint:
    """A place of the service, and how to get in there."""

    name: str
    dialect: str
    path: str
    method: str = "POST"


ENDPOINTS = (
    Endpoint("text", "text_generation", f"{TEXT_GENERATION}/chat_completions"),
    Endpoint("text-stream", "text_generation", f"{TEXT_GENERATION}/chat_completions_stream"),
    Endpoint("v1-chat", "v1", f"{V1}/chat/completions"),
    Endpoint("v1-embeddings", "v1", f"{V1}/embeddings/embedding-v1"),
    Endpoint("v1-plugin", "v1", f"{V1}/plugin/abcd/"),
    Endpoint("v2-chat", "v2", "/v2/chat/completions"),
    Endpoint("v2-embeddings", "v2", "/v2/embeddings"),
    Endpoint("oauth", "oauth", OAUTH_TOKEN),
    Endpoint("iam", "iam", IAM_TOKEN, "GET"),
    Endpoint("service-list", "iam", SERVICE_LIST),
)
BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
CHATS = tuple(BY_NAME[name] for name in ("text", "text-stream", "v1-chat", "v2-chat"))

#: A body that every one of `CHATS` takes.
CHAT = json.dumps({"model": "ernie-4.0-8k", "messages": ask("你好")}).encode()


def named(endpoint: Endpoint) -> str:
    """For the id of a test."""
    return endpoint.name


class Caller:
    """Knows an account's keys, and signs any bytes with them."""

    def __init__(self, url: str, account: Any, access_token: str) -> None:
        self.netloc = urlsplit(url).netloc
        self.keys = account.credentials
        self._access_token = access_token
        self._nonce = 0

    def authenticated(
        self, endpoint: Endpoint, body: bytes, *, method: str | None = None, query: Mapping[str, str] | None = None
    ) -> tuple[str, str, dict[str, str]]:
        """Method, target and headers of a request that gets in."""
        method, query = method or endpoint.method, dict(query or {})
        headers = {"Host": self.netloc, "Content-Type": "application/json"}
        if endpoint.dialect == "text_generation":
            headers |= self.hmac_headers(method, endpoint.path, body)
        elif endpoint.dialect == "v1":
            query["access_token"] = self._access_token
        elif endpoint.dialect == "v2":
            headers["Authorization"] = f"Bearer {self.keys.bearer_token}"
        elif endpoint.dialect == "oauth":
            query |= {"grant_type": "client_credentials", "client_id": self.keys.ak, "client_secret": self.keys.sk}
        else:
            headers["Authorization"] = self.bce_authorization(method, endpoint.path, headers, query)
        target = endpoint.path + ("?" + "&".join(f"{quote(k, '')}={quote(v, '')}" for k, v in query.items()))
        return method, target if query else endpoint.path, headers

    def hmac_headers(self, method: str, path: str, body: bytes) -> dict[str, str]:
        self._nonce += 1
        now, nonce = str(int(time.time())), str(self._nonce)
        message = b"\n".join([method.encode(), path.encode(), body, now.encode(), nonce.encode()])
        digest = hmac.new(self.keys.secret_key.encode(), message, hashlib.sha256).digest()
        return {
            "X-Bce-AccessKey": self.keys.access_key,
            "X-Bce-Timestamp": now,
            "X-Bce-Nonce": nonce,
            "X-Bce-Signature": base64.b64encode(digest).decode(),
        }

    def bce_authorization(self, method: str, path: str, headers: dict[str, str], query: dict[str, str]) -> str:
        return sign(
            BceCredentials(self.keys.access_key, self.keys.secret_key),
            method.encode(),
            path.encode(),
            {name.encode(): value for name, value in headers.items()},
            {name.encode(): value for name, value in query.items()},
            timestamp=time.time(),
            headers_to_sign={b"host", b"content-type"},
        ).decode()


def check(endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Assert that the answer is one that the service would give; ``"ok"``, or the error's code."""
    seen = f"{endpoint.name}: {status} {dict(headers)} {body[:300]!r}"
    assert 200 <= status < 500, seen
    for name, value in headers.items():
        assert re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value), f"{name}: {value!r} is no header value; {seen}"
    if endpoint.dialect == "iam" and not body:
        assert status >= 400, seen  # the console's refusals have headers only (wire reference 2.2)
        assert headers["X-Bce-Error-Code"], seen
        return headers["X-Bce-Error-Code"]
    kind = headers.get("Content-Type", "")
    if not kind.startswith("application/json") or (endpoint.name == "text-stream" and status == 200):
        assert status == 200, seen
        _check_stream(body, seen)
        return "ok"
    text = body.decode()
    assert "\n" not in text.rstrip("\n"), f"the Python SDK reads the first line only: {seen}"
    answer = json.loads(text)
    assert isinstance(answer, dict), seen
    return _ERRORS[endpoint.dialect](status, answer, seen)


def _check_stream(body: bytes, seen: str) -> None:
    lines = [line for line in body.decode().split("\n") if line and not line.startswith("event: ")]
    assert lines, seen
    for line in lines:
        data = line.removeprefix("data: ")
        assert data == "[DONE]" or isinstance(json.loads(data), dict), seen


def _v1_error(status: int, answer: dict[str, Any], seen: str) -> str:
    assert status == 200, seen
    if "error_code" not in answer:
        assert answer["id"], seen
        return "ok"
    assert isinstance(answer["error_code"], int), seen
    assert answer["error_code"] not in _SERVICE_FAULTS, seen
    assert answer["error_msg"], seen
    return str(answer["error_code"])


def _text_error(status: int, answer: dict[str, Any], seen: str) -> str:
    if status == 200:
        assert "result" in answer or "choices" in answer, seen
        return "ok"
    assert isinstance(answer["error_code"], int), seen
    assert answer["error_msg"], seen
    return str(answer["error_code"])


def _v2_error(status: int, answer: dict[str, Any], seen: str) -> str:
    if status == 200:
        assert "error" not in answer, seen
        return "ok"
    error = answer["error"]
    assert all(isinstance(error[name], str) and error[name] for name in ("code", "message", "type")), seen
    assert answer["id"].startswith("as-"), seen
    return str(error["code"])


def _oauth_error(status: int, answer: dict[str, Any], seen: str) -> str:
    if status == 200:
        assert answer["access_token"], seen
        return "ok"
    assert answer["error"], seen
    assert answer["error_description"], seen
    return str(answer["error"])


def _iam_error(status: int, answer: dict[str, Any], seen: str) -> str:
    if status == 200:
        assert "token" in answer or "result" in answer, seen
        return "ok"
    assert answer["code"], seen
    assert answer["message"], seen
    assert answer["requestId"], seen
    return str(answer["code"])


_ERRORS = {
    "text_generation": _text_error,
    "v1": _v1_error,
    "v2": _v2_error,
    "oauth": _oauth_error,
    "iam": _iam_error,
}


def send(
    connection: http.client.HTTPConnection, endpoint: Endpoint, head: tuple[str, str, dict[str, str]], body: bytes
) -> str:
    """Send, and check the answer; its code, or ``ok``."""
    method, target, headers = head
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    return check(endpoint, answer.status, dict(answer.headers), answer.read())


def exchange(server: Any, data: bytes, *, finish: bool = True) -> bytes:
    """Write ``data`` to a new socket and read until the server closes, or for as long as it has nothing to say."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
        try:
            sock.sendall(data)
            if finish:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):  # refused before it had been read to the end
            pass
        received = b""
        try:
            while piece := sock.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
    return received


def head(method: str, target: str, headers: list[tuple[str, str | bytes]]) -> bytes:
    """A request head, with nothing checked."""
    lines = [f"{method} {target} HTTP/1.1".encode()]
    lines += [
        name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) for name, value in headers
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer[9:12])
