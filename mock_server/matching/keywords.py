"""The options of `Matcher` as keywords of a call, for editors and type checkers. Nothing imports it at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from mock_server.matching.question import Question


class Matchers(TypedDict, total=False):
    """What `AccountHandle.on` takes beside ``priority``; a test keeps it and `Matcher` alike."""

    dialect: str | None
    operation: str | None
    endpoint: str | None
    model: str | None
    contains: str | Sequence[str] | None
    regex: str | None
    role: str | None
    position: int | None
    header: Mapping[str, str | None] | None
    json: Mapping[str, Any] | None
    stream: bool | None
    tools: bool | str | None
    attempt: int | Sequence[int] | None
    where: Callable[[Question], object] | None
    state: str | None
    call: int | Sequence[int] | None
