"""``python -m benchmarks``: measure, print the tables, and with ``--write`` put them into docs/performance.*."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from benchmarks import machine, peers, plot, report
from benchmarks.bench import EFFORTS, Bench, Finding
from benchmarks.contenders import RIVALS
from benchmarks.machine import Cores
from benchmarks.sections import SECTIONS, run

#: Sections that measure peers.
_WITH_PEERS = frozenset({"json", "sse", "paced", "memory", "start"})
_DOCS = Path(__file__).parent.parent / "docs"


def main() -> int:
    """Run what was asked for; the exit code is 0 also when targets are missed: a figure is no test."""
    options = _options()
    signal.signal(signal.SIGTERM, _interrupted)
    mode = "quick" if options.quick else "full" if options.full else "normal"
    start = time.perf_counter()

    def say(words: str) -> None:
        print(f"[{time.perf_counter() - start:6.1f} s] {words}", file=sys.stderr, flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="qfkit-bench-") as scratch:
            bench = _prepare(options, mode, Path(scratch), say)
            findings: dict[str, Finding] = {}
            for name in options.sections or SECTIONS:
                findings[name] = run(name, bench)
                for table in findings[name].tables:
                    print(report.text(table), flush=True)
            bench.probe_noise()
    except KeyboardInterrupt:
        print("\ninterrupted: every server that was started is stopped", file=sys.stderr)
        return 130
    if (table := report.targets(findings)).rows:
        print(report.text(table))
    described = machine.describe()
    print(f"\n{', '.join(report.machine_words(described))}")
    print(report.noise_words(bench))
    for what, why in bench.skipped.items():
        print(f"Skipped {what}: {why}")
    if options.write:
        _write(bench, described, mode, findings)
    say("done")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure qfkit beside its peers, on this machine's loopback and nowhere else.",
        epilog=f"Peers: {', '.join(peer.name for peer in peers.PEERS)}. They are installed by name into a cache of "
        "their own (QFKIT_BENCH_CACHE).",
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of: {', '.join(SECTIONS)}; default: all")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="under a minute: one round, only the peers with a target")
    effort.add_argument("--full", action="store_true", help="1,000,000 requests, growth to 100,000, more rounds")
    parser.add_argument("--peers", metavar="NAME", nargs="*", help="only these peers; none at all for qfkit alone")
    parser.add_argument("--no-install", action="store_true", help="use only peers that an earlier run has installed")
    parser.add_argument("--no-pin", action="store_true", help="let the system choose the cores")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md, .json and .svg")
    options = parser.parse_args()
    if unknown := [name for name in options.sections if name not in SECTIONS]:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    known = [peer.name for peer in peers.PEERS]
    if unknown := [name for name in options.peers or () if name not in known]:
        parser.error(f"no peer {', '.join(map(repr, unknown))}; there are {', '.join(map(repr, known))}")
    if options.write and options.sections:
        parser.error("--write wants every section: a report with holes would replace a whole one")
    return options


def _prepare(options: argparse.Namespace, mode: str, scratch: Path, say: Callable[[str], None]) -> Bench:
    effort = EFFORTS[mode]
    names = tuple(peer.name for peer in peers.PEERS) if options.peers is None else tuple(options.peers)
    if not effort.all_peers:
        names = tuple(name for name in names if name in RIVALS)
    with_peers = not options.sections or bool(_WITH_PEERS.intersection(options.sections))
    here = peers.install(names if with_peers else (), allowed=not options.no_install, say=say)
    bench = Bench(effort, Cores.choose(pin=not options.no_pin), here, names, scratch, say)
    for package, why in here.missing.items():
        bench.skip(package, why)
    return bench


def _write(bench: Bench, described: dict[str, object], mode: str, findings: dict[str, Finding]) -> None:
    figures = {name: finding.data for name, finding in findings.items()}
    (_DOCS / "performance.svg").write_text(plot.draw(figures), "utf-8")
    (_DOCS / "performance.md").write_text(report.document(bench, described, mode, findings, "performance.svg"), "utf-8")
    (_DOCS / "performance.json").write_text(
        json.dumps(report.data(bench, described, mode, findings), indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    print(f"written: {', '.join(f'docs/performance.{kind}' for kind in ('md', 'json', 'svg'))}")


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
