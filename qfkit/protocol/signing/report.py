"""A verdict as a page for people: the two strings line by line, the first difference under a caret, what to do."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from qfkit.protocol.signing.canonical import Difference, labels_of
from qfkit.protocol.signing.causes import FINDINGS, named

if TYPE_CHECKING:
    from qfkit.protocol.signing.result import Verification

#: Characters of a line that are shown, how many of them may stand before the column that must show, and how many
#: consecutive lines of one side are shown before the middle ones are folded.
_WIDTH = 110
_LEAD = 60
_FOLD = 8
#: Lines of one side times lines of the other, up to which they are aligned: beyond, that would take too long.
_ALIGN_LIMIT = 100_000

_HEADLINES = {
    "ok": "Signature accepted",
    "missing_header": "Signature refused: a header is missing",
    "malformed": "Signature refused: it cannot be read",
    "unknown_key": "Signature refused: the access key is unknown",
    "expired": "Signature refused: it has expired",
    "clock_skew": "Signature refused: the time stamp is too far off",
    "replayed": "Signature refused: the request was seen before",
    "form_not_allowed": "Signature refused: it is right, but of a form that is not accepted here",
    "mismatch": "Signature refused: it does not match the request",
}

_MARKS = {"both": " ", "server": "-", "client": "+", "": " "}


class _Row(NamedTuple):
    """A line of the page: whose it is, what it holds, and its text, made legible and cut."""

    side: str
    label: str
    text: str


def render(verdict: Verification) -> str:
    """The report of one verdict, several lines without a final newline. Control characters come out escaped."""
    details = [verdict.scheme]
    if verdict.form:
        details.append(f"form {verdict.form}")
    if verdict.shown_access_key:
        details.append(f"access key {_legible(verdict.shown_access_key[:64])}")
    blocks = [[f"{_HEADLINES[verdict.reason.value]} ({', '.join(details)})"]]
    explained = verdict.received is not None and verdict.reason.value == "mismatch"
    if verdict.message and not explained:  # else the causes below say it in full
        blocks.append([f"  {verdict.message}"])
    if verdict.expected is not None:
        blocks.append(list(_strings(verdict, verdict.expected)))
    if verdict.cause:
        statements = [f"    {row.statement}" for row in named(verdict.cause)] if explained else []
        blocks.append([f"  Cause: {verdict.cause}", *statements, f"  How to fix: {verdict.advice}"])
    if verdict.findings:
        blocks.append(["  Worth knowing:", *(f"    {name}: {FINDINGS[name]}" for name in verdict.findings)])
    return "\n\n".join("\n".join(block) for block in blocks)


def _strings(verdict: Verification, expected: str) -> Iterator[str]:
    ours, labels = expected.split("\n"), verdict.labels or labels_of(expected)
    if verdict.received is None:
        yield "  The server expects a signature over this string; what the client signed is not known:"
        rows = [*_rows("", labels, ours)]
    elif verdict.difference is None:
        yield "  Server and client built the same string:"
        rows = [*_rows("both", labels, ours)]
    else:
        yield "  What the server built (-) and what the client signed (+):"
        rows = [*_compared(ours, verdict.received.split("\n"), labels, verdict.difference)]
    yield ""
    width = max(len(row.label) for row in rows)
    for side, run in groupby(rows, key=lambda row: row.side):
        lines = list(run)
        folded = len(lines) - _FOLD
        for number, row in enumerate(lines):
            if folded > 1 and _FOLD // 2 <= number < len(lines) - _FOLD // 2:
                if number == _FOLD // 2:
                    yield f"    {'':{width}}  {'':6}  … {folded} more lines …"
            else:
                yield f"  {_MARKS[side]} {row.label:{width}}  {side:6}  {row.text}".rstrip()


def _rows(side: str, labels: Sequence[str], lines: Sequence[str], column: int = 1) -> Iterator[_Row]:
    """Lines of one side; ``column`` is the one that must not be cut away."""
    for label, line in zip(labels, lines, strict=True):
        yield _Row(side, label, _cut(line, column))


def _compared(ours: Sequence[str], theirs: Sequence[str], labels: Sequence[str], at: Difference) -> Iterator[_Row]:
    """Both strings: what they share once, what differs as the server's lines above the client's."""
    first = at.line - 1
    yield from _rows("both", labels[:first], ours[:first])
    yield from _rows("server", labels[first : first + 1], ours[first : first + 1], at.column)
    yield from _rows("client", [at.label][: len(theirs) - first], theirs[first : first + 1], at.column)
    yield _Row("", "", f"{'':{_caret_offset(at)}}^ line {at.line}, column {at.column}")
    labels, ours, theirs = labels[first + 1 :], ours[first + 1 :], theirs[first + 1 :]
    for ours_from, ours_to, theirs_from, theirs_to in _unlike(ours, theirs):
        if ours[ours_from:ours_to] == theirs[theirs_from:theirs_to]:
            yield from _rows("both", labels[ours_from:ours_to], ours[ours_from:ours_to])
            continue
        named_alike = labels[ours_from:ours_to] if ours_to - ours_from == theirs_to - theirs_from else ()
        yield from _rows("server", labels[ours_from:ours_to], ours[ours_from:ours_to])
        client = theirs[theirs_from:theirs_to]
        yield from _rows("client", named_alike or [""] * len(client), client)


def _unlike(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Runs of lines that belong together, as slices of both sides: line by line, or aligned where the counts differ."""
    if len(ours) == len(theirs):
        for index in range(len(ours)):
            yield index, index + 1, index, index + 1
    elif len(ours) * len(theirs) <= _ALIGN_LIMIT:
        for _, *slices in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
            yield slices[0], slices[1], slices[2], slices[3]
    else:
        yield 0, len(ours), 0, len(theirs)


def _start(column: int) -> int:
    """Where a line is cut off at the left so that ``column`` shows with some text before it."""
    return max(0, column - 1 - _LEAD)


def _cut(line: str, column: int) -> str:
    start = _start(column)
    left = len(line) - start - _WIDTH
    more = f"… (+{left} characters)" if left > 0 else ""
    return f"{'…' if start else ''}{_legible(line[start : start + _WIDTH])}{more}"


def _caret_offset(at: Difference) -> int:
    """Terminal columns before the caret: up to it both lines are alike, whichever of the two reaches it."""
    start = _start(at.column)
    line = at.expected if len(at.expected) >= at.column - 1 else at.received
    return _columns(("…" if start else "") + _legible(line[start : at.column - 1]))


def _legible(text: str) -> str:
    """``text`` with everything that does not print escaped: a body must not drive the reader's terminal."""
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode("ascii") for ch in text)


def _columns(text: str) -> int:
    """How many terminal columns ``text`` takes: Chinese characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(ch) else 2 if unicodedata.east_asian_width(ch) in "WF" else 1 for ch in text)
