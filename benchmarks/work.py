"""The one piece of work that everybody is given: the same question, an answer of the same size.

A peer takes an OpenAI chat request as it stands, again and again. The mock of this house verifies a signature and
refuses a request that it has seen, so every request to it is signed afresh and sent once: a `Batch` is what is sent, in
order, and both load generators send it as it is.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qfkit.protocol.dialects import TEXT_GENERATION_CHAT, TEXT_GENERATION_STREAM
from qfkit.protocol.signing import string_to_sign

#: The answer: 160 characters in 20 pieces of 8, each a word, so that servers that cut by characters and servers that
#: cut by words make the same 20 chunks of it.
PIECES = tuple(f"token{number:02d} " for number in range(20))
TEXT = "".join(PIECES)

PROMPT = "Give me the twenty words in one piece, please, and nothing else but them."

PEER_PATH = "/v1/chat/completions"
INTERVAL = 0.05


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one account of the mock."""

    access_key: str
    secret_key: str

    @property
    def bearer_token(self) -> str:
        """The account's v2 API key."""
        return f"bce-v3/ALTAK-{self.access_key[-16:]}/{self.secret_key}00000000"


#: Accounts of the mock under test -> what their script answers; see `mock_config`.
JSON_KEYS = Keys("ALTAKbenchmarkjson0000001", "0123456789abcdef0123456789abcde1")
SSE_KEYS = Keys("ALTAKbenchmarksse00000001", "0123456789abcdef0123456789abcde2")
PACED_KEYS = Keys("ALTAKbenchmarkpaced000001", "0123456789abcdef0123456789abcde3")
HELD_KEYS = Keys("ALTAKbenchmarkheld0000001", "0123456789abcdef0123456789abcde4")
CLIENT_KEYS = Keys("ALTAKbenchmarkclient00001", "0123456789abcdef0123456789abcde6")
RULED_KEYS = Keys("ALTAKbenchmarkruled000001", "0123456789abcdef0123456789abcde7")
MADE_UP_KEYS = Keys("ALTAKbenchmarkmadeup00001", "0123456789abcdef0123456789abcde5")


def grown_keys(count: int) -> list[Keys]:
    """The keys of ``count`` further accounts."""
    return [Keys(f"ALTAKbenchmarkgrown{number:07d}", f"{number:032x}") for number in range(count)]


#: The paced account answers so many requests at once before it paces them: they fill its journal.
UNPACED_FIRST = 10_000
#: Seconds to the first word of a stream that is only held open.
HELD_SECONDS = 600


def mock_config(**settings: object) -> str:
    """The mock's configuration file (YAML; JSON is YAML): one account for each kind of work."""
    forever = 10**9
    scripts: dict[Keys, list[dict[str, object]]] = {
        JSON_KEYS: [{"reply": TEXT, "times": forever}],
        SSE_KEYS: [{"stream": list(PIECES), "times": forever}],
        PACED_KEYS: [
            {"stream": list(PIECES), "times": UNPACED_FIRST},
            {"stream": list(PIECES), "interval": INTERVAL, "times": forever},
        ],
        HELD_KEYS: [{"stream": list(PIECES), "ttft": HELD_SECONDS, "times": forever}],
        CLIENT_KEYS: [{"reply": TEXT, "times": forever}],
        MADE_UP_KEYS: [],
    }
    accounts: list[dict[str, object]] = [
        {
            "name": keys.access_key,
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
            "bearer_token": keys.bearer_token,
            "script": script,
            # Counted, and never reached.
            "quota": {"rpm": forever, "tpm": 1000 * forever, "concurrency": 1_000_000},
        }
        for keys, script in scripts.items()
    ]
    accounts.append(
        {
            "name": RULED_KEYS.access_key,
            "access_key": RULED_KEYS.access_key,
            "secret_key": RULED_KEYS.secret_key,
            "bearer_token": RULED_KEYS.bearer_token,
            "quota": {"rpm": forever},
            "rules": [
                *({"on": {"contains": f"没有人这样问{number}"}, "script": [{"reply": "?"}]} for number in range(9)),
                {"on": {"dialect": "text_generation"}, "script": [{"reply": TEXT}]},
            ],
        }
    )
    return json.dumps({**settings, "quota": "none", "accounts": accounts}, indent=1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests to one server.

    Attributes:
        parts: the bytes between the fields of a row, before the first and after the last included. A batch without
            rows is one request, ``parts[0]``, sent over and over.
        rows: what differs from request to request; each row is sent once.
    """

    parts: tuple[bytes, ...]
    rows: Sequence[tuple[str, ...]] = ()

    def __iter__(self) -> Iterator[bytes]:
        """The requests in order; without end when there are no rows."""
        if not self.rows:
            while True:
                yield self.parts[0]
        first, between, last = self.parts[0], self.parts[1:-1], self.parts[-1]
        for row in self.rows:
            request = [first]
            for text, following in zip(row, (*between, last), strict=True):
                request += (text.encode(), following)
            yield b"".join(request)

    def first(self) -> bytes:
        """The request that is sent first."""
        return next(iter(self))


def peer_batch(port: int, *, stream: bool) -> Batch:
    """The OpenAI chat request that the peers take."""
    body = _body({"model": "gpt-4o", "stream": stream, "messages": _messages(PROMPT)})
    return Batch((_head(PEER_PATH, port, body, stream=stream) + b"Authorization: Bearer benchmark\r\n\r\n" + body,))


def signed_batch(port: int, keys: Keys | Sequence[Keys], count: int, *, stream: bool) -> Batch:
    """``count`` requests of the text_generation dialect, signed now; they stay good for the mock's skew, 300 s.

    Args:
        port: where the mock listens.
        keys: who signs; of several, each in turn.
        count: how many.
        stream: ask for SSE.
    """
    owners = (keys,) if isinstance(keys, Keys) else keys
    target = TEXT_GENERATION_STREAM if stream else TEXT_GENERATION_CHAT
    body = _body({"messages": _messages(PROMPT)})
    timestamp = str(int(time.time()))
    unfinished = string_to_sign(method="POST", target=target, body=body, timestamp=timestamp, nonce="")
    salt = secrets.token_hex(4)
    rows = []
    for number in range(count):
        owner = owners[number % len(owners)]
        # What differs most comes first: LuaJIT hashes strings by a few of their bytes.
        nonce = f"{number:08x}{salt}"
        signature = hmac.digest(owner.secret_key.encode(), unfinished + nonce.encode(), "sha256")
        rows.append((owner.access_key, nonce, base64.b64encode(signature).decode()))
    head = _head(target, port, body, stream=stream)
    return Batch(
        (
            head + b"X-Bce-Timestamp: " + timestamp.encode() + b"\r\nX-Bce-AccessKey: ",
            b"\r\nX-Bce-Nonce: ",
            b"\r\nX-Bce-Signature: ",
            b"\r\n\r\n" + body,
        ),
        rows,
    )


def _messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _body(data: dict[str, object]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _head(target: str, port: int, body: bytes, *, stream: bool) -> bytes:
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    if stream:
        lines.append("Accept: text/event-stream")
    return ("\r\n".join(lines) + "\r\n").encode()
