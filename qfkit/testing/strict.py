"""What a strict test is held to beside its own assertions: its script was played, and no request came unexpected.

A script that nobody meets makes a test that passes for nothing: the failure it is about never happened. So tests are
strict unless they say otherwise, and the message has the line that says so.

* A step is never met when it waits for requests still. Steps that stay for ever have to be met once.
* A request is unexpected when the account has rules (``on(...)``) and neither they nor the script had a step for it, or
  when the account is strict itself and has refused it. Without rules, what comes after the script is made up as ever.
"""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from mock_server import AccountHandle
    from mock_server.journal import Entry
    from mock_server.scenario import Waiting

#: What is looked at: everything, nothing, or one of the two.
Strict: TypeAlias = Literal[True, False, "script", "requests"]

#: What is told of one request: the nearest rules.
_NEAREST = 2


@dataclass(frozen=True)
class Finding:
    """One thing that a strict test would not have.

    Attributes:
        line: what it is.
        details: where it was written, or what was nearest.
    """

    line: str
    details: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """As it is shown."""
        yield self.line
        for detail in self.details:
            yield f"    {detail}"


def findings(account: AccountHandle, strict: Strict = True, root: Path | None = None) -> list[Finding]:
    """What a test with ``strict`` would not have; paths are shown as seen from ``root``."""
    found: list[Finding] = []
    if strict in {True, "script"}:
        found += [_never_met(step, root) for step in account.waiting_steps]
        if found and not account.requests:
            found.append(Finding("no request reached this account", (_LOST,)))
    if strict in {True, "requests"}:
        found += [_unexpected(entry) for entry in account.unexpected]
    return found


_LOST = "is the code pointed at the mock? qianfan_env does it by environment variables, qianfan_intercept without any"


def failure(found: list[Finding]) -> str:
    """The message of a test that fails for ``found`` alone."""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    lines = [f"strict: {found[0].line}{more}"]
    lines += [f"  {line}" for finding in found for line in finding.lines()]
    lines += [
        "  How to fix: let the script say what the code does; or relax this test with one line:",
        "      @pytest.mark.qianfan(strict=False)",
        '  (strict="requests" lets steps wait, strict="script" lets any request come; for all: qianfan_strict = false)',
    ]
    return "\n".join(lines)


def _never_met(step: Waiting, root: Path | None) -> Finding:
    words = (
        f"waits still, met {step.met} times" if step.met > 1 else "waits still, met once" if step.met else "never met"
    )
    at = () if step.written_at is None else (f"scripted at {_line(*step.written_at, root)}",)
    return Finding(f"{words}: {step}", at)


def _line(name: str, number: int, root: Path | None) -> str:
    path = Path(name)
    shown = os.path.relpath(path, root) if root is not None and path.is_relative_to(root) else name
    code = linecache.getline(name, number).strip()
    return f"{shown}:{number}: {code}" if code else f"{shown}:{number}"


def _unexpected(entry: Entry) -> Finding:
    answer = f"{entry.status}" if entry.error_code is None else f"{entry.status} code {entry.error_code}"
    line = f"expected by no rule: #{entry.number} {entry.method} {entry.path} -> {answer} by {entry.answered_by}"
    return Finding(line, entry.near_misses[:_NEAREST] or ("there are no rules",))
