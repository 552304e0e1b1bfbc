"""The report: tables for a terminal, Markdown and JSON."""

from __future__ import annotations

import unicodedata
from typing import Any

from benchmarks.bench import Bench, Finding, Table, Verdict
from benchmarks.peers import PEERS, Installed

#: What stands in the report for the words of a peer's command.
_WORDS = {
    "python": "python",
    "own_python": "python",
    "scripts": "bin",
    "node": "node",
    "modules": "node_modules",
    "servers": "benchmarks/servers",
    "port": "PORT",
    "files": "FILES",
}
_TARGET_COLUMNS = ("work", "target", "measured", "result")


def targets(findings: dict[str, Finding]) -> Table:
    """Every target that the run covers."""
    rows: list[tuple[str, ...]] = [
        (verdict.work, verdict.wanted, verdict.measured or "-", verdict.result)
        for finding in findings.values()
        for verdict in finding.verdicts
    ]
    return Table("Targets", _TARGET_COLUMNS, rows, "Ratios are of one run: the median over its rounds, [range].")


def peers(here: Installed) -> Table:
    """Where the peers come from, and the command that starts each."""
    rows: list[tuple[str, ...]] = []
    for peer in PEERS:
        source = f"{peer.registry}: {peer.package}" if peer.package else "written here"
        version = here.versions.get(peer.package, "") if peer.package else ""
        words = {
            "python": "python",
            "own_python": "python",
            "scripts": "bin",
            "node": "node",
            "modules": "node_modules",
        }
        command = peer.command.format_map({**words, "servers": "benchmarks/servers", "port": "PORT", "files": "FILES"})
        rows.append((peer.name, f"{source} {version}".strip(), f"`{command}`", peer.note))
    return Table("Peers", ("peer", "from", "started by", "note"), rows)


def text(table: Table) -> str:
    """A table for a terminal."""
    lines = [table.columns, *table.rows]
    widths = [max(_width(line[index]) for line in lines) for index in range(len(table.columns))]
    shown = ["  ".join(_pad(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    shown.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([f"\n{table.title}", *shown])


def markdown(table: Table) -> str:
    """A table as Markdown."""
    cells = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells]
    return "\n".join([f"## {table.title}", "", *lines, *(["", table.note] if table.note else [])])


def noise_words(bench: Bench) -> str:
    """How far the figures can be trusted."""
    noise = bench.noise.to_dict()
    if not bench.noise.seconds:
        return "No noise was measured."
    words = (
        f"One fixed loop, timed {noise['probes']} times between the measurements, took {noise['median_ms']} ms and "
        f"drifted by {noise['drift']} x; the load average at the end was {noise['load_average']}."
    )
    return f"{words} Read ratios, not figures." if bench.noise.drift >= 1.2 else words


def machine_words(machine: dict[str, Any]) -> list[str]:
    """What was measured on, in a few words each."""
    return [
        machine["processor"],
        f"{machine['cores']} cores",
        f"{machine['memory_gib']} GiB",
        machine["system"],
        machine["python"],
    ]


def document(bench: Bench, machine: dict[str, Any], mode: str, findings: dict[str, Finding], plot: str) -> str:
    """``docs/performance.md``."""
    pinned = (
        "server and client each pinned to a core" if bench.cores.pinned else "nobody pinned to a core (too few of them)"
    )
    parts = [
        "# Performance",
        "Written by `python -m benchmarks --write`; repeat it on your own machine.",
        f"Effort: {mode}; {pinned}; rounds interleaved (A B C, A B C).",
        f"Machine: {', '.join(machine_words(machine))}.",
        f"Noise: {noise_words(bench)}",
        f"![what was measured]({plot})",
        markdown(targets(findings)),
        *(markdown(table) for finding in findings.values() for table in finding.tables),
        markdown(peers(bench.here)),
    ]
    if bench.skipped:
        parts.append("## Skipped\n\n" + "\n".join(f"- {what}: {why}" for what, why in bench.skipped.items()))
    return "\n\n".join(parts) + "\n"


def data(bench: Bench, machine: dict[str, Any], mode: str, findings: dict[str, Finding]) -> dict[str, Any]:
    """``docs/performance.json``."""
    return {
        "machine": machine,
        "noise": bench.noise.to_dict(),
        "effort": mode,
        "pinned": bench.cores.pinned,
        "peers": bench.here.versions,
        "skipped": bench.skipped,
        "targets": [_target(verdict) for finding in findings.values() for verdict in finding.verdicts],
        "findings": {name: finding.data for name, finding in findings.items()},
    }


def _target(verdict: Verdict) -> dict[str, Any]:
    return {
        "work": verdict.work,
        "wanted": verdict.wanted,
        "measured": verdict.measured,
        "result": verdict.result,
        "value": verdict.value,
        "limit": verdict.limit,
        "sense": verdict.sense,
    }


def _width(cell: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in cell)


def _pad(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))
