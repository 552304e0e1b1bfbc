"""Row 5: from the start of the process to its first 200."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import Bench, Finding, Spread, Table, Verdict
from benchmarks.contenders import AIMOCK, QFKIT, RIVALS, others, ours

_MOST_SECONDS = 0.25


def run(bench: Bench) -> Finding:
    """Start and stop everybody in turn, again and again."""
    names = bench.names if bench.effort.all_peers else tuple(name for name in bench.names if name in RIVALS)
    everyone = [ours("json", bench.scratch)[0], *others("json", bench.here, names, bench.scratch)]
    taken: dict[str, list[float]] = {}
    for number in range(bench.effort.starts + 1):  # the first one reads the files from the disk
        bench.say(f"start: {'warming up' if not number else f'round {number} of {bench.effort.starts}'}")
        bench.probe_noise()
        for contender in everyone:
            if contender.name in bench.skipped:
                continue
            with bench.serving([contender]) as up:
                for _, server in up:
                    if number:
                        taken.setdefault(contender.name, []).append(server.seconds_to_first)
    spreads = {name: Spread(tuple(values)) for name, values in taken.items()}
    lines = [(name, spread.show(3)) for name, spread in spreads.items()]
    note = "Asked every millisecond on a port that was free; files are in the page cache, and compiled."
    table = Table("Cold start to the first 200", ("server", "seconds, median [range]"), lines, note)
    data: dict[str, Any] = {name: spread.to_dict() for name, spread in spreads.items()}
    return Finding(data, [table], _verdicts(spreads))


def _verdicts(spreads: dict[str, Spread]) -> list[Verdict]:
    work, wanted, faster = "cold start to the first 200", f"under {_MOST_SECONDS:g} s", "under aimock's"
    mine, theirs = spreads.get(QFKIT), spreads.get(AIMOCK)
    if mine is None:
        return [Verdict(work=work, wanted=text, measured=None) for text in (wanted, faster)]
    shown = f"{mine.median:.3f} s"
    over = Verdict(work=work, wanted=faster, measured=None)
    if theirs is not None:
        over = Verdict(
            work=work,
            wanted=faster,
            measured=f"{shown} to {theirs.median:.3f} s",
            value=mine.median,
            limit=theirs.median,
            sense="at most",
        )
    first = Verdict(work=work, wanted=wanted, measured=shown, value=mine.median, limit=_MOST_SECONDS, sense="at most")
    return [first, over]
