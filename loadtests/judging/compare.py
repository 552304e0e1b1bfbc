"""Two reports, held against each other: what got worse, by how much, and how sure that is.

A *regression* is a row that is worse by more than the tolerance beyond chance; `loadtests.judging.differences` has the
statistics. What the numbers cannot tell is said, with the smallest difference that they would have shown.

Exit codes: 0 no regression, 1 a regression, 2 the reports are not comparable, 3 one of them is not to be trusted, or
holds too few calls to tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp, fsum, log
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from loadtests.judging.differences import (
    ALPHA,
    BATCHES,
    Difference,
    between_runs,
    both,
    duration_effect,
    holm,
    percentiles,
    rates,
    share_effect,
    shares,
)
from loadtests.judging.slo_measures import MEASURES
from loadtests.judging.slo_results import shown
from loadtests.planning.plan import is_loopback
from loadtests.reporting.page import data_of
from loadtests.reporting.report import FORMAT
from loadtests.reporting.terminal import table
from loadtests.reporting.words import figure

Data = Mapping[str, Any]

#: What is compared, as far as both runs have it.
_DURATIONS = ("latency", "ttft", "itl", "tpot", "e2e")
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

#: Of which a run has one figure.
_SINGLES = ("recovery", "storm", "wasted", "ceiling")

#: Compared by their difference, not by their ratio.
_SHARES = frozenset({"errors", "goodput"})
_LESS_IS_WORSE = frozenset({"goodput", "ok_qps"})

#: Settings that should be the same in both.
_SETTINGS = ("dialect", "model", "client", "load", "users", "attempts", "run_time", "warmup", "python", "locust")


class NotComparable(ValueError):
    """Two files that say nothing about each other; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        scenario: of both runs.
        measure: such as ``ttft.p95`` or ``errors``.
        a: of the first run: milliseconds, a share of one, or per second.
        b: of the second.
        difference: None when there were too few calls to tell.
        p: of any difference, corrected.
        p_beyond: of one for the worse beyond the tolerance, corrected.
        verdict: ``worse``, ``better``, ``unclear`` (by itself beyond chance, among so many rows not), ``same`` (nothing
            that so many calls can show) or ``untold`` (too few).
        regression: worse beyond the tolerance, beyond chance.
        text: in words.
    """

    scenario: str
    measure: str
    a: float
    b: float
    difference: Difference | None
    p: float | None = None
    p_beyond: float | None = None
    verdict: str = "untold"
    regression: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that was found.

    Attributes:
        rows: what was compared.
        warnings: what makes the comparison weaker.
        distrust: why nothing can be concluded.
        tolerance: relative difference for the worse that is allowed.
    """

    rows: Sequence[Row]
    warnings: Sequence[str]
    distrust: Sequence[str]
    tolerance: float

    @property
    def regressions(self) -> list[Row]:
        """The rows that are worse beyond the tolerance."""
        return [row for row in self.rows if row.regression]

    @property
    def code(self) -> int:
        """The exit code."""
        return 3 if self.distrust else 1 if self.regressions else 0

    @property
    def why(self) -> str:
        """The exit code in words."""
        if self.distrust:
            return self.distrust[0]
        if worse := self.regressions:
            first = f"{worse[0].scenario} {worse[0].measure} {worse[0].text}"
            beyond = f"beyond {self.tolerance * 100:.3g} %"
            return f"{len(worse)} of {len(self.rows)} figures got worse {beyond}: {first}"
        return f"no regression beyond {self.tolerance * 100:.3g} % in {len(self.rows)} figures"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "tolerance": self.tolerance,
            "alpha": ALPHA,
            "rows": [asdict(row) for row in self.rows],
            "warnings": list(self.warnings),
            "distrust": list(self.distrust),
            "exit": {"code": self.code, "why": self.why},
        }

    def render(self) -> str:
        """For a terminal, without a line break at its end."""
        several = len({row.scenario for row in self.rows}) > 1
        cells = [
            (
                "REGRESSION" if row.regression else row.verdict,
                row.scenario if several else "",
                row.measure,
                _shown(row.measure, row.a),
                _shown(row.measure, row.b),
                row.text,
            )
            for row in self.rows
        ]
        blocks = ["\n".join(table(("", "", "", "A", "B", ""), cells, left={0, 1, 2, 5}))]
        blocks.append("\n".join(f"Note: {text}" for text in [*self.warnings, *self.distrust]))
        return "\n\n".join([*(block for block in blocks if block), f"exit code {self.code}: {self.why}"])


def read(file: str | Path) -> dict[str, Any]:
    """A report, from the JSON of ``--json`` or ``--report-json``, or from the page of ``--html-report``.

    Raises:
        NotComparable: the file cannot be read, or holds no report of this format.
    """
    try:
        text = Path(file).read_text("utf-8")
    except OSError as error:
        raise NotComparable(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise NotComparable(f"{file} is not UTF-8 (byte {error.start}): no report of 'qfkit load'") from error
    try:
        data = data_of(text) if text.lstrip().startswith("<") else json.loads(text)
    except ValueError as error:
        raise NotComparable(f"{file} holds no report: write one with 'qfkit load ... --report-json FILE'") from error
    if not isinstance(data, dict) or not isinstance(data.get("scenarios"), dict):
        raise NotComparable(f"{file} holds no report: write one with 'qfkit load ... --report-json FILE'")
    if data.get("format") != FORMAT:
        raise NotComparable(
            f"{file} is of format {data.get('format')}, and this qfkit compares format {FORMAT}: measure it anew"
        )
    return data


def compare(a: Data, b: Data, *, baselines: Sequence[Data] = (), tolerance: float = 0.05, seed: int = 0) -> Comparison:
    """Hold the second report against the first.

    Args:
        a: the report to compare with.
        b: the report in question.
        baselines: further runs of the same thing as ``a``. With two or more, a difference must also stand out from how
            much these runs differ from each other.
        tolerance: relative difference for the worse that is allowed, of durations and rates; errors have none.
        seed: of the draws; the same seed gives the same figures.

    Raises:
        NotComparable: the runs are of different scenarios or kinds of service.
    """
    common = [name for name in a["scenarios"] if name in b["scenarios"]]
    if not common:
        raise NotComparable(f"no scenario is in both: A has {_listed(a['scenarios'])}, B has {_listed(b['scenarios'])}")
    named = {"A": a, **{f"baseline {number}": one for number, one in enumerate(baselines, 1)}, "B": b}
    for name, one in named.items():
        if _kind(one["host"]) != _kind(a["host"]):
            said = f"A was measured on {_kind(a['host'])}, {name} on {_kind(one['host'])}"
            raise NotComparable(f"{said}: their times say nothing about each other")
    found = [row for name in common for row in _rows(name, a, b, tolerance, seed)]
    found = [_widened(row, [a, *baselines], tolerance) for row in found] + list(_singles(a, b))
    rows, distrust = _judged(found, tolerance), list(_distrust(named))
    if all(row.difference is None for row in rows if row.measure.partition(".")[0] in _DURATIONS):
        distrust.append("too few calls to compare any duration: measure for longer")
    warnings = list(_warnings(a, b, named))
    if len(baselines) == 1:
        warnings.append("one --baseline says nothing of how runs differ from each other: give two or more")
    return Comparison(rows, warnings, distrust, tolerance)


def _rows(name: str, a: Data, b: Data, tolerance: float, seed: int) -> Iterator[Row]:
    first, second = a["scenarios"][name], b["scenarios"][name]
    for duration in _DURATIONS:
        one, other = first["milliseconds"].get(duration), second["milliseconds"].get(duration)
        if one and other:
            sizes = (_size(first, duration), _size(second, duration))
            cells = (first["histograms"][duration], second["histograms"][duration])
            exact = {share: (one[column], other[column]) for column, share in _PERCENTILES.items()}
            found = percentiles(*cells, exact, sizes=sizes, tolerance=tolerance, seed=seed)
            for column, share in _PERCENTILES.items():
                yield Row(name, f"{duration}.{column}", *exact[share], found[share])
    yield _share(name, "errors", first, second, ("failed", "failed"))
    slos = [(data.get("goodput") or {}).get("slos") for data in (first, second)]
    if slos[0] and slos[0] == slos[1]:
        yield _share(name, "goodput", first, second, ("good", "goodput"))
    if all(one["load"]["model"] == "closed" for one in (a, b)):
        rate = rates(_rates(first), _rates(second), tolerance=tolerance)
        yield Row(name, "ok_qps", first["ok_qps"], second["ok_qps"], rate)


def _widened(row: Row, runs: Sequence[Data], tolerance: float) -> Row:
    """A row whose difference must stand out from those between runs of the same thing, too."""
    values = [value for run in runs if (value := _figure_of(row, run)) is not None]
    found = between_runs(
        values,
        row.b,
        tolerance=tolerance,
        more_is_worse=row.measure not in _LESS_IS_WORSE,
        relative=row.measure not in _SHARES,
    )
    if found is None or row.difference is None:
        return row
    mean = exp(fsum(map(log, values)) / len(values)) if row.measure not in _SHARES else fsum(values) / len(values)
    return replace(row, a=mean, difference=both(row.difference, found))


def _figure_of(row: Row, run: Data) -> float | None:
    """The same figure of another run; None when it has none."""
    data = run["scenarios"].get(row.scenario)
    if data is None:
        return None
    name, _, column = row.measure.partition(".")
    if name in _DURATIONS:
        found = data["milliseconds"].get(name, {}).get(column)
    elif row.measure == "errors":
        found = data["failed"] / data["calls"] if data["calls"] else None
    else:
        found = data["goodput"]["share"] if row.measure == "goodput" else data["ok_qps"]
    return None if found is None else float(found)


def _singles(a: Data, b: Data) -> Iterator[Row]:
    """Figures of which a run has only one: shown, and not judged."""
    for measure in _SINGLES:
        one, other = (MEASURES[measure].read(report, "") for report in (a, b))
        if isinstance(one, (int, float)) and isinstance(other, (int, float)):
            yield Row(MEASURES[measure].only[0], measure, one, other, None)


def _size(data: Data, duration: str) -> float:
    """How many independent values a duration's count is worth. Gaps of one call go together: they count as one."""
    count = min(data["milliseconds"][duration]["count"], data["ok"])
    timed = "ttft" if duration == "ttft" else "latency"
    return float(count / duration_effect(data["timeline"], timed, data["histograms"][timed]))


def _share(name: str, measure: str, first: Data, second: Data, members: tuple[str, str]) -> Row:
    parts = []
    for data in (first, second):
        rows = data["timeline"]
        effect = share_effect(rows, [row[members[0]] for row in rows], [row["ok"] + row["failed"] for row in rows])
        hits = data["failed"] if measure == "errors" else data["goodput"]["good"]
        parts.append((hits / effect, data["calls"] / effect, hits / data["calls"] if data["calls"] else 0.0))
    (hits_a, of_a, a), (hits_b, of_b, b) = parts
    return Row(name, measure, a, b, shares((hits_a, of_a), (hits_b, of_b), more_is_worse=measure == "errors"))


def _rates(data: Data) -> list[float]:
    """Calls a second that ended well, by stretches of the run; its first and last second are not whole."""
    width = data.get("timeline_width") or 1
    known = {row["second"]: row["ok"] for row in data["timeline"]}
    whole = [known.get(second, 0) / width for second in range(width, max(known, default=0), width)]
    size = -(-len(whole) // BATCHES) or 1
    return [sum(part) / len(part) for start in range(0, len(whole), size) if (part := whole[start : start + size])]


def _judged(rows: Sequence[Row], tolerance: float) -> list[Row]:
    """The rows with p-values corrected for how many they are, and what follows from them."""
    told = [row for row in rows if row.difference is not None]
    found = [row.difference for row in rows if row.difference is not None]
    any_, beyond = holm([one.p_any for one in found]), holm([one.p_beyond for one in found])
    corrected = {id(row): pair for row, pair in zip(told, zip(any_, beyond, strict=True), strict=True)}
    return [_verdict(row, corrected.get(id(row)), tolerance) for row in rows]


def _verdict(row: Row, corrected: tuple[float, float] | None, tolerance: float) -> Row:
    found = row.difference
    if found is None or corrected is None:
        single = row.measure in _SINGLES
        text = "one figure a run: nothing says how much it varies" if single else "too few calls to tell"
        return replace(row, text=text)
    p, p_beyond = corrected
    less_is_worse = row.measure in _LESS_IS_WORSE
    worse = (found.value < 0) == less_is_worse and found.value != 0
    regression = worse and p_beyond < ALPHA
    if p < ALPHA or regression:
        verdict = "worse" if worse else "better"
    else:
        verdict = "unclear" if found.p_any < ALPHA else "same"
    text = _said(row, found, verdict)
    if verdict == "worse" and not regression:
        text += f"; not surely beyond the {tolerance * 100:.3g} % that are allowed"
    return replace(row, p=p, p_beyond=p_beyond, verdict=verdict, regression=regression, text=text)


class _Words(NamedTuple):
    more: str
    less: str


_CALLED = {"errors": _Words("more", "fewer"), "goodput": _Words("more", "less"), "ok_qps": _Words("more", "fewer")}
_SLOWER = _Words("slower", "faster")


def _said(row: Row, found: Difference, verdict: str) -> str:
    unit = "points" if row.measure in {"errors", "goodput"} else "%"
    called = _CALLED.get(row.measure, _SLOWER)
    if verdict == "same":
        least = abs(found.smallest) * 100
        enough = f"{least:.{0 if least >= 10 else 1}f} {unit} {_worse(row, called)}"
        return f"no difference that so many calls can show; {enough} would show"
    word = called.more if found.value > 0 else called.less
    ends = sorted((found.low, found.high)) if found.value > 0 else sorted((-found.low, -found.high))
    low, high = (f"{end * 100:.3g}" for end in ends)
    by = f"{abs(found.value) * 100:.3g} {unit}"
    said = f"{word} by {by} (95 % CI {low}..{high})"
    return f"{said}, which may be chance among so many figures" if verdict == "unclear" else said


def _worse(row: Row, called: _Words) -> str:
    return called.less if row.measure in _LESS_IS_WORSE else called.more


def _warnings(a: Data, b: Data, named: Mapping[str, Data]) -> Iterator[str]:
    for letter, run in named.items():
        for name in _SETTINGS:
            one, other = a.get(name), run.get(name)
            if name == "users" and run["load"]["model"] != "closed":
                continue  # an open load has no users
            if one != other:
                yield f"{name.replace('_', ' ')} differs: {_word(one)} in A, {_word(other)} in {letter}"
    for name in sorted(set(a["scenarios"]) ^ set(b["scenarios"])):
        yield f"{name} is only in {'A' if name in a['scenarios'] else 'B'}"
    for name, data in a["scenarios"].items():
        other = b["scenarios"].get(name)
        slos = [(one.get("goodput") or {}).get("slos") for one in (data, other) if one]
        if len(slos) == 2 and slos[0] != slos[1]:
            yield f"goodput of {name} is not compared: good calls are {_word(slos[0])} in A, {_word(slos[1])} in B"
    for letter, run in named.items():
        if (run.get("exit") or {}).get("code", 0) >= 128:
            yield f"{letter} was interrupted"


def _distrust(named: Mapping[str, Data]) -> Iterator[str]:
    for name, one in named.items():
        ending = one.get("exit") or {}
        for code, why in ending.get("reasons", ()):
            if code == 3:
                yield f"{name} is not to be trusted: {why}"


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = [f"{name.replace('_', ' ')} {part}" for name, part in value.items() if name != "model"]
        return ", ".join([str(value["model"]), *parts])
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "those that ended well"
    return "none" if value is None else str(value)


def _kind(host: str) -> str:
    return "this machine" if is_loopback(urlsplit(host).hostname or "") else "another machine"


def _listed(scenarios: Data) -> str:
    return ", ".join(scenarios) or "none"


def _shown(measure: str, value: float) -> str:
    if measure in {"errors", "goodput"}:
        return f"{value * 100:.3g} %"
    if measure in _SINGLES:
        return shown(value, MEASURES[measure].unit)
    return f"{figure(value)}/s" if measure == "ok_qps" else f"{figure(value)} ms"
