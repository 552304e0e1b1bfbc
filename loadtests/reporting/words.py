"""What the parts of a report are called, and what must be said about them; shared by the table and the page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from loadtests.judging.slo_measures import DURATIONS
from loadtests.reporting.report import BUSY

#: Name of a duration -> how it is called. What it is stands in `DURATIONS`. ``end`` is latency, of streams only.
TITLES = {
    "latency": "latency",
    "headers": "headers",
    "first_byte": "first byte",
    "first_chunk": "first chunk",
    "first_reasoning": "reasoning",
    "ttft": "TTFT",
    "itl": "ITL",
    "tpot": "TPOT",
    "e2e": "E2E",
    "failed": "failed calls",
}

#: Parts of a report that only some scenarios have -> what they are called.
SECTIONS = {"backoff": "backoff", "outage": "outage", "ceiling": "ceiling", "soak": "soak"}

Data: TypeAlias = Mapping[str, Any]


def meaning(name: str) -> str:
    """From where to where a duration is measured."""
    return DURATIONS[name].meaning


def figure(value: float | None) -> str:
    """Three digits: what lies below is noise."""
    if value is None:
        return "-"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def load_of(report: Data) -> str:
    """How calls came about: users that wait, or arrivals that do not."""
    load = report.get("load") or {"model": "closed"}
    if load["model"] == "closed":
        return f"{report['users']} users"
    to = f" to {load['to_rate']:g}" if load.get("to_rate") else ""
    rate = f", {load['rate']:g}{to} calls a second" if load.get("rate") else ""
    return f"{load['model']} arrivals{rate}"


def _attempts(attempts: int) -> str:
    return f"up to {attempts} attempts a call" if attempts > 1 else "no retries"


def headline(report: Data, name: str) -> str:
    """What was asked, of whom, and how."""
    model = f", {report['model']}" if report["model"] else ""
    client = f" by {report['client']}" if report.get("client", "qfkit") != "qfkit" else ""
    attempts = report["attempts"]
    retries = "the client's own retries" if attempts is None else _attempts(attempts)
    who = f"{load_of(report)}, seed {report['seed']}, {retries}"
    return f"{name}: {report['dialect']}{model} at {report['host']}{client}, {who}"


def notes_of(report: Data) -> Iterator[str]:
    """What a reader must know before trusting the figures."""
    for worker in report["lost_workers"]:
        yield f"worker {worker} never sent its last figures: what it measured at the end is missing."
    yield from report.get("limits_reached") or ()
    busy = max(report["generators"].values(), default=0.0)
    if busy >= BUSY:
        yield (
            f"the load generator used {busy:.0%} of a core and was itself a limit: its queueing is in these times. "
            "Take fewer users, or more processes (--workers)."
        )
    for name, data in report["scenarios"].items():
        silent = data["ok"] - data["milliseconds"].get("ttft", {"count": 0})["count"]
        if name == "stream" and silent:
            yield f"streams without any content: {silent}. They ended well, and have no TTFT."
        if data["cut_off"]:
            yield f"calls cut off at the end: {data['cut_off']}. They were still under way, and are in no duration."
    yield from report.get("notes") or ()


def calls_line(data: Data) -> str:
    """How many calls, and how they ended."""
    cut = f", {data['cut_off']} cut off" if data["cut_off"] else ""
    warm = f"; {data['warmup_calls']} more to warm up, not counted" if data.get("warmup_calls") else ""
    return f"{data['calls']} in {data['seconds']:.1f} s: {data['ok']} ok, {data['failed']} failed{cut}{warm}"


def requests_line(data: Data) -> str:
    """What was sent."""
    tokens = f", {data['token_requests']} for tokens" if data["token_requests"] else ""
    each = f", {data['amplification']:.2f} a call" if (data.get("amplification") or 1) > 1 else ""
    return f"{data['requests']} sent: {data['attempts']} attempts{each}{tokens}"


def qps_line(data: Data) -> str:
    """Calls a second."""
    good = f", {data['ok_qps']:.1f} of them ok" if data["failed"] else ""
    return f"{data['qps']:.1f} calls a second{good}"


def goodput_line(data: Data) -> str | None:
    """Good calls a second, None when nobody said what a good call is."""
    goodput = data.get("goodput")
    if not goodput or not goodput["slos"] or goodput["share"] is None:
        return None
    return f"{goodput['rate']:.1f} good calls a second, {goodput['share']:.1%} of all ({', '.join(goodput['slos'])})"


def tokens_line(data: Data) -> str | None:
    """Tokens, and who counted them; None when nobody did."""
    tokens = data.get("tokens")
    if not tokens or not tokens["output"]:
        return None
    each = tokens.get("per_request")
    single = f"; {figure(each['p50'])} a second within a call at the median" if each else ""
    counted = {"server": "by the server", "estimated": "estimated from the text"}
    source = ", ".join(f"{counted[who]}: {count} calls" for who, count in tokens["source"].items() if count)
    return f"{tokens['output']} output, {figure(tokens['per_second'])} a second{single} ({source})"


def late_line(data: Data) -> str | None:
    """How late calls were sent in an open model."""
    late = data.get("late")
    if not late:
        return None
    figures = ", ".join(f"{name} {figure(late[name])} ms" for name in ("p50", "p99", "max"))
    return f"sent after the intended moment: {figures}; all times count from that moment"


def waits_lines(data: Data) -> Iterator[str]:
    """What was slept before each attempt after the first."""
    for number, row in (data.get("waits") or {}).items():
        figures = ", ".join(f"{name} {figure(row[name])}" for name in ("min", "p50", "p95", "max"))
        yield f"before attempt {number}: {figures} ms ({row['count']})"


def calibration_line(report: Data) -> str | None:
    """The tool's own error; None when it was not measured."""
    found = report.get("calibration")
    if not found:
        return None
    parts = []
    for key, when in (("at_rest", "at rest"), ("at_load", "under this load")):
        if row := found.get(key):
            parts.append(f"{when} TTFT {figure(row['ttft_p50_error_ms'])} ms, ITL {figure(row['itl_p50_error_ms'])} ms")
    line = f"line {found.get('line_ms', 5):g} ms"
    kept = "kept" if "at_load" in found.get("judged", ("at_load",)) or not found.get("at_load") else "kept at rest"
    return f"own error at the median: {'; '.join(parts)} ({line}): {kept if found['ok'] else 'NOT KEPT'}"


def reconciliation_line(report: Data) -> str | None:
    """Whether all counts agree; None when nobody looked."""
    found = report.get("reconciliation")
    if not found:
        return None
    if not found["ok"]:
        return f"NO: {'; '.join(found['differences'])}"
    refused = f" ({found['unconnected']} found no connection)" if found.get("unconnected") else ""
    seen = "not seen by a mock" if found["seen"] is None else f"= seen by the server {found['seen']}"
    calls = f"calls planned {found['planned']} = recorded {found['calls']}"
    return f"{calls}; requests sent {found['sent']}{refused} = recorded {found['recorded']} {seen}"


def section_lines(name: str, section: Data | None) -> Iterator[str]:
    """What a scenario of its own kind says of itself, under its name."""
    for index, line in enumerate((section or {}).get("lines", ())):
        yield f"{'' if index else SECTIONS[name]:<8}  {line}"


def failure_cells(row: Data) -> tuple[str, ...]:
    """HTTP status, code, phase, calls, attempts, words."""
    said = ("-" if row.get(name) in {None, ""} else str(row[name]) for name in ("status", "code", "phase"))
    return *said, str(row["calls"]), str(row["attempts"]), row["what"]


def slo_mark(result: Data) -> str:
    """Met, missed, or only a definition."""
    return {True: "met", False: "MISSED", None: "-"}[result["ok"]]


def ending_lines(report: Data) -> Iterator[str]:
    """The exit code, and every reason for it."""
    ending = report.get("exit")
    if not ending:
        return
    yield f"exit code {ending['code']}: {ending['why']}"
    for code, why in ending["reasons"][1:]:
        yield f"also ({code}): {why}"
