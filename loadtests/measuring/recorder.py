"""Where the users of one process put what they measured, and how it gets from worker processes to the master.

It is kept beside Locust's statistics, not in them: an entry of its own for each kind of duration would be added up into
Locust's Aggregated row, and make its counts and percentiles wrong. Knows Locust's events by their arguments alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from loadtests.measuring.measures import Histogram
from loadtests.measuring.samples import Sample
from loadtests.measuring.tally import Ledger, Met

#: The member of Locust's worker reports that is ours.
KEY = "qfkit"


class Recorder:
    """Collects, and hands on what is new.

    Args:
        name: of this process, among those that make load.
        cpu: seconds of processor time that this process has used.
        now: a monotonic clock, in seconds.
    """

    def __init__(self, name: str, *, cpu: Callable[[], float], now: Callable[[], float]) -> None:
        self.name = name
        self._cpu, self._now = cpu, now
        #: Judges each call for goodput; None: a call that ended well is good.
        self.met: Met | None = None
        #: Whether raw samples are kept, too. They grow without bound: some 1 KB a call and 10 bytes a token.
        self.keep_samples = False
        #: Is given each raw sample, in the process that holds the report: with workers that is the master.
        self.on_sample: Callable[[Sample], None] | None = None
        self.reset()

    def reset(self) -> None:
        """A new run begins."""
        self._fresh = Ledger()
        self._total = Ledger()
        self._began = self._cpu(), self._now()

    def add(self, sample: Sample) -> None:
        """Count one call: the only way in, for users of every scenario and with every client."""
        good = sample.ok if self.met is None or not sample.ok else self.met(sample)
        self._fresh.tally(sample.scenario).add(sample, good=good)
        if self.on_sample is not None:
            self.on_sample(sample)
        elif self.keep_samples:
            self._fresh.samples.append(sample)

    def planned(self, calls: int = 1, *, unsent: bool = False) -> None:
        """Count a call that is to be sent, or take it back with -1; ``unsent``: it will not be."""
        self._fresh.planned += calls
        self._fresh.unsent += unsent

    def probed(self, requests: int) -> None:
        """Count requests of the calibration."""
        self._fresh.probes += requests

    def calibrated(self, name: str, errors: Iterable[float]) -> None:
        """Keep errors of this tool's own clock, in seconds."""
        found = self._fresh.calibration.setdefault(name, Histogram())
        for error in errors:
            found.add(error)

    def note(self, text: str) -> None:
        """Tell the reader of the report something."""
        self._fresh.notes.append(text)

    def sent(self) -> None:
        """Count a request that goes out."""
        self._fresh.sent += 1

    def take(self) -> Ledger:
        """What was counted since the last time; it stays in `total`."""
        fresh, self._fresh = self._fresh, Ledger()
        if fresh.tallies or fresh.sent:
            cpu, now = self._began
            elapsed = self._now() - now
            if elapsed > 0:
                fresh.generators[self.name] = (self._cpu() - cpu) / elapsed
        self._total.merge(fresh)
        return fresh

    @property
    def so_far(self) -> Ledger:
        """What `take` has handed on, and what workers have reported."""
        return self._total

    @property
    def total(self) -> Ledger:
        """All that was counted, here and in the workers that have reported."""
        self.take()
        return self._total

    def lose(self, worker: str) -> None:
        """Note that a worker's last figures never came."""
        self._total.lost.append(worker)

    # Listeners of Locust's events

    def report_to_master(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        """On a worker: put what is new into the report that Locust is about to send."""
        self.name = client_id
        data[KEY] = self.take().to_dict()

    def worker_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:  # noqa: ARG002 - Locust passes it
        """On the master: add what a worker reports."""
        if KEY not in data:
            return
        ledger = Ledger.from_dict(data[KEY])
        if self.on_sample is not None:
            for sample in ledger.samples:
                self.on_sample(sample)
            ledger.samples.clear()
        self._total.merge(ledger)
