"""Rows 1 and 2: answers a second, JSON and unpaced SSE, all contenders in turn, round by round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks import load
from benchmarks.bench import Bench, Finding, Spread, Table, Verdict, ratio
from benchmarks.contenders import (
    AIMOCK,
    FLASK,
    HTTPSERVER,
    QFKIT,
    RIVALS,
    STAND_IN,
    Contender,
    others,
    ours,
)
from benchmarks.processes import Server
from benchmarks.sockets import ask

#: How many more requests are signed than the round before would have needed.
_MARGIN = 1.6
_FIRST_GUESS = 60_000

#: (who, over whom, at least how many times), per kind.
_TARGETS = {
    "json": ((QFKIT, STAND_IN, 15.0), (QFKIT, AIMOCK, 3.0), (QFKIT, HTTPSERVER, 9.0), (FLASK, STAND_IN, 4.0)),
    "sse": ((QFKIT, STAND_IN, 10.0), (QFKIT, AIMOCK, 2.0)),
}
_WORK = {"json": "verified signed chat, JSON", "sse": "unpaced SSE, 20 chunks"}
_TITLES = {
    "json": "Chat, JSON: answers a second, one process",
    "sse": "Chat, SSE: streams of 20 chunks a second, unpaced, one process",
}
_NOTES = {
    "json": "qfkit verifies a signature of each request (HMAC), refuses replays and keeps its journal; no peer does "
    "the first two. Every request to qfkit is signed for itself.",
    "sse": "Each server sends the same 20 pieces of text, framed in its own way; the last column counts its events "
    "and the TCP segments they came in: a server that writes each chunk by itself needs as many.",
}


@dataclass(slots=True)
class _Row:
    contender: Contender
    server: Server
    body: int = 0
    events: int = 0
    segments: int = 0
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    errors: int = 0
    memory: int = 0
    need: int = _FIRST_GUESS


def run_json(bench: Bench) -> Finding:
    """Verified signed chat beside the peers."""
    return _run(bench, "json")


def run_sse(bench: Bench) -> Finding:
    """Unpaced streams beside the peers."""
    return _run(bench, "sse")


def _run(bench: Bench, kind: str) -> Finding:
    rivals = bench.names if bench.effort.all_peers else tuple(name for name in bench.names if name in RIVALS)
    everyone = ours(kind, bench.scratch) + others(kind, bench.here, rivals, bench.scratch)
    if not bench.effort.all_peers:
        everyone = [one for one in everyone if one.name in {QFKIT, FLASK, *RIVALS}]
    with bench.serving(everyone) as up:
        rows = [_Row(contender, server) for contender, server in up]
        for row in rows:
            response = ask(row.server.port, row.contender.batch(row.server.port, 1).first())
            row.body, row.events = len(response.body), response.body.count(b"\n\n")
            row.segments = response.segments
        for number in range(bench.effort.rounds + 1):  # the first one warms up
            for row in rows:
                bench.probe_noise()
                stage = f"round {number} of {bench.effort.rounds}" if number else "warming up"
                bench.say(f"{kind}: {stage}: {row.contender.name}")
                _round(bench, row, warm=not number)
        for row in rows:
            row.memory = row.server.memory()
    return _finding(kind, rows)


def _round(bench: Bench, row: _Row, *, warm: bool) -> None:
    seconds = 1 if warm else bench.effort.seconds
    count = row.need * seconds if row.contender.signs else 0
    batch = row.contender.batch(row.server.port, count)
    result = load.run(batch, row.server.port, row.server.pid, cores=bench.cores, scratch=bench.scratch, seconds=seconds)
    row.need = max(_FIRST_GUESS, int(result.rate * _MARGIN))
    row.errors += result.errors
    if not warm:
        row.rates.append(result.rate)
        row.busy.append(result.client_busy)
        if result.server_microseconds is not None:
            row.cpu.append(result.server_microseconds)


def _finding(kind: str, rows: list[_Row]) -> Finding:
    by_name = {row.contender.name: row for row in rows}
    stand_in = by_name.get(STAND_IN)
    lines: list[tuple[str, ...]] = []
    data: dict[str, Any] = {}
    for row in rows:
        rates, name = Spread(tuple(row.rates)), row.contender.name
        times = ratio(row.rates, stand_in.rates).show(1) if stand_in else "-"
        lines.append(
            (
                name,
                rates.show(),
                f"{times} x" if stand_in else "-",
                Spread(tuple(row.cpu)).show() if row.cpu else "-",
                f"{row.memory / 1e6:.0f}" if row.memory else "-",
                f"{max(row.busy):.0%}",
                str(row.errors),
                f"{row.body:,} B" + ("" if kind == "json" else f", {row.events} events, {row.segments} segments"),
            )
        )
        data[name] = {
            "rate": rates.to_dict(),
            "server_microseconds": Spread(tuple(row.cpu)).to_dict() if row.cpu else None,
            "memory_bytes_after": row.memory,
            "client_busy_most": max(row.busy),
            "errors": row.errors,
            "body_bytes": row.body,
            "events": row.events,
            "segments": row.segments,
        }
    columns = (
        "server",
        "a second, median [range]",
        "over the stand-in",
        "server CPU µs each",
        "MB after",
        "load generator busy",
        "errors",
        "answer",
    )
    verdicts = [_verdict(kind, by_name, *target) for target in _TARGETS[kind]]
    note = f"{_NOTES[kind]} Load: {load.tool()}, {load.CONNECTIONS} connections."
    return Finding(data, [Table(_TITLES[kind], columns, lines, note)], verdicts)


def _verdict(kind: str, rows: dict[str, _Row], name: str, over: str, least: float) -> Verdict:
    work = f"{_WORK[kind]}{', through Flask' if name == FLASK else ''}"
    wanted = f"at least {least:g} x {over}"
    if name not in rows or over not in rows:
        return Verdict(work=work, wanted=wanted, measured=None)
    times = ratio(rows[name].rates, rows[over].rates)
    return Verdict(work=work, wanted=wanted, measured=f"{times.show(1)} x", value=times.median, limit=least)
