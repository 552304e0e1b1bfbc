"""Service level objectives: what is asked of a run, read from a line of text and held against a report. Pure.

    [SCENARIO:]MEASURE COMPARISON LIMIT        ttft.p95<500ms    stream:itl.max<=0.2s    errors<1%

- A *duration* takes a statistic, `STATISTICS`, and a limit with a unit of time: ``latency.p99.9<=2s``.
- A *rate* is per second, alone or as a part of another one: ``qps>=50``, ``goodput>0.95*offered``.
- A *share* is a percentage of all calls: ``errors<1%``, ``errors.429<0.1%``.
- ``verdict=pass`` asks for the verdict of `qfkit.grading`.
- ``call.ttft<500ms`` asks nothing of the run: it says what a *good call* is, for goodput.

Goodput counts the calls that met every SLO that speaks of single calls. Those are the ones with ``call.``. Where none
is given, a duration's upper limit on its tail (p90 and beyond, or max) is taken for each call, too; of several for one
duration the one furthest out counts. A limit on the mean or the median is none for a single call: half of the calls
are meant to be above it.

The durations and what else may be asked for are in `loadtests.judging.slo_measures`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from loadtests.judging.slo_measures import CALL_VALUES, DURATIONS, MEASURES, SHARES_OF, STATISTICS, TAIL, Unit

if TYPE_CHECKING:
    from loadtests.measuring.samples import Sample

#: How a comparison is written -> what it does, and its name in words.
COMPARISONS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "<=": (le, "at most"),
    ">=": (ge, "at least"),
    "==": (eq, "exactly"),
    "<": (lt, "less than"),
    ">": (gt, "more than"),
    "=": (eq, "exactly"),
}

#: Kind of a limit -> its units, as factors to what the report holds: milliseconds, per second, shares of one, numbers.
UNITS: dict[Unit, dict[str, float]] = {
    "duration": {"us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1000.0, "min": 60_000.0},
    "seconds": {"us": 1e-6, "µs": 1e-6, "ms": 0.001, "s": 1.0, "min": 60.0},
    "rate": {"/s": 1.0, "": 1.0, "/min": 1 / 60},
    "share": {"%": 0.01, "": 1.0},
    "count": {"": 1.0},
    "ratio": {"": 1.0, "x": 1.0},
}

_EXAMPLES: dict[Unit, str] = {
    "duration": "500ms or 0.5s",
    "seconds": "5s",
    "rate": "50/s or 0.95*offered",
    "share": "1%",
    "count": "1000",
    "ratio": "1.2",
    "word": "pass",
}

_LINE = re.compile(
    r"\s*(?:(?P<scenario>\w[\w -]*?)\s*:)?\s*(?P<measure>[^\s<>=:]*)\s*(?P<op>[<>=]+)?\s*(?P<limit>.*?)\s*", re.DOTALL
)
_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>[^\s\d.*]*)\s*(?:\*\s*(?P<other>\w*))?")


class SloError(ValueError):
    """An SLO that cannot be read; the message says where, why, and what to write."""

    def __init__(self, text: str, at: int, message: str, source: str = "--slo") -> None:
        super().__init__(f"{source}: {message}\n    {text}\n    {' ' * at}^")
        self.text, self.at, self.reason = text, at, message


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective.

    Attributes:
        text: as it was written, without spaces around its parts.
        scenario: the one that it is for, or a word of its name: ``stream`` is for ``mixed stream``, too. None for each
            that has such a measure.
        measure: its name, without statistic.
        statistic: of a duration, one of `STATISTICS`; of ``errors``, an HTTP status or a code; else "".
        comparison: one of `COMPARISONS`.
        limit: milliseconds, seconds, per second, a share of one or a number, or a word; see `Unit`.
        other: the rate that ``limit`` is a part of, or "".
        unit: kind of the limit.
        of_call: it says what a good call is.
    """

    text: str
    scenario: str | None
    measure: str
    statistic: str
    comparison: str
    limit: float | str
    other: str
    unit: Unit
    of_call: bool = False

    def is_for(self, scenario: str) -> bool:
        """Whether it speaks of a scenario."""
        return self.scenario in {None, scenario, *scenario.split()}

    @property
    def upper(self) -> bool:
        """It is a limit from above."""
        return self.comparison in {"<", "<="}

    def holds(self, value: float | str, limit: float | str) -> bool:
        """Whether a value is within a limit."""
        return COMPARISONS[self.comparison][0](value, limit)

    def met_by(self, sample: Sample) -> bool:
        """Whether one call is within the limit on its own; one that has no such duration by its kind is."""
        if not self.is_for(sample.scenario):
            return True
        if DURATIONS[self.measure].streams and sample.kind != "stream":
            return True
        values = CALL_VALUES[self.measure](sample)
        if not values:  # one piece of content has no gap; a stream without any has no first token either
            return self.measure in {"itl", "tpot"} and bool(sample.contents)
        value = STATISTICS[self.statistic or "max"](sorted(values))
        return self.holds(value * 1000, float(self.limit))


def parse(text: str, source: str = "--slo") -> Slo:
    """Read one objective.

    Args:
        text: such as ``ttft.p95<500ms``.
        source: where it stands, for messages.

    Raises:
        SloError: it is none.
    """
    found = _LINE.fullmatch(text)
    assert found is not None  # every line fits: what is missing is told below
    wrong = _Wrong(text, source)
    scenario, measure, op, written = found["scenario"], found["measure"], found["op"], found["limit"]
    at = {name: found.start(name) for name in ("measure", "op", "limit")}
    if not measure:
        raise wrong(at["measure"], "no measure is named: write it as ttft.p95<500ms")
    if op is None:
        lost = " (did the shell take < or > for itself? put the SLO in quotes)" if not written else ""
        raise wrong(found.end("measure"), f"{measure} is compared with nothing: write it as {measure}<LIMIT{lost}")
    if op not in COMPARISONS:
        raise wrong(at["op"], f"{op} is no comparison: use one of {', '.join(list(COMPARISONS)[:5])}")
    name, statistic, unit, of_call = _measure(measure, at["measure"], wrong)
    if unit == "word":
        if op not in {"=", "=="}:
            raise wrong(at["op"], f"{name} is compared by =: {name}=pass")
        if written not in {"pass", "fail"}:
            raise wrong(at["limit"], f"{name} is pass or fail, not {written or 'nothing'}")
        return Slo(_squeezed(text), scenario, name, "", "=", written, "", unit)
    if op in {"=", "=="} and unit != "count":
        raise wrong(at["op"], f"nobody measures exactly {written}: compare {name} by <, <=, > or >=")
    limit, other = _limit(written, unit, name, at["limit"], wrong)
    return Slo(_squeezed(text), scenario, name, statistic, op, limit, other, unit, of_call)


def parse_all(texts: Iterable[str], file: str | Path | None = None) -> tuple[Slo, ...]:
    """Objectives of the command line, then those of a file.

    The file is YAML: a list of objectives, alone or under ``slos``.

    Raises:
        SloError: one cannot be read; the message names the line of the file.
        ValueError: the file cannot be read, or holds something else.
    """
    return (*(parse(text) for text in texts), *(_of_file(Path(file)) if file is not None else ()))


def _of_file(file: Path) -> list[Slo]:
    try:
        tree = yaml.compose(file.read_text("utf-8-sig"))
    except OSError as error:
        raise ValueError(f"--slo-file: {file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"--slo-file: {file} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ValueError(f"--slo-file: {file} is not YAML: {' '.join(str(error).split())}") from error
    how = "write a list, such as\n    slos:\n      - ttft.p95<500ms\n      - errors<1%"
    if isinstance(tree, yaml.MappingNode):
        members = {key.value: value for key, value in tree.value}
        if set(members) != {"slos"}:
            line = tree.start_mark.line + 1
            raise ValueError(f"--slo-file: {file}:{line}: only 'slos' may stand here, not {', '.join(members)}; {how}")
        tree = members["slos"]
    if not isinstance(tree, yaml.SequenceNode) or not tree.value:
        raise ValueError(f"--slo-file: {file} holds no list of SLOs: {how}")
    found = []
    for node in tree.value:
        source = f"{file}:{node.start_mark.line + 1}"
        if not isinstance(node, yaml.ScalarNode):
            hint = "put an SLO with a colon and a space in quotes" if isinstance(node, yaml.MappingNode) else how
            raise ValueError(f"--slo-file: {source}: an SLO is one line of text; {hint}")  # noqa: TRY004 - of a file
        found.append(parse(node.value, source))
    return found


def check_scenarios(
    slos: Sequence[Slo], scenarios: Mapping[str, bool], *, played: str = "", open_load: bool = True
) -> None:
    """See, before a run starts, that each objective can be judged at all.

    Args:
        slos: what is asked for.
        scenarios: names that calls will be counted under -> whether some of these calls are streams.
        played: the scenario of ``qfkit load``; empty when it is another locustfile's.
        open_load: calls have an intended moment.

    Raises:
        SloError: a scenario is not part of the run, or the run cannot measure what is asked for.
    """
    for slo in slos:
        only = MEASURES[slo.measure].only if slo.measure in MEASURES else ()
        if only and played and played not in only:
            hint = f"only the scenarios {' and '.join(only)} measure {slo.measure}" if len(only) > 1 else ""
            raise SloError(slo.text, 0, hint or f"only the scenario {only[0]} measures {slo.measure}")
        if slo.measure == "late" and not open_load:
            raise SloError(slo.text, 0, "users that wait for answers are never late: ask for it with --rate")
        mine = [streams for name, streams in scenarios.items() if slo.is_for(name)]
        if not mine:
            assert slo.scenario is not None
            near = get_close_matches(slo.scenario, scenarios, n=1) or list(scenarios)
            raise SloError(slo.text, 0, f"no scenario {slo.scenario!r} in this run; there is {', '.join(near)}")
        duration = DURATIONS.get(slo.measure)
        if duration is not None and duration.streams and not any(mine):
            raise SloError(
                slo.text, 0, f"{slo.measure} is measured on streams, and this run has none: ask for latency instead"
            )


# What a good call is


def of_calls(slos: Sequence[Slo]) -> list[Slo]:
    """The objectives that a single call is held to; see the module."""
    if explicit := [slo for slo in slos if slo.of_call]:
        return explicit
    furthest: dict[tuple[str | None, str], Slo] = {}
    for slo in slos:
        if slo.measure not in CALL_VALUES or slo.statistic not in TAIL or not slo.upper:
            continue
        known = furthest.get(key := (slo.scenario, slo.measure))
        if known is None or TAIL.index(slo.statistic) > TAIL.index(known.statistic):
            furthest[key] = slo
    return list(furthest.values())


def per_call(slos: Sequence[Slo]) -> Callable[[Sample], bool] | None:
    """Judges single calls for goodput; None when no objective speaks of them: then every good answer is a good call."""
    mine = of_calls(slos)
    if not mine:
        return None
    return lambda sample: sample.outcome == "ok" and all(slo.met_by(sample) for slo in mine)


def per_call_texts(slos: Sequence[Slo]) -> list[str]:
    """The objectives behind goodput, for the report."""
    return [slo.text for slo in of_calls(slos)]


# Reading, piece by piece


class _Wrong:
    """Makes errors about one text."""

    def __init__(self, text: str, source: str) -> None:
        self._text, self._source = text, source

    def __call__(self, at: int, message: str) -> SloError:
        return SloError(self._text, at, message, self._source)


def _squeezed(text: str) -> str:
    scenario, colon, rest = text.rpartition(":")
    return " ".join(scenario.split()) + colon + "".join(rest.split())


def _measure(written: str, at: int, wrong: _Wrong) -> tuple[str, str, Unit, bool]:
    """Name, statistic, unit, and whether it is of a call."""
    name, _, statistic = written.partition(".")
    of_call = name == "call"
    if of_call:
        at += len("call.")
        name, _, statistic = statistic.partition(".")
        if name not in CALL_VALUES:
            raise wrong(at, f"no duration {name!r} of a call{_nearest(name, CALL_VALUES)}")
    if name in DURATIONS:
        if not statistic and (not of_call or name == "itl"):
            raise wrong(at + len(name), _no_statistic(name, of_call=of_call))
        if statistic and of_call and name != "itl":
            raise wrong(at + len(name), f"a call has one {name}: write call.{name}<500ms, without .{statistic}")
        if statistic and statistic not in STATISTICS:
            message = f"no statistic {statistic!r}{_nearest(statistic, STATISTICS, everything=True)}"
            raise wrong(at + len(name) + 1, message)
        return name, statistic, "duration", of_call
    known = MEASURES.get(name)
    if known is None:
        raise wrong(at, f"no measure {name!r}{_nearest(name, [*DURATIONS, *MEASURES])}")
    if statistic and name not in SHARES_OF:
        raise wrong(at + len(name), f"{name} has no statistics: leave out .{statistic}")
    return name, statistic, known.unit, False


def _no_statistic(name: str, *, of_call: bool) -> str:
    if of_call:
        return f"a call has many {name}: say which, as call.{name}.max or call.{name}.p95 (their mean is call.tpot)"
    good = f", or call.{name}<500ms for what makes a good call" if name in CALL_VALUES else ""
    return f"{name} of which calls? {name}.p95 or {name}.max{good}"


def _nearest(name: str, known: Iterable[str], *, everything: bool = False) -> str:
    names = list(known)
    near = get_close_matches(name.lower(), names, n=1)
    return f": did you mean {near[0]}?" if near and not everything else f": there are {', '.join(names)}"


def _limit(written: str, unit: Unit, name: str, at: int, wrong: _Wrong) -> tuple[float, str]:
    example = _EXAMPLES[unit]
    if not written:
        raise wrong(at, f"{name} has no limit: write one such as {example}")
    found = _NUMBER.fullmatch(written)
    if found is None:
        raise wrong(at, f"{written!r} is no limit for {name}: write it as {example}")
    number, spelled, other = float(found["number"]), found["unit"], found["other"]
    if other is not None:
        if unit != "rate":
            raise wrong(at, f"only rates are compared with rates, and {name} is none: write its limit as {example}")
        rates = [key for key, value in MEASURES.items() if value.unit == "rate" and value.comparable]
        if other not in rates:
            raise wrong(at + found.start("other"), f"no rate {other!r}{_nearest(other, rates)}")
        if spelled not in UNITS["share"]:
            raise wrong(at + found.start("unit"), f"a part of {other} is a number or a percentage: 0.95*{other}")
        return number * UNITS["share"][spelled], other
    units = UNITS[unit]
    if spelled not in units:
        missing = "a limit in time needs its unit" if not spelled else f"no unit {spelled!r} for {name}"
        raise wrong(at + found.end("number"), f"{missing}: write it as {example}")
    if unit == "share" and number * units[spelled] > 1:
        raise wrong(at, f"{name} is a share of all calls, and {written} is more than all: did you mean {written}%?")
    return number * units[spelled], ""
