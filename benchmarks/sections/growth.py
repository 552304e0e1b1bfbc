"""Row 7: growth. A request's cost with ever more accounts, a larger journal, more open streams."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import streams
from benchmarks.bench import Bench, Finding, Table, Verdict
from benchmarks.contenders import Contender, signed
from benchmarks.load import CONNECTIONS
from benchmarks.machine import measurable, raise_descriptor_limit
from benchmarks.processes import Server, own_module
from benchmarks.sockets import closed_loop
from benchmarks.work import HELD_KEYS, JSON_KEYS, Keys, grown_keys, mock_config, signed_batch

#: Noise on a shared machine comes to about this; less is no finding.
_MOST_TIMES = 1.5
_OWN_DESCRIPTORS = 200
_PATIENCE = 60.0

Point = dict[str, float]


@dataclass(frozen=True, slots=True)
class _Curve:
    """One way to grow.

    Attributes:
        sizes: the points, from the effort.
        accounts: size -> further accounts of the server.
        journal: size -> limit of its journal.
        measure: how a point is taken.
        descriptors: size -> files that the server has open.
    """

    sizes: Callable[[Bench], tuple[int, ...]]
    measure: Callable[[Bench, Server, int], Point]
    accounts: Callable[[int], int] = lambda _size: 0
    journal: Callable[[int], int] = lambda _size: 10_000
    descriptors: Callable[[int], int] = lambda _size: 0


_NOTES = {
    "accounts": "Each request by another account, whose answer is made up: dearer than the scripted one of the others.",
    "open streams": "A stream that waits for its first piece, its entry in the journal included.",
}


def run(bench: Bench) -> Finding:
    """The three curves, each point by a server of its own."""
    if not measurable():
        bench.skip("growth", "the processor time of another process is read from /proc, which this system has not")
        return Finding({}, [], [_verdict(name, {}) for name in CURVES])
    data = {name: _points(bench, name, curve) for name, curve in CURVES.items()}
    return Finding(
        data,
        [_table(name, points) for name, points in data.items()],
        [_verdict(name, points) for name, points in data.items()],
    )


def _points(bench: Bench, name: str, curve: _Curve) -> dict[str, Point]:
    points: dict[str, Point] = {}
    for size in curve.sizes(bench):
        wanted = curve.descriptors(size) + _OWN_DESCRIPTORS
        if (allowed := raise_descriptor_limit(wanted)) < wanted:
            bench.skip(f"{size:,} {name}", f"a process may open {allowed:,} files here (ulimit -n)")
            continue
        bench.say(f"growth: {size:,} {name}")
        bench.probe_noise()
        with bench.serving([_contender(bench, curve, size)]) as up:
            for _, server in up:
                points[str(size)] = curve.measure(bench, server, size)
    return points


def _contender(bench: Bench, curve: _Curve, size: int) -> Contender:
    config = bench.scratch / "grown.yaml"
    config.write_text(mock_config(journal=curve.journal(size)), "utf-8")
    accounts = str(curve.accounts(size))

    def command(port: int) -> list[str]:
        return own_module("servers.grown", str(port), str(config), accounts)

    return signed("qfkit, grown", command, JSON_KEYS, "json")


def _cost(bench: Bench, server: Server, owners: Sequence[Keys]) -> Point:
    """Processor time of the server for one signed request."""
    for _ in range(2):  # the first time warms up
        batch = signed_batch(server.port, owners, bench.effort.samples, stream=False)
        used = server.cpu()
        with bench.cores.on(bench.cores.client):
            tally = closed_loop(server.port, batch, connections=CONNECTIONS, seconds=_PATIENCE)
        used = server.cpu() - used
    return {"microseconds": used / max(1, tally.answers) * 1e6, "answers": tally.answers, "errors": tally.errors}


def _with_accounts(bench: Bench, server: Server, count: int) -> Point:
    owners = grown_keys(count)
    # In an order that jumps about: the worst for the processor's caches.
    mixed = [owners[number * 7919 % count] for number in range(min(count, bench.effort.samples))]
    return _cost(bench, server, mixed)


def _with_journal(bench: Bench, server: Server, size: int) -> Point:
    batch = signed_batch(server.port, JSON_KEYS, size, stream=False)
    with bench.cores.on(bench.cores.client):
        closed_loop(server.port, batch, connections=CONNECTIONS, seconds=_PATIENCE)
    return _cost(bench, server, [JSON_KEYS])


def _with_streams(bench: Bench, server: Server, count: int) -> Point:
    before = server.memory()
    with contextlib.ExitStack() as stack, bench.cores.on(bench.cores.client):
        sockets = streams.connect_many(server.port, count, stack)
        for sock, request in zip(sockets, signed_batch(server.port, HELD_KEYS, count, stream=True), strict=True):
            sock.send(request)
        waiting, deadline = sockets, time.monotonic() + _PATIENCE
        while waiting and time.monotonic() < deadline:  # each has had its head, so each is open
            waiting = [sock for sock in waiting if not _arrived(sock)]
            time.sleep(0.05)
        grown = server.memory() - before
        return {**_cost(bench, server, [JSON_KEYS]), "bytes_each": grown / count, "open": count - len(waiting)}


def _arrived(sock: object) -> bool:
    try:
        return bool(sock.recv(4096))  # type: ignore[attr-defined]
    except BlockingIOError:
        return False


CURVES: dict[str, _Curve] = {
    "accounts": _Curve(lambda bench: bench.effort.accounts, _with_accounts, accounts=lambda size: size),
    "journal": _Curve(lambda bench: bench.effort.journal, _with_journal, journal=lambda size: size),
    "open streams": _Curve(lambda bench: bench.effort.open_streams, _with_streams, descriptors=lambda size: size),
}


def _table(name: str, points: dict[str, Point]) -> Table:
    lines = []
    for size, point in points.items():
        each = f"{point['bytes_each'] / 1024:.1f}" if "bytes_each" in point else "-"
        lines.append((f"{int(size):,}", f"{point['microseconds']:.0f}", each, f"{point['errors']:.0f}"))
    columns = (name, "server CPU µs a signed request", "KiB each", "errors")
    return Table(f"Growth: {name}", columns, lines, _NOTES.get(name, ""))


def _verdict(name: str, points: dict[str, Point]) -> Verdict:
    work = f"a request's cost with more {name}"
    wanted = f"does not grow (at most {_MOST_TIMES:g} x, the noise)"
    costs = [point["microseconds"] for point in points.values()]
    if len(costs) < 2:
        return Verdict(work=work, wanted=wanted, measured=None)
    times = costs[-1] / costs[0]
    sizes = [f"{int(size):,}" for size in points]
    return Verdict(
        work=work,
        wanted=wanted,
        measured=f"{times:.2f} x from {sizes[0]} to {sizes[-1]}",
        value=times,
        limit=_MOST_TIMES,
        sense="at most",
    )
