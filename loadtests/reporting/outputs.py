"""Where a report goes: the terminal, JSON, a page, and a file of raw samples that is written while the run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, TextIO

import msgspec

from loadtests.measuring.samples import Sample
from loadtests.planning.spelling import PlanError
from loadtests.reporting.page import page
from loadtests.reporting.terminal import render
from loadtests.reporting.words import Data

_ENCODER = msgspec.json.Encoder()


def check_files(*files: str | None) -> None:
    """See, before a run that may take hours, that its files can be written.

    Raises:
        PlanError: one cannot; the message says why.
    """
    for name in files:
        if not name:
            continue
        path = Path(name)
        if path.is_dir():
            raise PlanError(f"{name} is a directory: name a file in it")
        if not path.parent.is_dir():
            raise PlanError(f"{name} cannot be written: there is no directory {path.parent}")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PlanError(f"{name} cannot be written: permission denied")


def tell(
    report: Data, out: TextIO, *, as_json: bool = False, report_json: str | None = None, html_report: str | None = None
) -> None:
    """Print the report, and write it to files.

    Args:
        report: of a run that has ended.
        out: gets the table, or one line of JSON.
        as_json: which of them.
        report_json: file for the report as JSON.
        html_report: file for the report as a page.

    Raises:
        OSError: a file cannot be written; the report was printed before that.
    """
    out.write(f"{json.dumps(report, ensure_ascii=False) if as_json else render(report)}\n")
    out.flush()
    if report_json:
        Path(report_json).write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", "utf-8")
    if html_report:
        Path(html_report).write_text(page(report), "utf-8")


class SampleFile:
    """Raw samples as JSON lines, each written when its call has ended, so that none is held in memory.

    Args:
        file: is made anew.
    """

    def __init__(self, file: str | Path) -> None:
        self._file: IO[bytes] = Path(file).open("wb")  # noqa: SIM115 - it stays open for the run
        self.count = 0

    def __enter__(self) -> SampleFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, sample: Sample) -> None:
        """Write one sample."""
        self._file.write(_ENCODER.encode(sample) + b"\n")
        self.count += 1

    def close(self) -> None:
        """Write what is left in the buffer."""
        self._file.close()


def samples_of(file: str | Path) -> Iterator[Sample]:
    """The samples of a file, one by one.

    Raises:
        ValueError: a line is no sample; the message names it.
        OSError: the file cannot be read.
    """
    with Path(file).open("rb") as lines:
        yield from (_sample(line, f"{file}:{number}") for number, line in enumerate(lines, 1))


def _sample(line: bytes, where: str) -> Sample:
    try:
        return msgspec.json.decode(line, type=Sample)
    except msgspec.DecodeError as error:
        raise ValueError(f"{where} is no sample of a call: {error}") from error
