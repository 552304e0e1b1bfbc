"""What is to be said of a client, from what a server saw of it.

* `observed`: one request as the server saw it; `grouping`: which requests belong to one call;
* `findings`: the table of what may be found; `answers`, `waiting` and `identity`: how it is; `limits`: from where on;
* `report`: the verdict; `schedules` and `backoff`: whether waits are those of a declared schedule.
"""

from __future__ import annotations

from qfkit.grading.findings import CODES, Evidence, Finding
from qfkit.grading.grouping import Call
from qfkit.grading.limits import Limits
from qfkit.grading.observed import Observation, Signed, observations
from qfkit.grading.report import Verdict, VerdictFailed, declared, grade

__all__ = [
    "CODES",
    "Call",
    "Evidence",
    "Finding",
    "Limits",
    "Observation",
    "Signed",
    "Verdict",
    "VerdictFailed",
    "declared",
    "grade",
    "observations",
]
