"""Which cases other people's clients are played in an ordinary run: enough to see that nothing has changed.

All of them under ``QFKIT_CONFORMANCE=all``, as ``make conformance`` does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch

from qfkit.testing.conformance import CASES, Case

#: Of the cases that a client passes, one in so many is played.
_ONE_IN = 6


def sample(deviations: Mapping[str, str], known_one_in: int = 1) -> Sequence[Case]:
    """Those that a client is known to fail, or one in so many of them, and some of the others."""
    if os.environ.get("QFKIT_CONFORMANCE") == "all":
        return CASES
    known = [any(fnmatch(case.name, pattern) for pattern in deviations) for case in CASES]
    return [case for number, case in enumerate(CASES) if number % (known_one_in if known[number] else _ONE_IN) == 0]
