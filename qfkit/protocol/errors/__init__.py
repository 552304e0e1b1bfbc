"""Every error of every dialect: one table of rows, how to find them, and how they look on the wire.

``spec`` says what a row holds; ``v1``, ``v2``, ``text_generation`` and ``auth`` hold the rows; ``kin`` relates the
dialects to each other; ``table`` finds, translates, writes and reads.
"""

from __future__ import annotations

from qfkit.protocol.errors.spec import DIALECTS, KINDS, RETRIERS, CodeRange, Dialect, ErrorSpec, Kind
from qfkit.protocol.errors.table import (
    ERRORS,
    RANGES,
    UnknownErrorCode,
    classify,
    envelope,
    find,
    is_error_status,
    lookup,
    translate,
    with_status,
)

__all__ = [
    "DIALECTS",
    "ERRORS",
    "KINDS",
    "RANGES",
    "RETRIERS",
    "CodeRange",
    "Dialect",
    "ErrorSpec",
    "Kind",
    "UnknownErrorCode",
    "classify",
    "envelope",
    "find",
    "is_error_status",
    "lookup",
    "translate",
    "with_status",
]
