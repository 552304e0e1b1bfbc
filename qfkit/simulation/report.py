"""A comparison as text for people, and as a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Final, NamedTuple

from qfkit.simulation.chart import draw
from qfkit.simulation.compare import Comparison
from qfkit.simulation.measures import Outcome


class Column(NamedTuple):
    """One figure of every policy.

    Attributes:
        title: above it.
        cell: the figure, as text.
        meaning: below the table.
    """

    title: str
    cell: Callable[[Outcome], str]
    meaning: str


def _time(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _index(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


_COLUMNS: Final = (
    Column("answered", lambda it: f"{it.share:.1%}", "calls that got an answer"),
    Column(
        "att/answer",
        lambda it: "-" if it.attempts_per_answer is None else f"{it.attempts_per_answer:.2f}",
        "attempts of all calls for each answer",
    ),
    Column("att/call", lambda it: f"{it.amplification:.2f}", "attempts a call: the amplification"),
    Column("wasted", lambda it: f"{it.wasted:,}", "attempts that brought no answer"),
    Column("p50 s", lambda it: _time(it.p50), "half of the answers came so soon after their call had begun"),
    Column("p95 s", lambda it: _time(it.p95), "95 % of them"),
    Column("last s", lambda it: _time(it.last), "all of them"),
    Column("end s", lambda it: _time(it.finished), "when the last call ended, answered or not"),
    Column("peak/s", lambda it: f"{it.peak:,}", "most attempts that arrived within any one second"),
    Column("fair", lambda it: _index(it.fairness), "Jain's index of the clients' completion times; 1: all the same"),
)
_OUTAGE: Final = (
    Column("storm", lambda it: f"{it.storm:.1f}x" if it.storm is not None else "-", "peak after the outage, by rate"),
    Column(
        "back s",
        lambda it: _time(it.recovery),
        "from the end of the outage until answers a second are 95 % of those before",
    ),
    Column(
        "settled s", lambda it: _time(it.settled), "until calls are on time again and stay so; -: not while calls began"
    ),
)
#: Cause -> what gave up, for people.
_CAUSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "attempts": "had no attempts left",
        "budget": "found the retry budget of their client spent",
        "max_total": "would have passed max_total",
        "retry_after_ceiling": "were asked to wait too long",
        "permanent": "met an error that no attempt cures",
    }
)


def _columns(comparison: Comparison) -> Sequence[Column]:
    with_outage = any(outcome.storm is not None for outcome in comparison.outcomes)
    return (*_COLUMNS, *_OUTAGE) if with_outage else _COLUMNS


def render(comparison: Comparison) -> str:
    """The table, what its columns mean, why calls were given up, and the advice."""
    columns, outcomes = _columns(comparison), comparison.outcomes
    rows = [("policy", *(column.title for column in columns))]
    rows += [(outcome.label, *(column.cell(outcome) for column in columns)) for outcome in outcomes]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    table = [
        "  ".join([row[0].ljust(widths[0]), *(row[at].rjust(widths[at]) for at in range(1, len(row)))]).rstrip()
        for row in rows
    ]
    table.insert(1, "  ".join("-" * width for width in widths))
    given_up = [line for outcome in outcomes if (line := _given_up(outcome))]
    labels = _labels(comparison)
    parts = [
        f"{comparison.scenario.name}: {comparison.scenario.words()}",
        "\n".join(table),
        *(["Policies:\n" + "\n".join(f"  {line}" for line in labels)] if labels else []),
        "\n".join(f"{column.title:10} {column.meaning}" for column in columns),
        *(["Given up:\n" + "\n".join(given_up)] if given_up else []),
        comparison.advice.text,
    ]
    return "\n\n".join(parts)


def _labels(comparison: Comparison) -> list[str]:
    """What those policies are whose label is not what they were written as."""
    return [f"{label}: {text}" for label, text in comparison.written.items() if text != label]


def _given_up(outcome: Outcome) -> str:
    causes = ", ".join(f"{count:,} {_CAUSES[cause]}" for cause, count in outcome.causes.items())
    return f"  {outcome.label}: {causes}" if causes else ""


def page(comparison: Comparison, command: str = "") -> str:
    """The same as one HTML page that needs no network.

    Args:
        comparison: what to show.
        command: that made it, to be made again.
    """
    columns = _columns(comparison)
    head = "".join(f'<th title="{escape(column.meaning)}">{escape(column.title)}</th>' for column in columns)
    rows = "".join(
        f"<tr{' class=best' if outcome.label == comparison.advice.label else ''}><th>{escape(outcome.label)}</th>"
        + "".join(f"<td>{escape(column.cell(outcome))}</td>" for column in columns)
        + "</tr>\n"
        for outcome in comparison.outcomes
    )
    meanings = "".join(f"<dt>{escape(it.title)}</dt><dd>{escape(it.meaning)}</dd>" for it in columns)
    advice, *reasons = comparison.advice.text.splitlines()
    given_up = [line for outcome in comparison.outcomes if (line := _given_up(outcome))]
    again = f"<p>Made by <code>{escape(command)}</code>; the same seed gives the same figures.</p>" if command else ""
    return _PAGE.format(
        title=escape(f"Simulation: {comparison.scenario.name}"),
        words=escape(comparison.scenario.words()),
        advice=escape(advice),
        reasons="".join(f"<li>{escape(line.removeprefix('- '))}</li>" for line in reasons),
        head=head,
        rows=rows,
        labels="".join(f"<li>{escape(line)}</li>" for line in _labels(comparison)),
        given_up="".join(f"<li>{escape(line.strip())}</li>" for line in given_up) or "<li>none</li>",
        chart=draw(comparison),
        meanings=meanings,
        again=again,
    )


_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ padding: .25em .6em; text-align: right; border-bottom: 1px solid #e3e8eb; white-space: nowrap }}
tr > th:first-child {{ text-align: left; font-weight: normal }}
.best {{ background: #e8f4f8 }} .best > th:first-child {{ font-weight: bold }}
dl {{ display: grid; grid-template-columns: max-content auto; gap: 0 1em; color: #555 }} dd {{ margin: 0 }}
svg {{ max-width: 100%; height: auto }} .advice {{ font-size: 1.2em }} .wide {{ overflow-x: auto }}
</style>
<h1>{title}</h1>
<p>{words}</p>
<p class="advice"><b>{advice}</b></p>
<ul>{reasons}</ul>
<div class="wide"><table><tr><th>policy</th>{head}</tr>
{rows}</table></div>
<ul>{labels}</ul>
<h2>Over time</h2>
{chart}
<h2>Calls given up</h2>
<ul>{given_up}</ul>
<h2>What the columns mean</h2>
<dl>{meanings}</dl>
{again}
</html>
"""
