"""Where the time of a request goes: each stage alone, in this process, without a socket.

The last stage is all of them as the server runs them, bytes in and bytes out: it is far quieter than a load test, so it
is the figure to watch while the mock's code changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import httptools

from benchmarks.bench import Bench, Finding, Spread, Table
from benchmarks.work import JSON_KEYS, RULED_KEYS, SSE_KEYS, Keys, mock_config, signed_batch
from mock_server.config.applying import set_up
from mock_server.core import handle
from mock_server.delivery import wire_plan
from mock_server.serving.door import Connection, Door
from mock_server.settings import build
from mock_server.state import State
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import verify_hmac

_RUNS = 1500
_REPEATS = 5


def run(bench: Bench) -> Finding:
    """Parser, verification, the core whole, framing; for the JSON answer and for the stream."""
    data: dict[str, Any] = {}
    lines: list[tuple[str, ...]] = []
    with bench.cores.on(bench.cores.server):
        for kind, keys in (("JSON", JSON_KEYS), ("JSON, the last of 10 rules", RULED_KEYS), ("SSE", SSE_KEYS)):
            bench.say(f"stages: {kind}")
            for stage, spread in _stages(keys, stream=kind == "SSE").items():
                data[f"{kind}: {stage}"] = spread.to_dict()
                lines.append((f"{kind}: {stage}", spread.show(1)))
    note = "What the server's CPU a request has over the last line is the event loop and the kernel."
    return Finding(data, [Table("Stages of one request", ("stage", "CPU µs, median [range]"), lines, note)], [])


def _stages(keys: Keys, *, stream: bool) -> dict[str, Spread]:
    state = State(build(_config()))
    set_up(state)
    batch = signed_batch(1, keys, _RUNS * _REPEATS + 2, stream=stream)
    fresh = iter([_parse(request) for request in batch])
    secret, now = keys.secret_key, time.time()
    again = next(fresh)
    reply = handle(next(fresh), state)
    one = batch.first()
    stages: dict[str, Callable[[], object]] = {
        "parse (llhttp, headers as text)": lambda: _parse(one),
        "verify the signature": lambda: verify_hmac(again, secret, now=now),
        "the core, all of it": lambda: handle(next(fresh), state),
        "frame the answer (wire_plan)": lambda: wire_plan(reply),
    }
    timed = {name: _timed(stage) for name, stage in stages.items()}
    with contextlib.closing(asyncio.new_event_loop()) as loop:  # never run: it only tells the time
        connection = Connection(Door(lambda request: handle(request, state), loop))
        connection.connection_made(_Nowhere())
        received = iter(list(signed_batch(1, keys, _RUNS * _REPEATS, stream=stream)))
        timed["all, from bytes to bytes"] = _timed(lambda: connection.data_received(next(received)))
    return timed


class _Nowhere(asyncio.Transport):
    """A transport whose bytes go nowhere."""

    def write(self, data: object) -> None:
        """Forget it."""

    def resume_reading(self) -> None:
        """Nothing was paused."""


def _config() -> dict[str, Any]:
    import yaml

    return dict(yaml.safe_load(mock_config()))


def _timed(work: Callable[[], object]) -> Spread:
    values = []
    for _ in range(_REPEATS):
        start = time.process_time()
        for _ in range(_RUNS):
            work()
        values.append((time.process_time() - start) / _RUNS * 1e6)
    return Spread(tuple(values))


class _Collect:
    """What the door's connection collects, no more."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.body += body


def _parse(data: bytes) -> HttpRequest:
    found = _Collect()
    parser = httptools.HttpRequestParser(found)
    parser.feed_data(data)
    return HttpRequest(parser.get_method().decode(), found.url.decode("latin-1"), tuple(found.headers), found.body)
