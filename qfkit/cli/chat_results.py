"""The results of a file of prompts: JSON lines that no interruption can spoil, and what an earlier run left of them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from qfkit.cli.chat_progress import Advance


class Results:
    """Takes results from many threads and has each on its way to the disk before the next. Counts them.

    Attributes:
        done: answered, those of earlier runs included.
        failed: failed in this run.
    """

    def __init__(self, file: BinaryIO, done: int, advance: Advance) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._open = True
        self._advance = advance
        self.done = done
        self.failed = 0

    def write(self, result: dict[str, Any]) -> None:
        """One line, at once. After `close` nothing is written: an answer that comes too late is asked again."""
        # Half a character, should a model send one, is written as the escape that JSON has for it.
        line = f"{json.dumps(result, ensure_ascii=False)}\n".encode("utf-8", "backslashreplace")
        with self._lock:
            if not self._open:
                return
            self._file.write(line)
            self._file.flush()
            self.done += result["error"] is None
            self.failed += result["error"] is not None
            self._advance(self.done + self.failed, self.failed)

    def close(self) -> None:
        """Take no more. Safe to repeat."""
        with self._lock:
            self._open = False


def key_of(identity: object, digest: str) -> str:
    """What a prompt is recognized by in another run: its id, and all that its answer depends on."""
    return f"{json.dumps(identity)} {digest}"


def answered(path: Path) -> Counter[str]:
    """The keys of the answers that are in a file of results, and how often each is there.

    What has to be asked again goes from the file: failures, and a last line that was being written when the run was
    killed. The file is replaced as a whole or not at all.

    Raises:
        UsageError: a line is no result, so this is another file than was meant.
    """
    if not path.exists():
        return Counter()
    found: Counter[str] = Counter()
    path = path.resolve()  # a link stays a link
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    kept = 0
    try:
        with os.fdopen(handle, "wb") as copy:
            for line, result in _read(path):
                if result["error"] is None:
                    found[key_of(result.get("id"), result["digest"])] += 1
                    kept += copy.write(line.rstrip(b"\n") + b"\n")
        if kept != path.stat().st_size:
            shutil.copymode(path, name)
            os.replace(name, path)  # noqa: PTH105 - both are names already
    finally:
        Path(name).unlink(missing_ok=True)
    return found


def _read(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                result = json.loads(line)
            except ValueError:  # also a UnicodeDecodeError
                result = None
            if isinstance(result, dict) and isinstance(result.get("digest"), str) and "error" in result:
                yield line, result
            elif line.endswith(b"\n"):
                raise click.UsageError(
                    f"{path}, line {number}, is no result of `qfkit chat --file`: nothing was changed. Name the file "
                    "that an earlier run wrote, or a new one without --resume"
                )
