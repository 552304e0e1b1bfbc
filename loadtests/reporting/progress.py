"""What is shown while a run goes on: a bar where `rich` is installed, a line on other terminals, lines in a log."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import NamedTuple, Protocol, TextIO

from loadtests.reporting.words import figure

#: Seconds between lines in a log, where nothing can be written over.
PLAIN_EVERY = 10.0

_BARS = "▁▂▃▄▅▆▇█"
#: Seconds of which the rates are drawn.
_DRAWN = 30


class Moment(NamedTuple):
    """How a run stands.

    Attributes:
        elapsed: seconds since its start.
        users: that are at work now; None in an open model.
        calls: that have ended.
        failed: those of them that failed.
        rate: calls a second that ended since the last moment.
        medians: name of a duration -> its median since the last moment, in milliseconds.
        in_flight: open calls of an open model.
        late: the latest call since the last moment, in milliseconds after its intended sending.
    """

    elapsed: float
    users: int | None
    calls: int
    failed: int
    rate: float
    medians: Mapping[str, float]
    in_flight: int | None = None
    late: float | None = None


class Progress(Protocol):
    """Shows how a run stands."""

    def show(self, moment: Moment) -> None:
        """Show this; call it about once a second."""

    def close(self) -> None:
        """Leave the terminal to what comes then."""


def progress(out: TextIO, run_time: float) -> Progress:
    """What fits where it is shown.

    Args:
        out: where to, such as standard error.
        run_time: seconds that the run is to take.
    """
    if not out.isatty():
        return Plain(out, run_time)
    if find_spec("rich") is None:
        return Line(out, run_time)
    return Bar(out, run_time)


def told(moment: Moment, run_time: float) -> str:
    """How a run stands, in one line."""
    parts = [f"{moment.elapsed:4.0f}/{run_time:g} s", *_parts(moment)]
    return "  ".join(parts)


def _parts(moment: Moment) -> list[str]:
    busy = [] if moment.users is None else [f"{moment.users} users"]
    busy += [] if moment.in_flight is None else [f"{moment.in_flight} in flight"]
    late = [] if moment.late is None else [f"late {figure(moment.late)} ms"]
    medians = [f"p50 {name} {figure(value)} ms" for name, value in moment.medians.items()]
    return [*busy, f"{moment.calls} calls", f"{moment.failed} failed", f"{moment.rate:.1f}/s", *medians, *late]


class Plain:
    """A line now and then, for logs."""

    def __init__(self, out: TextIO, run_time: float) -> None:
        self._out, self._run_time = out, run_time
        self._next = PLAIN_EVERY

    def show(self, moment: Moment) -> None:
        """Show this, if it is time."""
        if moment.elapsed >= self._next:
            self._next += PLAIN_EVERY * (1 + (moment.elapsed - self._next) // PLAIN_EVERY)
            self._out.write(f"{told(moment, self._run_time)}\n")
            self._out.flush()

    def close(self) -> None:
        """Nothing is left to be done."""


class Line:
    """One line that is written over, for any terminal."""

    def __init__(self, out: TextIO, run_time: float) -> None:
        self._out, self._run_time = out, run_time

    def show(self, moment: Moment) -> None:
        """Write it over the last one."""
        self._out.write(f"\r\x1b[K{told(moment, self._run_time)}")
        self._out.flush()

    def close(self) -> None:
        """Wipe it off."""
        self._out.write("\r\x1b[K")
        self._out.flush()


class Bar:
    """A bar, the figures, and the rates of the last half minute as small columns; needs `rich`."""

    def __init__(self, out: TextIO, run_time: float) -> None:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.live import Live  # noqa: PLC0415

        self._run_time = run_time
        self._rates: deque[float] = deque(maxlen=_DRAWN)
        # No thread of its own: it is drawn when there is something new, between two greenlets.
        self._live = Live(console=Console(file=out), auto_refresh=False, transient=True)
        self._live.start()

    def show(self, moment: Moment) -> None:
        """Draw it anew."""
        from rich.console import Group  # noqa: PLC0415
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        self._rates.append(moment.rate)
        head = Table.grid(padding=(0, 2))
        done = min(moment.elapsed, self._run_time)
        over = "" if moment.elapsed <= self._run_time else ", waiting for the calls under way"
        bar = ProgressBar(total=self._run_time, completed=done, width=40)
        head.add_row(bar, Text(f"{moment.elapsed:.0f}/{self._run_time:g} s{over}"))
        figures = Text("  ".join(_parts(moment)), overflow="ellipsis", no_wrap=True)
        if moment.failed:
            figures.highlight_words([f"{moment.failed} failed"], "red")
        self._live.update(Group(head, figures, Text(columns(self._rates), style="dim")), refresh=True)

    def close(self) -> None:
        """Wipe it off."""
        self._live.stop()


def columns(rates: Iterable[float]) -> str:
    """Rates as small columns, the highest as tall as they get."""
    values = list(rates)
    most = max(values, default=0.0)
    return "".join(_BARS[round(value / most * (len(_BARS) - 1))] if most else _BARS[0] for value in values)
