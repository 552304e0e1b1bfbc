"""Row 3: paced streams. How late each piece is when thousands are open, and what an open stream costs."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks import streams
from benchmarks.bench import Bench, Finding, Table, Verdict
from benchmarks.contenders import AIMOCK_PACED, QFKIT, Contender, others, ours
from benchmarks.load import CONNECTIONS
from benchmarks.machine import measurable, raise_descriptor_limit
from benchmarks.processes import Server
from benchmarks.sockets import closed_loop
from benchmarks.work import INTERVAL, PACED_KEYS, PIECES, UNPACED_FIRST, signed_batch

TARGET_STREAMS = 2000
_MOST_LATE_MS, _MOST_KIB = 20.0, 10.0
#: Events before the first piece: OpenAI's role.
_LEADS = {AIMOCK_PACED: 1}


def run(bench: Bench) -> Finding:
    """Every number of streams of the effort, one after the other."""
    raise_descriptor_limit(4 * max(bench.effort.streams) + 1000)
    everyone = ours("paced", bench.scratch)
    if bench.effort.all_peers:
        everyone += others("paced", bench.here, (AIMOCK_PACED,), bench.scratch)
    data: dict[str, Any] = {}
    lines: list[tuple[str, ...]] = []
    for contender in everyone:
        for count in bench.effort.streams:
            # A server of its own for each run, so that memory that an earlier run left behind hides nothing.
            with bench.serving([contender]) as up:
                for _, server in up:
                    bench.say(f"paced: {contender.name}: {count} streams")
                    bench.probe_noise()
                    found = _measure(bench, contender, server, count)
                    data.setdefault(contender.name, {})[str(count)] = found
                    lines.append(_line(contender.name, count, found))
    columns = (
        "server",
        "streams at once",
        "p50 ms",
        "p99 ms",
        "max ms",
        "CPU of its core",
        "client busy",
        "KiB a stream",
        "broken",
    )
    note = (
        f"{len(PIECES)} pieces, one each {INTERVAL * 1000:.0f} ms. Error: received against scheduled, counted from the "
        f"moment the request was sent; starts spread over one stream's length, streams back to back on each "
        f"connection. KiB a stream: growth of resident memory while all are open."
    )
    table = Table("Paced SSE: how late a piece arrives", columns, lines, note)
    return Finding(data, [table], _verdicts(data.get(QFKIT, {}).get(str(TARGET_STREAMS))))


def _measure(bench: Bench, contender: Contender, server: Server, count: int) -> dict[str, Any]:
    cycles = bench.effort.cycles
    if contender.name == QFKIT:
        _fill_journal(bench, server)
    before, peak = server.memory(), [0]

    def at_peak() -> None:
        peak[0] = server.memory()

    batch = contender.batch(server.port, count * cycles)
    cpu = server.cpu()
    own = time.process_time()
    with bench.cores.on(bench.cores.client):
        result = streams.paced(
            server.port, batch, streams=count, cycles=cycles, lead=_LEADS.get(contender.name, 0), at_peak=at_peak
        )
    late = sorted(result.errors)
    percentiles = statistics.quantiles(late, n=100) if len(late) > 1 else [0.0] * 99
    return {
        "p50_ms": percentiles[49] * 1000,
        "p99_ms": percentiles[98] * 1000,
        "max_ms": late[-1] * 1000 if late else 0.0,
        "pieces": len(late),
        "finished": result.finished,
        "broken": result.broken,
        "most_open": result.most_open,
        "bytes_a_stream": (peak[0] - before) / count if measurable() else None,
        "cpu_share": (server.cpu() - cpu) / result.seconds if measurable() else None,
        "client_busy": (time.process_time() - own) / result.seconds,
    }


def _fill_journal(bench: Bench, server: Server) -> None:
    """Beforehand, so that what grows is the streams; the last few are paced already."""
    batch = signed_batch(server.port, PACED_KEYS, UNPACED_FIRST + CONNECTIONS, stream=True)
    with bench.cores.on(bench.cores.client):
        closed_loop(server.port, batch, connections=CONNECTIONS, seconds=30)


def _line(name: str, count: int, found: dict[str, Any]) -> tuple[str, ...]:
    share, size = found["cpu_share"], found["bytes_a_stream"]
    return (
        name,
        f"{found['most_open']:,} of {count:,}",
        f"{found['p50_ms']:.1f}",
        f"{found['p99_ms']:.1f}",
        f"{found['max_ms']:.1f}",
        "-" if share is None else f"{share:.0%}",
        f"{found['client_busy']:.0%}",
        "-" if size is None else f"{size / 1024:.1f}",
        str(found["broken"]),
    )


def _verdicts(found: dict[str, Any] | None) -> list[Verdict]:
    work = f"paced SSE, {TARGET_STREAMS:,} streams at {INTERVAL * 1000:.0f} ms"
    late, size = f"p99 error under {_MOST_LATE_MS:g} ms", f"under {_MOST_KIB:g} KiB a stream"
    if found is None:
        return [Verdict(work=work, wanted=wanted, measured=None) for wanted in (late, size)]
    p99, held = found["p99_ms"], found["bytes_a_stream"]
    kib = None if held is None else held / 1024
    return [
        Verdict(work=work, wanted=late, measured=f"{p99:.1f} ms", value=p99, limit=_MOST_LATE_MS, sense="at most"),
        Verdict(
            work=work,
            wanted=size,
            measured=None if kib is None else f"{kib:.1f} KiB",
            value=kib or 0.0,
            limit=_MOST_KIB,
            sense="at most",
        ),
    ]
