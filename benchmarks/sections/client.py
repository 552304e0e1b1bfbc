"""Row 6: what a call costs its caller: processor time over a bare `requests.Session`."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from benchmarks.bench import Bench, Finding, Spread, Table, Verdict
from benchmarks.callers import CALLERS
from benchmarks.contenders import ours
from benchmarks.processes import output_of, own_module

BARE = "requests.Session"
_OURS, _THEIRS = "qfkit.Client, v2", ("qianfan, v2", "openai")
_TIMEOUT = 120.0


def run(bench: Bench) -> Finding:
    """Every client in turn, each time in a new process, against one mock on the other core."""
    cpu: dict[str, list[float]] = {}
    ready: dict[str, list[float]] = {}
    with bench.serving(ours("json", bench.scratch)[:1]) as up:
        for _, server in up:
            for number in range(bench.effort.rounds):
                bench.probe_noise()
                for name in CALLERS:
                    if name in bench.skipped:
                        continue
                    bench.say(f"client: round {number + 1} of {bench.effort.rounds}: {name}")
                    url = f"http://127.0.0.1:{server.port}"
                    command = own_module("callers", name, url, str(bench.effort.calls))
                    try:
                        said = output_of(command, bench.cores, _TIMEOUT)
                    except (RuntimeError, subprocess.TimeoutExpired) as error:
                        bench.skip(name, str(error))
                        continue
                    found = json.loads(said.splitlines()[-1])
                    cpu.setdefault(name, []).append(found["microseconds"])
                    ready.setdefault(name, []).append(found["ready_ms"])
    return _finding(
        {name: Spread(tuple(values)) for name, values in cpu.items()},
        {name: Spread(tuple(values)) for name, values in ready.items()},
    )


def _finding(cpu: dict[str, Spread], ready: dict[str, Spread]) -> Finding:
    bare = cpu.get(BARE)
    lines = []
    data: dict[str, Any] = {}
    for name, spread in cpu.items():
        over = f"{spread.median - bare.median:+,.0f}" if bare else "-"
        lines.append((name, CALLERS[name][0], spread.show(), "" if name == BARE else over, ready[name].show()))
        data[name] = {"microseconds": spread.to_dict(), "ready_ms": ready[name].to_dict()}
    table = Table(
        "A client's call: processor time of the caller",
        ("client", "dialect", "µs a call, median [range]", f"over {BARE}", "import and set-up, ms"),
        lines,
        "One call after the other over a kept connection, the same answer for all; each client alone in a process.",
    )
    return Finding(data, [table], [_verdict(cpu)])


def _verdict(cpu: dict[str, Spread]) -> Verdict:
    work, wanted = f"client call, CPU over {BARE}", "lowest of qfkit, qianfan, openai (all v2)"
    if BARE not in cpu or _OURS not in cpu or not all(name in cpu for name in _THEIRS):
        return Verdict(work=work, wanted=wanted, measured=None)
    bare = cpu[BARE].median
    mine, best = cpu[_OURS].median - bare, min(cpu[name].median - bare for name in _THEIRS)
    shown = ", ".join(f"{name} {cpu[name].median - bare:+,.0f} µs" for name in (_OURS, *_THEIRS))
    return Verdict(work=work, wanted=wanted, measured=shown, value=mine, limit=best, sense="at most")
