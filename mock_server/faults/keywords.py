"""The options of `Delivery` as keywords of a call, for editors and type checkers. Nothing imports it at run time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class DeliveryOptions(TypedDict, total=False):
    """What `AccountHandle.stream` and `reply` take beside their own; a test keeps it and `Delivery` alike."""

    chunk: str | int | None
    ttft: float
    interval: float
    tokens_per_second: float | None
    jitter: str
    spread: float | None
    seed: int
    timing: Sequence[float]
    error_after: int | None
    error: int | str | None
    error_message: str | None
    error_form: str
    error_ends: bool
    malformed_at: int | Sequence[int]
    truncated_at: int | Sequence[int]
    empty_at: int | Sequence[int]
    duplicate: int | Sequence[int]
    swap: int | Sequence[int]
    comment_every: int | None
    keep_alive: float | None
    comment: str
    end_event: bool
    end_marker: bool
    stall_after: int | None
    stall: float | None
    cut_after: int | None
    cut: str
    newline: str
    bom: bool
    final_newline: bool
    writes: str
    events_per_write: int
    write_interval: float
    content_type: str | None
    early_headers: bool
