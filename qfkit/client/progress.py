"""A progress bar for those who ask for one: rich's, on the terminal's error stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from qfkit.client.exceptions import ConfigurationError

Told: TypeAlias = Callable[[int, "int | None"], object]
"""Is told how many are done, and of how many; None where nobody knows."""


class Progress(Protocol):
    """What `Batch` tells how far it is."""

    def advance(self) -> None:
        """One more is done."""
        ...

    def close(self) -> None:
        """There will be no more. Safe to repeat."""
        ...


class _Counter:
    def __init__(self, told: Told, total: int | None) -> None:
        self._told = told
        self._total = total
        self._done = 0

    def advance(self) -> None:
        self._done += 1
        self._told(self._done, self._total)

    def close(self) -> None:
        """Nothing to close."""


class _Bar:
    def __init__(self, total: int | None) -> None:
        try:
            from rich.console import Console  # noqa: PLC0415 - optional
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
            from rich.progress import Progress as Bar  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError("progress bars need rich: pip install 'qfkit[progress]'") from None
        columns = TextColumn("asked"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=total)
        self._bar.start()

    def advance(self) -> None:
        self._bar.advance(self._task)

    def close(self) -> None:
        self._bar.stop()


def make_progress(progress: bool | Told, prompts: object) -> Progress | None:
    """What shows how far a batch is.

    Args:
        progress: True for a bar, a function to be told, False for nothing.
        prompts: what is asked; how many is known if it has a length.

    Raises:
        ConfigurationError: a bar is wanted and rich is not installed.
    """
    total = len(prompts) if hasattr(prompts, "__len__") else None
    if callable(progress):
        return _Counter(progress, total)
    return _Bar(total) if progress else None
