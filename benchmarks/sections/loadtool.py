"""What our load generator costs for a call, beside users of plain Locust that measure next to nothing."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from benchmarks.bench import Bench, Finding, Spread, Table, Verdict
from benchmarks.contenders import ours
from benchmarks.loaders_names import NAMES, PLAIN
from benchmarks.processes import output_of, own_module

_TIMEOUT = 300.0


def run(bench: Bench) -> Finding:
    """Every kind of user in turn, each time in a new process, against one mock on the other core."""
    cpu: dict[str, list[float]] = {}
    with bench.serving(ours("json", bench.scratch)[:1]) as up:
        for _, server in up:
            url = f"http://127.0.0.1:{server.port}"
            for number in range(bench.effort.rounds):
                bench.probe_noise()
                for name in NAMES:
                    if name in bench.skipped:
                        continue
                    bench.say(f"loadtool: round {number + 1} of {bench.effort.rounds}: {name}")
                    command = own_module("loaders", name, url, str(bench.effort.calls))
                    try:
                        found = json.loads(output_of(command, bench.cores, _TIMEOUT).splitlines()[-1])
                    except (RuntimeError, subprocess.TimeoutExpired) as error:
                        bench.skip(name, str(error))
                        continue
                    cpu.setdefault(name, []).append(found["microseconds"])
    return _finding({name: Spread(tuple(values)) for name, values in cpu.items()})


def _finding(cpu: dict[str, Spread]) -> Finding:
    lines = []
    data: dict[str, Any] = {}
    verdicts = []
    for name, spread in cpu.items():
        plain = PLAIN[NAMES[name]]
        ratio = spread.median / cpu[plain].median if plain in cpu and name != plain else None
        lines.append((name, NAMES[name], spread.show(), "" if ratio is None else f"{ratio:.2f}x"))
        data[name] = {"microseconds": spread.to_dict(), "ratio": ratio}
    for name, what in (("qfkit ChatUser", "whole answers"), ("qfkit StreamUser", "streams")):
        found = data.get(name, {}).get("ratio")
        verdicts.append(
            Verdict(
                work=f"load generator's CPU a call, {what}",
                wanted="at most 2x Locust's HttpUser",
                measured=None if found is None else f"{found:.2f}x",
                value=found,
                limit=2.0,
                sense="at most",
            )
        )
    table = Table(
        "A load test's call: processor time of the generator",
        ("user", "asks for", "µs a call, median [range]", "of plain Locust"),
        lines,
        "One user, one call after the other over a kept connection. Plain Locust posts and reads JSON, and measures "
        "the time to the headers; ours authenticates, checks the answer, notes every moment, and counts tokens.",
    )
    return Finding(data, [table], verdicts)
