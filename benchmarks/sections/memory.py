"""Row 4: memory, idle and over very many requests."""

from __future__ import annotations

import statistics
import time

from benchmarks.bench import Bench, Finding, Table, Verdict
from benchmarks.contenders import QFKIT, Contender, others, ours
from benchmarks.load import CONNECTIONS
from benchmarks.machine import measurable
from benchmarks.processes import Server
from benchmarks.sockets import closed_loop

_MOST_IDLE_MB = 45.0
#: Flat: from the journal's being full to the last request, memory grows by this much at most; an allocator is never
#: quite still.
_MOST_GROWTH = 0.05
_JOURNAL = 10_000
_SETTLE_SECONDS = 0.5
_STEPS = 10


def run(bench: Bench) -> Finding:
    """Idle memory of everybody, then the mock's over the requests of the effort."""
    if not measurable():
        bench.skip("memory", "the memory of another process is read from /proc, which this system has not")
        return Finding({}, [], _verdicts({}, {}))
    mock = ours("json", bench.scratch)[0]
    everyone = [mock, *others("json", bench.here, bench.names, bench.scratch)]
    with bench.serving(everyone) as up:
        time.sleep(_SETTLE_SECONDS)
        idle = {contender.name: server.memory() for contender, server in up}
    with bench.serving([mock]) as up:
        samples = {0: idle.get(QFKIT, 0)}
        for contender, server in up:
            samples = _flat(bench, contender, server)
    lines = [(name, f"{size / 1e6:.1f}") for name, size in idle.items()]
    flat = [(f"{count:,}", f"{size / 1e6:.1f}") for count, size in samples.items()]
    data = {"idle_bytes": idle, "over_requests": samples}
    tables = [
        Table("Memory, idle", ("server", "MB resident, after its first answer"), lines),
        Table(
            "Memory of qfkit over requests",
            ("signed requests answered", "MB resident"),
            flat,
            "Its journal keeps the last 10,000 requests of the server and as many of each account.",
        ),
    ]
    return Finding(data, tables, _verdicts(idle, samples))


def _flat(bench: Bench, contender: Contender, server: Server) -> dict[int, int]:
    samples = {0: server.memory()}
    step, sent = bench.effort.requests // _STEPS, 0
    for number in range(_STEPS):
        bench.say(f"memory: {sent:,} of {bench.effort.requests:,} requests")
        batch = contender.batch(server.port, step)
        with bench.cores.on(bench.cores.client):
            tally = closed_loop(server.port, batch, connections=CONNECTIONS, seconds=120)
        if tally.errors:
            bench.skip(f"memory, step {number + 1}", f"{tally.errors} requests failed")
        sent += tally.answers
        samples[sent] = server.memory()
    return samples


def _verdicts(idle: dict[str, int], samples: dict[int, int]) -> list[Verdict]:
    wanted_idle = f"under {_MOST_IDLE_MB:g} MB"
    wanted_flat = f"grows by at most {_MOST_GROWTH:.0%} once the journal is full"
    size = idle.get(QFKIT)
    full = [held for count, held in samples.items() if count > 1.1 * _JOURNAL]
    if size is None or len(full) < 2:
        idle_verdict = Verdict(work="memory, idle", wanted=wanted_idle, measured=None)
        return [idle_verdict, Verdict(work="memory over requests", wanted=wanted_flat, measured=None)]
    growth = statistics.mean(full[-2:]) / full[0] - 1
    count = list(samples)[-1]
    megabytes = size / 1e6
    return [
        Verdict(
            work="memory, idle",
            wanted=wanted_idle,
            measured=f"{megabytes:.1f} MB",
            value=megabytes,
            limit=_MOST_IDLE_MB,
            sense="at most",
        ),
        Verdict(
            work=f"memory over {count:,} requests",
            wanted=wanted_flat,
            measured=f"{growth:+.0%} ({full[0] / 1e6:.0f} to {full[-1] / 1e6:.0f} MB)",
            value=growth,
            limit=_MOST_GROWTH,
            sense="at most",
        ),
    ]
