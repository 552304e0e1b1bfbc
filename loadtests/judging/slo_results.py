"""Service level objectives, held against what was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from loadtests.judging.slo import COMPARISONS, Slo
from loadtests.judging.slo_measures import CALL_VALUES, DURATIONS, ENOUGH, MEASURES, Report, Unit

#: ``slo`` as written; ``scenario`` it was held against, None for the whole run; ``measure``, ``statistic``, ``unit``;
#: ``value`` and ``limit`` in it, None when not measured; ``ok``, None for what only says which calls are good; ``why``.
Result: TypeAlias = dict[str, Any]

_SUFFIXES: dict[Unit, str] = {"seconds": " s", "rate": "/s", "ratio": "x"}


def evaluate(slos: Sequence[Slo], report: Report) -> list[Result]:
    """Hold each objective against each scenario that it is for, in the order given.

    An objective without a scenario is held against every scenario that has such a measure, and missed when none has.
    """
    return [result for slo in slos for result in _results(slo, report)]


def _results(slo: Slo, report: Report) -> Iterator[Result]:
    scenarios: Mapping[str, Report] = report["scenarios"]
    if slo.measure in MEASURES and MEASURES[slo.measure].of_run:
        yield _judged(slo, None, report)
        return
    mine = {name: data for name, data in scenarios.items() if slo.is_for(name)}
    if slo.of_call:
        yield _part_of_goodput(slo, mine)
        return
    measured = {name: data for name, data in mine.items() if value_of(slo, data) is not None}
    if not measured:
        named = " in " + ", ".join(mine or scenarios) if scenarios else ": no call was made"
        why = f"{_title(slo)} was not measured{named}"
        yield _result(slo, slo.scenario, None, None, ok=False, why=why)
    yield from (_judged(slo, name, data) for name, data in measured.items())


def value_of(slo: Slo, data: Report) -> float | str | None:
    """What a scenario (or, for a measure of the run, the report) holds; None when it was not measured."""
    if slo.unit != "duration":
        return MEASURES[slo.measure].read(data, slo.statistic)
    row = data.get("late") if slo.measure == "late" else data["milliseconds"].get(slo.measure)
    value = row.get(slo.statistic) if row and row["count"] else None
    return None if value is None else float(value)


def _judged(slo: Slo, scenario: str | None, data: Report) -> Result:
    value = value_of(slo, data)
    limit = slo.limit
    if slo.other:
        of = MEASURES[slo.other].read(data, "")
        if of is None:
            why = f"{slo.other} was not measured, so nobody can say what a part of it is"
            return _result(slo, scenario, value, None, ok=False, why=why)
        limit = float(slo.limit) * float(of)
    if value is None:
        return _result(slo, scenario, None, limit, ok=False, why=f"{_title(slo)} was not measured")
    ok = slo.holds(value, limit)
    return _result(slo, scenario, value, limit, ok=ok, why=_why(slo, value, limit, data, ok=ok))


def _part_of_goodput(slo: Slo, scenarios: Mapping[str, Report]) -> Result:
    good = sum(data["goodput"]["good"] for data in scenarios.values())
    calls = sum(data["calls"] for data in scenarios.values())
    met = f"; {good / calls:.1%} of the calls met all that is asked of one" if calls else ""
    return _result(slo, slo.scenario, None, slo.limit, ok=None, why=f"says what a good call is{met}")


def _result(
    slo: Slo, scenario: str | None, value: float | str | None, limit: float | str | None, *, ok: bool | None, why: str
) -> Result:
    members = {"slo": slo.text, "scenario": scenario, "measure": slo.measure, "statistic": slo.statistic}
    members["unit"] = slo.unit
    return {**members, "value": value, "limit": limit, "ok": ok, "why": why}


def _title(slo: Slo) -> str:
    return f"{slo.measure}.{slo.statistic}" if slo.statistic else slo.measure


def _why(slo: Slo, value: float | str, limit: float | str, data: Report, *, ok: bool) -> str:
    if isinstance(value, str):
        return f"the {slo.measure} was {value}" + ("" if ok else f", not {slo.limit}")
    asked = f"{COMPARISONS[slo.comparison][1]} {shown(float(limit), slo.unit)}"
    part = f" ({slo.limit:g} of {slo.other})" if slo.other else ""
    said = f"{_title(slo)} was {shown(value, slo.unit)}; asked: {asked}{part}"
    if slo.unit == "duration" and slo.statistic in ENOUGH:
        row = data["late"] if slo.measure == "late" else data["milliseconds"][slo.measure]
        if row["count"] < ENOUGH[slo.statistic]:
            said += f". Of only {row['count']} values, this is the largest one"
    return said


def shown(value: float, unit: Unit) -> str:
    """A value with its unit, for people, in three or four digits."""
    if unit == "duration":
        return f"{value / 1000:.4g} s" if value >= 10_000 else f"{value:.4g} ms"
    if unit == "share":
        return f"{value * 100:.4g} %"
    return f"{value:.4g}{_SUFFIXES.get(unit, '')}"


def hurt_by_generator(result: Result) -> bool:
    """A busy load generator makes this look worse than the service is."""
    return result["measure"] in DURATIONS or MEASURES[result["measure"]].generator


def lateness_in(result: Result, report: Report) -> float | None:
    """By how many milliseconds late sending may have raised a duration; None when that is not in it.

    Durations of an open load count from the intended moment, so that nothing can hide a queue, this side's included.
    """
    data = report["scenarios"].get(result["scenario"]) or {}
    late = (data.get("late") or {}).get(result["statistic"])
    counted = result["measure"] in CALL_VALUES and result["measure"] not in {"itl", "tpot"}
    return float(late) if counted and late is not None else None
