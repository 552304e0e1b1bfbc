"""Whether what was planned, sent, recorded, and seen by the server is the same. Pure.

Four counts, made in four places: where calls are begun (or fall due, in an open load), where requests leave the
process, where samples are handed in, and in the server's journal. Whatever is lost or made up between two of them shows
as a difference, and a report whose counts differ is not to be trusted.
"""

from __future__ import annotations

from typing import Any

from loadtests.measuring.tally import Ledger


def reconcile(ledger: Ledger, seen: int | None) -> dict[str, Any]:
    """The section of the report.

    Args:
        ledger: of the whole run.
        seen: HTTP requests that reached the server, None when nobody can say.
    """
    unconnected = sum(
        count
        for tally in ledger.tallies.values()
        for failure, count in tally.attempt_failures.items()
        if failure.phase == "connect"
    )
    differences = _differences(ledger, seen, unconnected)
    return {
        "planned": ledger.planned,
        "unsent": ledger.unsent,
        "calls": ledger.recorded,
        "sent": ledger.sent,
        "recorded": ledger.requests,
        "unconnected": unconnected,
        "seen": seen,
        "ok": not differences,
        "differences": differences,
    }


def _differences(ledger: Ledger, seen: int | None, unconnected: int) -> list[str]:
    found = []
    if ledger.unsent:
        found.append(f"calls planned: {ledger.planned}, not sent: {ledger.unsent}")
    if ledger.recorded != ledger.planned - ledger.unsent:
        found.append(f"calls begun: {ledger.planned - ledger.unsent}, recorded: {ledger.recorded}")
    if ledger.requests != ledger.sent:
        found.append(f"requests sent: {ledger.sent}, recorded: {ledger.requests}")
    if seen is not None and seen != ledger.sent - unconnected:
        refused = f" ({unconnected} found no connection)" if unconnected else ""
        found.append(f"requests sent: {ledger.sent}{refused}, seen by the server: {seen}")
    return found
