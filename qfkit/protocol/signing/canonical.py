"""Strings to sign as labelled lines: how they are built, shown and compared.

A string to sign is a list of parts joined by newlines, and a part (the body) may hold newlines of its own. So that a
report can say "BODY, line 7, column 12", each part keeps its label and the labels are worked out per line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Label of a line that only the client's string has.
EXTRA_LINE = "extra line"


def octets(text: str) -> bytes:
    """The UTF-8 bytes of ``text``. Lone surrogates pass too: no header, however odd, may make a verifier raise."""
    return text.encode("utf-8", "surrogatepass")


def legible(data: bytes) -> str:
    r"""Bytes as text; what is not UTF-8 is shown as ``\xNN``."""
    return data.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two strings to sign part.

    Attributes:
        line: 1-based line of the string.
        label: what that line holds, such as ``TARGET``, ``BODY``, ``query`` or ``header host``.
        expected: that line as the server built it, empty when the server's string ends before it.
        received: that line as the client signed it, empty when the client's string ends before it.
        column: 1-based character where the two lines part.
    """

    line: int
    label: str
    expected: str
    received: str
    column: int


@dataclass(frozen=True, slots=True)
class Canonical:
    """A string to sign: labelled parts, what joins them, what follows the last."""

    parts: tuple[tuple[str, bytes], ...]
    separator: bytes = b"\n"
    tail: bytes = b""

    def octets(self) -> bytes:
        """The bytes that the HMAC is taken over."""
        return self.separator.join([data for _, data in self.parts]) + self.tail

    def text(self) -> str:
        """The string for people."""
        return legible(self.octets())

    def labels(self) -> tuple[str, ...]:
        """One label for each line of ``text()``: the part that begins the line or runs on into it."""
        labels: list[str] = []
        at_line_start = True
        last = len(self.parts) - 1
        for index, (label, data) in enumerate(self.parts):
            pieces = (data + (self.tail if index == last else self.separator)).split(b"\n")
            for number, piece in enumerate(pieces):
                at_line_start = at_line_start or number > 0
                # An empty piece at the end of a chunk is the start of a line that the next part will fill.
                if at_line_start and (piece or number < len(pieces) - 1):
                    labels.append(label)
                    at_line_start = False
        if at_line_start and self.parts:
            labels.append(self.parts[last][0])
        return tuple(labels)


def first_difference(expected: str, received: str, labels: Sequence[str]) -> Difference | None:
    """Where ``received`` first departs from ``expected``; None when they are equal.

    Args:
        expected: the string that the server built.
        received: the string that the client signed.
        labels: one for each line of ``expected``.
    """
    if expected == received:
        return None
    ours, theirs = expected.split("\n"), received.split("\n")
    # Equal lines all through, yet unequal strings: one has more lines, and the first of those is where they part.
    line = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    if line is None:
        line = min(len(ours), len(theirs))
    our_line = ours[line] if line < len(ours) else ""
    their_line = theirs[line] if line < len(theirs) else ""
    return Difference(
        line=line + 1,
        label=labels[line] if line < len(labels) else EXTRA_LINE,
        expected=our_line,
        received=their_line,
        column=common_prefix(our_line, their_line) + 1,
    )


def common_prefix(one: str, other: str) -> int:
    """How many leading characters two lines share; by halving, as a body may be one line of a megabyte."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def compare(expected_string: str, given_string: str) -> Difference | None:
    """Where a string that a user says they signed departs from the one to sign; None when equal.

    Args:
        expected_string: the string of either scheme that the server would build.
        given_string: the user's.
    """
    return first_difference(expected_string, given_string, labels_of(expected_string))


def labels_of(text: str) -> tuple[str, ...]:
    """Labels for the lines of a string whose scheme is not told.

    The canonical request of bce-auth-v1 has header lines from the fourth on, ``host`` always among them; anything else
    is read as the hmac scheme's, whose body may span lines and whose last line is a nonce when the line before is a
    time stamp.
    """
    lines = text.split("\n")
    if any(line.startswith("host:") for line in lines[3:]):
        return ("METHOD", "canonical URI", "query", *(f"header {line.partition(':')[0]}" for line in lines[3:]))
    if len(lines) < 4:  # too short to be either scheme's
        return ("METHOD", "TARGET", "BODY")[: len(lines)]
    has_nonce = len(lines) > 4 and lines[-2].isdigit()
    tail = ("TIMESTAMP", "NONCE") if has_nonce else ("TIMESTAMP",)
    return ("METHOD", "TARGET", *("BODY",) * (len(lines) - 2 - len(tail)), *tail)
