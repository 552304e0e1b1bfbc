"""What the fuzzers begin with, and what they do to it."""

from __future__ import annotations

import random

from qfkit.protocol.dialects import TEXT_GENERATION_STREAM, V1_PREFIX

BODY = '{"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}], "stream": true}'.encode()
CHATS = (b"/v2/chat/completions", V1_PREFIX.encode() + b"/chat/completions", TEXT_GENERATION_STREAM.encode())
_HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nAuthorization: Bearer %%KEY%%\r\n\r\n%b"
_CHUNKED = b"POST /v2/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SEEDS = [
    *[_HEAD % (path, len(BODY), BODY) for path in CHATS],
    _CHUNKED + b'4\r\n{"a"\r\n3\r\n: 1\r\n1\r\n}\r\n0\r\n\r\n',
    b"GET /v2/models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /oauth/2.0/token?grant_type=client_credentials&client_id=a&client_secret=b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
]
TOKENS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b" ",
    b"\t",
    b"0",
    b"-1",
    b"\xff",
    b"HTTP/1.1",
    b"chunked",
    b"{",
    b'"',
    b"%00",
]
STREAM_TOKENS = [
    b"data: ",
    b"data:",
    b"id: 1",
    b"event: x",
    b"retry: 9",
    b": c",
    b"\r",
    b"\n",
    b"\r\n",
    b"\xef\xbb\xbf",
]


def mutated(data: bytes, source: random.Random, tokens: list[bytes]) -> bytes:
    """``data`` with a few bytes changed, cut, doubled, or replaced by what parsers trip over."""
    out = bytearray(data)
    for _ in range(source.randint(0, 6)):
        at = source.randrange(len(out) + 1)
        match source.randrange(4):
            case 0:
                out[at:at] = source.choice(tokens)
            case 1:
                del out[at : at + source.randint(1, 20)]
            case 2:
                out[at : at + 1] = bytes([source.randrange(256)])
            case _:
                out[at:at] = out[at : at + source.randint(1, 40)]
    return bytes(out)


def pieces(data: bytes, source: random.Random) -> list[bytes]:
    """``data`` in a few pieces."""
    cuts = sorted(source.randrange(len(data) + 1) for _ in range(source.randrange(4)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
