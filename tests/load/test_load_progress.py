"""What is shown while a run goes on: on a terminal with rich, on one without, and in a log."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re

import pytest

from loadtests.reporting.progress import Bar, Line, Moment, Plain, columns, progress, told

MOMENT = Moment(
    elapsed=3.2, users=20, calls=1228, failed=3, rate=20.44, medians={"TTFT": 257.3, "latency": 601.0}, late=1.25
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_fits_where_it_is_shown(monkeypatch):
    assert isinstance(progress(io.StringIO(), 60), Plain)
    assert isinstance(progress(Terminal(), 60), Bar)
    monkeypatch.setattr("loadtests.reporting.progress.find_spec", lambda name: None)
    assert isinstance(progress(Terminal(), 60), Line)


def test_the_line():
    expected = "3/60 s  20 users  1228 calls  3 failed  20.4/s  p50 TTFT 257 ms  p50 latency 601 ms  late 1.25 ms"
    assert told(MOMENT, 60.0).strip() == expected
    assert told(MOMENT._replace(users=None, in_flight=7), 60.0).strip().startswith("3/60 s  7 in flight  1228 calls")


def test_a_log_gets_a_line_now_and_then():
    out = io.StringIO()
    shown = Plain(out, 60)
    for second in (1, 9, 10, 11, 19, 45, 46, 50):
        shown.show(MOMENT._replace(elapsed=float(second)))
    shown.close()
    assert [line.split("/")[0].strip() for line in out.getvalue().splitlines()] == ["10", "45", "50"]


def test_a_line_is_written_over_and_wiped_off():
    out = Terminal()
    shown = Line(out, 60)
    shown.show(MOMENT)
    shown.show(MOMENT)
    shown.close()
    assert out.getvalue().count("\r\x1b[K") == 3
    assert out.getvalue().endswith("\r\x1b[K")


def _all(terminal: int) -> str:
    """What was written to a terminal whose other end is closed; Linux says so by an error."""
    data = b""
    with contextlib.suppress(OSError):
        while more := os.read(terminal, 65536):
            data += more
    os.close(terminal)
    return data.decode()


def test_a_bar_on_a_terminal_leaves_nothing_behind(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    mine, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as out:
        shown = progress(out, 60)
        shown.show(MOMENT)
        shown.show(MOMENT._replace(elapsed=61.0, rate=5.0, failed=0))
        shown.close()
    text = _all(mine)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert "3/60 s" in plain
    assert "20 users  1228 calls  3 failed  20.4/s  p50 TTFT 257 ms" in plain
    assert "61/60 s, waiting for the calls under way" in plain
    assert "█▃" in plain
    assert "\x1b[?25h" in text  # the cursor is back
    assert text.rstrip("\r\n").endswith("\x1b[2K")  # the lines are wiped off


@pytest.mark.parametrize(("rates", "shown"), [([], ""), ([0, 0], "▁▁"), ([0, 7, 3.5], "▁█▅")])
def test_columns(rates, shown):
    assert columns(rates) == shown
