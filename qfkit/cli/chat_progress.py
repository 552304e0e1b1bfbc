"""How far a file of prompts is, for whoever looks at a terminal: rich's bar, or a counter where there is no rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeAlias

#: Told how many prompts are through, those of earlier runs included, and how many of them failed.
Advance: TypeAlias = Callable[[int, int], None]


@contextmanager
def progress(total: int, done: int, stream: TextIO) -> Iterator[Advance]:
    """Show progress while the block runs; nothing where ``stream`` is no terminal.

    Args:
        total: prompts in all.
        done: those that an earlier run has answered.
        stream: where to show it, such as ``sys.stderr``.
    """
    if not stream.isatty():
        yield lambda _done, _failed: None
        return
    try:
        import rich.progress  # noqa: F401 - the extra `progress`
    except ImportError:
        shown = _counter(total, done, stream)
    else:
        shown = _bar(total, done, stream)
    with shown as advance:
        yield advance


@contextmanager
def _counter(total: int, done: int, stream: TextIO) -> Iterator[Advance]:
    def advance(done: int, failed: int) -> None:
        stream.write(f"\r{done}/{total}, {failed} failed")
        stream.flush()

    advance(done, 0)
    try:
        yield advance
    finally:
        stream.write("\n")
        stream.flush()


@contextmanager
def _bar(total: int, done: int, stream: TextIO) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream)) as bar:
        task = bar.add_task("", total=total, completed=done, failed=0)
        yield lambda done, failed: bar.update(task, completed=done, failed=failed)
