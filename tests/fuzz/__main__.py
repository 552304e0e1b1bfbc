"""Feed the front door and the stream decoder bytes that nobody sane would send: ``python -m tests.fuzz --seconds 300``.

Mutated requests go straight into `Connection.data_received`, in random pieces and without a socket, so that a minute
sees some hundred thousand of them. Nothing may raise, and no answer may be a 5xx, for nothing was scripted. Decoders
must say the same however their bytes are split. A failure prints the seed and the bytes that caused it.

With ``--requests 100000`` so many go over sockets to a server of its own with rules, scripts, chaos, quotas and journal
configured, and its memory is measured; see `configured`.
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
from qfkit.protocol.sse import Decoder
from tests.fuzz import configured
from tests.fuzz.mutations import SEEDS, STREAM_TOKENS, TOKENS, mutated, pieces


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


async def fuzz_door(source: random.Random, until: float) -> int:
    """Requests that were survived until then."""
    state = State(Settings(journal=10))
    key = str(state.add_account().credentials.bearer_token).encode()
    door = Door(lambda request: handle(request, state), asyncio.get_running_loop(), limits=Limits(body_bytes=10_000))
    count = 0
    while time.monotonic() < until:
        data = b"".join(mutated(source.choice(SEEDS).replace(b"%KEY%", key), source, TOKENS) for _ in range(2))
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
        data = b"".join(source.choice(STREAM_TOKENS) for _ in range(source.randrange(30)))
        data = mutated(data, source, STREAM_TOKENS)
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
    parser.add_argument("--requests", type=int, default=None, help="so many, over sockets, to a configured server")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    source = random.Random(seed)
    if options.requests is not None:
        configured.run(source, options.requests)
        return
    requests = asyncio.run(fuzz_door(source, time.monotonic() + options.seconds / 2))
    streams = fuzz_decoder(source, time.monotonic() + options.seconds / 2)
    print(f"survived {requests} requests and {streams} streams")


if __name__ == "__main__":
    main()
