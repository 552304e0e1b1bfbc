"""What every section is given, and what it gives back."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.contenders import Contender
from benchmarks.machine import Cores, Noise
from benchmarks.peers import Installed
from benchmarks.processes import NotStarted, Server, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is done; see `EFFORTS`.

    Attributes:
        rounds: measured rounds of each contender, interleaved.
        seconds: of load in a round.
        streams: paced streams at once, several runs.
        cycles: streams that each paced connection carries, one after the other.
        requests: of the memory run.
        starts: cold starts of each contender.
        calls: of each client in a round.
        accounts, journal, open_streams: points of the growth curves.
        samples: requests for one point of a growth curve, after as many that warm it up.
        all_peers: also those that no target names.
    """

    rounds: int
    seconds: int
    streams: tuple[int, ...]
    cycles: int
    requests: int
    starts: int
    calls: int
    accounts: tuple[int, ...]
    journal: tuple[int, ...]
    open_streams: tuple[int, ...]
    samples: int
    all_peers: bool


EFFORTS: dict[str, Effort] = {
    "quick": Effort(
        rounds=1,
        seconds=1,
        streams=(2000,),
        cycles=2,
        requests=25_000,
        starts=2,
        calls=60,
        accounts=(10, 10_000),
        journal=(10, 10_000),
        open_streams=(10, 1000),
        samples=2000,
        all_peers=False,
    ),
    "normal": Effort(
        rounds=5,
        seconds=2,
        streams=(500, 1000, 2000),
        cycles=4,
        requests=200_000,
        starts=10,
        calls=1000,
        accounts=(10, 100, 1000, 10_000),
        journal=(10, 100, 1000, 10_000),
        open_streams=(10, 100, 1000, 10_000),
        samples=20_000,
        all_peers=True,
    ),
    "full": Effort(
        rounds=7,
        seconds=4,
        streams=(500, 1000, 2000, 4000),
        cycles=6,
        requests=1_000_000,
        starts=20,
        calls=3000,
        accounts=(10, 100, 1000, 10_000, 100_000),
        journal=(10, 100, 1000, 10_000, 100_000),
        open_streams=(10, 100, 1000, 10_000, 100_000),
        samples=40_000,
        all_peers=True,
    ),
}


@dataclass(slots=True)
class Bench:
    """One run of the benchmark.

    Attributes:
        effort: how much is done.
        cores: who runs where.
        here: the peers that could be installed.
        names: the peers that are wanted.
        scratch: a folder that is gone afterwards.
        say: progress, for a person.
        noise: filled as the run goes on.
        skipped: what could not be measured, and why.
    """

    effort: Effort
    cores: Cores
    here: Installed
    names: tuple[str, ...]
    scratch: Path
    say: Callable[[str], None]
    noise: Noise = field(default_factory=Noise)
    skipped: dict[str, str] = field(default_factory=dict)

    def probe_noise(self) -> None:
        """Time the fixed loop on the core that serves, while nobody serves."""
        with self.cores.on(self.cores.server):
            self.noise.probe()

    @contextlib.contextmanager
    def serving(self, contenders: Sequence[Contender]) -> Iterator[list[tuple[Contender, Server]]]:
        """Those of them that start, all at once: who is not asked costs nothing."""
        with contextlib.ExitStack() as stack:
            started = [(contender, self._start(contender, stack)) for contender in contenders]
            yield [(contender, server) for contender, server in started if server is not None]

    def _start(self, contender: Contender, stack: contextlib.ExitStack) -> Server | None:
        try:
            return stack.enter_context(running(contender.launch, self.cores))
        except NotStarted as error:
            self.skip(contender.name, str(error))
            return None

    def skip(self, what: str, why: str) -> None:
        """Note and say that something is left out."""
        self.skipped[what] = why
        self.say(f"skipped {what}: {why}")


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over the rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def show(self, digits: int = 0) -> str:
        """``median [low-high]``, or the only value."""
        median, low, high = (f"{v:,.{digits}f}" for v in (self.median, min(self.values), max(self.values)))
        return median if len(self.values) == 1 else f"{median} [{low}-{high}]"

    def to_dict(self) -> dict[str, Any]:
        """For the report."""
        return {"median": self.median, "values": list(self.values)}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs, round by round: what slows a round down slows both."""
    return Spread(tuple(a / b if b else 0.0 for a, b in zip(ours, theirs, strict=True)))


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the report; the first column is text, the others numbers or text."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One target and how it was met.

    Attributes:
        work: which row of the targets.
        wanted: in words.
        measured: in words; None when it could not be measured.
        value, limit: the two numbers.
        sense: whether ``value`` must be at least or at most ``limit``.
    """

    work: str
    wanted: str
    measured: str | None
    value: float = 0.0
    limit: float = 0.0
    sense: Literal["at least", "at most"] = "at least"

    @property
    def met(self) -> bool | None:
        """None when it could not be measured."""
        if self.measured is None:
            return None
        return self.value >= self.limit if self.sense == "at least" else self.value <= self.limit

    @property
    def result(self) -> str:
        """``met``, ``missed by ...`` or ``not measured``."""
        if self.met is None:
            return "not measured"
        if self.met:
            return "met"
        share = 1 - self.value / self.limit if self.sense == "at least" else self.value / self.limit - 1
        return f"missed by {share:.0%}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a section found.

    Attributes:
        data: for the JSON report and the plot.
        tables: for the Markdown report and the terminal.
        verdicts: on the targets that it measures.
    """

    data: dict[str, Any]
    tables: list[Table]
    verdicts: list[Verdict]
