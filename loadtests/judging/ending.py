"""What a run is worth: the one place where its exit code is decided, and said in words. Pure.

    0  the run is good: every SLO is met, and no call failed, or failures were allowed
    1  an SLO was missed, or calls failed
    2  the run could not be made as asked (decided before it starts, not here)
    3  the measurement itself is not to be trusted, or nothing was measured
    128 + signal: it was interrupted; the report is of what was measured until then

A higher code wins: a missed SLO in a measurement that is wrong is no finding about the service. All reasons are told.

Calls that failed are a 1 unless `allow_failures`, or unless an SLO speaks of errors: then that one decides.
A busy load generator makes times longer and rates lower than the service's own. An SLO that is met all the same is met;
one that is missed may be missed by the generator, and nobody can tell: that is a 3. So is one that is missed by less
than the calls of an open load were sent late.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any

from loadtests.judging.slo import Slo
from loadtests.judging.slo_measures import Report
from loadtests.judging.slo_results import evaluate, hurt_by_generator, lateness_in
from loadtests.reporting.report import BUSY

GOOD, MISSED, BAD_USE, UNTRUSTED = 0, 1, 2, 3


def finish(report: dict[str, Any], *, slos: Sequence[Slo] = (), allow_failures: bool = False, signum: int = 0) -> int:
    """Fill in the report's ``slos`` and ``exit``; the exit code.

    Args:
        report: of a run that has ended.
        slos: what was asked of it.
        allow_failures: failed calls are no reason for a bad end.
        signum: the signal that ended it early, 0 for none.
    """
    report["slos"] = evaluate(slos, report)
    report["exit"] = decide(report, allow_failures=allow_failures, signum=signum)
    return int(report["exit"]["code"])


def decide(report: Report, *, allow_failures: bool = False, signum: int = 0) -> dict[str, Any]:
    """The exit code, why in one sentence, and all reasons as pairs of code and sentence, the weightiest first."""
    reasons: list[tuple[int, str]] = []
    if signum:
        name = signal.Signals(signum).name
        reasons.append((128 + signum, f"{name} ended the run early; this is what was measured until then"))
    reasons += [(UNTRUSTED, why) for why in _distrust(report)]
    reasons += [(MISSED, why) for why in _missed(report, allow_failures=allow_failures)]
    reasons.sort(key=lambda reason: -reason[0])
    if not reasons:
        met = [result for result in report.get("slos", ()) if result["ok"]]
        reasons = [(GOOD, f"every SLO was met: {len(met)} of {len(met)}" if met else _all_good(report))]
    code, why = reasons[0]
    return {"code": code, "why": why, "reasons": [list(reason) for reason in reasons]}


def _all_good(report: Report) -> str:
    failed = sum(data["failed"] for data in report["scenarios"].values())
    return f"calls failed: {failed}; that was allowed" if failed else "all calls were good"


def _distrust(report: Report) -> Iterator[str]:
    """Why the figures are not to be relied on."""
    if not sum(data["calls"] for data in report["scenarios"].values()):
        yield f"nothing was measured: no call to {report['host']} ended"
    for worker in report["lost_workers"]:
        yield f"worker {worker} never sent its last figures"
    reconciliation = report.get("reconciliation")
    if reconciliation is not None and not reconciliation["ok"]:
        yield "planned, sent, recorded and seen by the server differ: " + "; ".join(reconciliation["differences"])
    calibration = report.get("calibration")
    if calibration is not None and not calibration["ok"]:
        yield f"the tool's own error is above {calibration.get('line_ms', 5):g} ms at the median: see calibration"
    yield from report.get("limits_reached", ())
    busy = max(report["generators"].values(), default=0.0)
    missed = [result for result in report.get("slos", ()) if result["ok"] is False and hurt_by_generator(result)]
    if busy >= BUSY and missed:
        yield (
            f"{missed[0]['slo']} was missed while the load generator used {busy:.0%} of a core: it may be its own "
            "doing. Take fewer users, or more processes"
        )
    for result in missed:
        late = lateness_in(result, report)
        if late and result["value"] is not None and result["value"] - late <= result["limit"] <= result["value"]:
            yield (
                f"{result['slo']} was missed, but this tool sent calls late by {late:.0f} ms ({result['statistic']}): "
                "without that it would be met. Take more --workers, or a lower rate"
            )


def _missed(report: Report, *, allow_failures: bool) -> Iterator[str]:
    """What was not as asked."""
    results = report.get("slos", ())
    for result in results:
        if result["ok"] is False:
            where = f" ({result['scenario']})" if result["scenario"] and len(report["scenarios"]) > 1 else ""
            yield f"SLO missed: {result['slo']}{where}: {result['why']}"
    failed = sum(data["failed"] for data in report["scenarios"].values())
    if failed and not allow_failures and not any(result["measure"] == "errors" for result in results):
        calls = sum(data["calls"] for data in report["scenarios"].values())
        yield f"calls failed: {failed} of {calls}"
