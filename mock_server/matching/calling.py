"""Calling a user's Python function, and saying where it is when it fails."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class CallableFailed(Exception):
    """A function that a test gave to the mock raised, or returned what is no use.

    The request that met it gets its dialect's internal error; the text goes into the journal.
    """


def call(function: Callable[[Any], Any], question: Any) -> Any:
    """What ``function`` makes of ``question``. It may block: never called on the event loop.

    Raises:
        CallableFailed: it raised; the text names file and line, and the exception.
    """
    try:
        return function(question)
    except Exception as error:
        raise CallableFailed(
            f"{name_of(function)} raised {type(error).__name__}: {error} (at {_raised_at(function, error)})"
        ) from error


def useless(function: Callable[[Any], Any], got: object, wanted: str) -> CallableFailed:
    """What to raise when ``function`` returned ``got`` where ``wanted`` completes "it is to return ..."."""
    said = f"{name_of(function)} returned {str(got)!r:.80} (at {place_of(function)})"
    return CallableFailed(f"{said}; it is to return {wanted}")


def name_of(function: Callable[..., Any]) -> str:
    """The function's name as its author would say it."""
    return str(getattr(function, "__name__", None) or type(function).__name__)


def place_of(function: Callable[..., Any]) -> str:
    """``file.py:12`` where ``function`` is defined; of a thing without source, its type."""
    plain = inspect.unwrap(function)
    called = plain if inspect.isroutine(plain) else type(plain).__call__
    code = getattr(called, "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code is not None else type(function).__name__


def _raised_at(function: Callable[..., Any], error: Exception) -> str:
    """Where it was raised: the deepest frame in the function's own file, since what it called is seldom to blame."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is `call`
    if not frames:
        return place_of(function)
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"
