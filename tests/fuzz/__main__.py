"""Feed the front door and the stream decoder bytes that nobody sane would send: ``python -m tests.fuzz --seconds 300``.

Mutated requests go straight into `Connection.data_received`, in random pieces and without a socket, so that a minute
sees some hundred thousand of them. Nothing may raise, and no answer may be a 5xx, for nothing was scripted. Decoders
must say the same however their bytes are split. A failure prints the seed and the bytes that caused it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import time

from mock_server.core import handle
from mock_server.serving.door import Connection, Door, Limits
from mock_server.settings import Settings
from mock_server.state import State
from qfkit.protocol.dialects import TEXT_GENERATION_STREAM, V1_PREFIX
from qfkit.protocol.sse import Decoder

_BODY = '{"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}], "stream": true}'.encode()
_CHATS = (b"/v2/chat/completions", V1_PREFIX.encode() + b"/chat/completions", TEXT_GENERATION_STREAM.encode())
_HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nAuthorization: Bearer %%KEY%%\r\n\r\n%b"
_CHUNKED = b"POST /v2/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_SEEDS = [
    *[_HEAD % (path, len(_BODY), _BODY) for path in _CHATS],
    _CHUNKED + b'4\r\n{"a"\r\n3\r\n: 1\r\n1\r\n}\r\n0\r\n\r\n',
    b"GET /v2/models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /oauth/2.0/token?grant_type=client_credentials&client_id=a&client_secret=b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
]
_TOKENS = [
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
_STREAM_TOKENS = [
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


class _Transport(asyncio.Transport):
    """A client that swallows everything and keeps what it was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def write_eof(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


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


async def fuzz_door(source: random.Random, until: float) -> int:
    """Requests that were survived until then."""
    state = State(Settings(journal=10))
    key = str(state.add_account().credentials.bearer_token).encode()
    door = Door(lambda request: handle(request, state), asyncio.get_running_loop(), limits=Limits(body_bytes=10_000))
    count = 0
    while time.monotonic() < until:
        data = b"".join(mutated(source.choice(_SEEDS).replace(b"%KEY%", key), source, _TOKENS) for _ in range(2))
        connection, transport = Connection(door), _Transport()
        connection.connection_made(transport)
        try:
            for piece in pieces(data, source):
                connection.data_received(piece)
            await asyncio.sleep(0)
            connection.connection_lost(None)
            statuses = re.findall(rb"HTTP/1\.1 (\d+) ", bytes(transport.written))
            assert all(status < b"500" for status in statuses), f"answered {statuses}"
        except BaseException:
            print(f"the door failed on {data!r}", file=sys.stderr)
            raise
        count += 2
    return count


def fuzz_decoder(source: random.Random, until: float) -> int:
    """Streams that were decoded alike in one piece and in many until then."""
    count = 0
    while time.monotonic() < until:
        data = b"".join(source.choice(_STREAM_TOKENS) for _ in range(source.randrange(30)))
        data = mutated(data, source, _STREAM_TOKENS)
        whole, split = Decoder(), Decoder()
        wanted = whole.feed(data) + whole.close()
        got = [event for piece in pieces(data, source) for event in split.feed(piece)] + split.close()
        assert got == wanted, f"the decoder differs on {data!r}"
        count += 1
    return count


def main(arguments: list[str] | None = None) -> None:
    """Run for as long as asked; raises what a failure raised."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    source = random.Random(seed)
    requests = asyncio.run(fuzz_door(source, time.monotonic() + options.seconds / 2))
    streams = fuzz_decoder(source, time.monotonic() + options.seconds / 2)
    print(f"survived {requests} requests and {streams} streams")


if __name__ == "__main__":
    main()
