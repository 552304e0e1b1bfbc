"""Row 7: growth. A request's cost with ever more accounts, a larger journal, more open streams."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks import load, streams
from benchmarks.bench import Bench, Finding, Table, Verdict
from benchmarks.contenders import signed
from benchmarks.machine import measurable, raise_descriptor_limit
from benchmarks.processes import Launch, Server, own_module
from benchmarks.work import HELD_KEYS, JSON_KEYS, Keys, grown_keys, mock_config, signed_batch

#: Noise on a shared machine comes to about this; less is no finding.
_MOST_TIMES = 1.5
_SETTLE_SECONDS = 20.0
_OWN_DESCRIPTORS = 200


def run(bench: Bench) -> Finding:
    """The three curves, each point by a server of its own."""
    if not measurable():
        bench.skip("growth", "the processor time of another process is read from /proc, which this system has not")
        return Finding({}, [], [_verdict({})])
    data = {
        "accounts": _curve(bench, "accounts", bench.effort.accounts, _with_accounts),
        "journal": _curve(bench, "journal", bench.effort.journal, _with_journal),
        "open streams": _curve(bench, "open streams", bench.effort.open_streams, _with_streams),
    }
    tables = [_table(name, points) for name, points in data.items()]
    return Finding(data, tables, [_verdict(points) if name == "accounts" else _verdict(points, name) for name, points in data.items()])


Point = dict[str, float | None]


def _curve(
    bench: Bench, name: str, sizes: tuple[int, ...], measure: Callable[[Bench, int], Point | None]
) -> dict[str, Point]:
    points: dict[str, Point] = {}
    for size in sizes:
        bench.say(f"growth: {size:,} {name}")
        bench.probe_noise()
        if (point := measure(bench, size)) is not None:
            points[str(size)] = point
    return points


def _with_accounts(bench: Bench, count: int) -> Point | None:
    owners = grown_keys(count)
    # Each account once, in an order that jumps about: the worst for the processor's caches.
    step = next(prime for prime in (7919, 7907, 7901) if count % prime)
    mixed = [owners[number * step % count] for number in range(min(count, bench.effort.samples))]
    for server in _up(bench, mock_config(), count):
        return _cost(bench, server, mixed)
    return None


def _with_journal(bench: Bench, size: int) -> Point | None:
    for server in _up(bench, mock_config(journal=size), 0):
        with bench.cores.on(bench.cores.client):
            load.closed_loop(
                server.port,
                signed_batch(server.port, JSON_KEYS, size, stream=False),
                connections=load.CONNECTIONS,
                seconds=60,
            )
        return _cost(bench, server, [JSON_KEYS])
    return None


def _with_streams(bench: Bench, count: int) -> Point | None:
    allowed = raise_descriptor_limit(count + _OWN_DESCRIPTORS)
    if allowed < count + _OWN_DESCRIPTORS:
        bench.skip(f"{count:,} open streams", f"a process may open {allowed:,} files here (ulimit -n)")
        return None
    for server in _up(bench, mock_config(), 0):
        before = server.memory()
        with contextlib.ExitStack() as stack:
            batch = iter(signed_batch(server.port, HELD_KEYS, count, stream=True))
            for sock, request in zip(streams.connect_many(server.port, count, stack), batch, strict=True):
                sock.send(request)
            _settle(server)
            held = (server.memory() - before) / count
            return {**_cost(bench, server, [JSON_KEYS]), "bytes_each": held}
    return None


def _up(bench: Bench, config: str, accounts: int) -> list[Server]:
    raise NotImplementedError(bench, config, accounts)
