"""How wrong this tool's own clock is: a stream whose moments are known is asked for, and what was measured is compared.

The mock plays the stream to an account of its own, and its journal says when each piece really left. The difference is
what lies between: this process, and the network. A server that is late is therefore not held against the tool. It is
done at rest, before the first call, and goes on, one stream after the other, while the load is made: the same process
then has other things to do, and what it is late by is in every figure of the run.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import gevent

from loadtests.measuring.measures import Histogram
from loadtests.planning.plan import Traffic
from loadtests.playing.control import Account, Control
from loadtests.sending.session import Gate, MeasuredSession, new_client
from qfkit.client import QianfanError

if TYPE_CHECKING:
    from loadtests.measuring.recorder import Recorder

#: Milliseconds that the median of the error may come to.
LINE = 5.0

#: What the mock plays: seconds to the first piece, between pieces, and the pieces.
TTFT, INTERVAL, PIECES = 0.02, 0.01, ("一", "二", "三", "四", "五")

#: Beginning of the names of accounts for this purpose.
NAME = "qfkit-calibration-"
#: Streams at rest, after one that makes the connection.
AT_REST = 6
#: Seconds from one stream under load to the next.
_PERIOD = 0.4
#: Streams under load below which nothing is said of it.
ENOUGH = 3


def errors(contents: list[float], written: list[float]) -> tuple[float, list[float]] | None:
    """Error of the time to the first piece, and of each gap, in seconds; None when the two do not belong together.

    Args:
        contents: when each piece came, seconds since the request was sent.
        written: when each write left, seconds after the request had come; the first one is the head.
    """
    left = written[1 : len(contents) + 1]
    if not contents or len(left) < len(contents):
        return None
    gaps = zip(pairwise(contents), pairwise(left), strict=True)
    return abs(contents[0] - left[0]), [abs((b - a) - (d - c)) for (a, b), (c, d) in gaps]


class Calibration:
    """The streams of one process.

    Args:
        control: of the mock.
        recorder: is given the errors.

    Raises:
        ControlFailed: it is no mock, or does not let us.
    """

    def __init__(self, control: Control, recorder: Recorder) -> None:
        self._control = control
        self._recorder = recorder
        self._account: Account = control.new_account(f"{NAME}{uuid4().hex[:12]}")
        step = {"stream": list(PIECES), "ttft": TTFT, "interval": INTERVAL, "times": "forever"}
        self._account.rule({}, step)
        traffic = Traffic(host=control.url)
        self._session = MeasuredSession(Gate(traffic), time.perf_counter, proxies=False)
        self._client = new_client(traffic, self._session, environ=self._account.env)
        self._greenlet: gevent.Greenlet | None = None
        self._measured: list[tuple[str, list[float]]] = []

    def at_rest(self) -> None:
        """Measure before the first call.

        Raises:
            QianfanError: the mock does not play the stream.
        """
        self._play("")  # the first one makes the connection
        for _ in range(AT_REST):
            self._play("rest")

    def start(self) -> None:
        """Go on while the load is made, in a greenlet of its own."""
        self._greenlet = gevent.spawn(self._go_on)

    def stop(self) -> None:
        """The load is over: compare with what the mock's journal says, and hand the errors in.

        Raises:
            ControlFailed: the mock is gone.
        """
        if self._greenlet is not None:
            self._greenlet.kill()
        seen = list(self._account.read())
        self._account.delete()
        self._client.close()
        self._session.close()
        self._recorder.probed(len(seen))
        played = [it for it in seen if it.outcome == "complete"]
        if len(played) != len(self._measured):  # the journal remembers none, or was cleared: nothing to compare with
            return
        for (when, contents), entry in zip(self._measured, played, strict=True):
            found = errors(contents, entry.written)
            if when and found is not None:
                first, gaps = found
                self._recorder.calibrated(f"{when} ttft", [first])
                self._recorder.calibrated(f"{when} itl", gaps)

    def _go_on(self) -> None:
        while True:
            gevent.sleep(_PERIOD)
            try:
                self._play("load")
            except QianfanError:
                return  # the mock fails under this load: its answers to others say so

    def _play(self, when: str) -> None:
        self._session.begin()
        with self._client.stream("calibration") as stream:
            timer = self._session.timer
            assert timer is not None
            for chunk in stream:
                if stream.arrived is not None:
                    timer.chunk_arrived(stream.arrived, chunk.text)
        self._measured.append((when, timer.moments()["contents"]))


def section(found: dict[str, Histogram], *, streams: bool) -> dict[str, Any] | None:
    """The section of the report; None when nothing was measured.

    Args:
        found: what `Calibration` handed in, of all processes.
        streams: the run measured streams: then its own error under load counts, too.
    """
    if not found:
        return None
    at_rest, at_load = (_errors(found, when) for when in ("rest", "load"))
    enough = at_load is not None and at_load["streams"] >= ENOUGH
    judged = {"at_rest": at_rest} | ({"at_load": at_load} if streams and enough else {})
    ok = all(_within(row) for row in judged.values())
    return {"at_rest": at_rest, "at_load": at_load, "judged": list(judged), "ok": ok, "line_ms": LINE}


def _within(row: dict[str, Any] | None) -> bool:
    return row is None or (row["ttft_p50_error_ms"] < LINE and row["itl_p50_error_ms"] < LINE)


def notes(found: dict[str, Any] | None) -> list[str]:
    """What a reader must know of a section that is good, and yet not in all respects."""
    if found is None or "at_load" in found["judged"] or _within(found["at_load"]):
        return []
    error = found["at_load"]["ttft_p50_error_ms"]
    note = (
        f"this tool's own error under this load was {error:.1f} ms at the median, and is in every latency. Counts and "
        "rates are right; for times take fewer users, a --rate, or more --workers"
    )
    return [note]


def _errors(found: dict[str, Histogram], when: str) -> dict[str, Any] | None:
    first, gaps = found.get(f"{when} ttft"), found.get(f"{when} itl")
    if first is None or gaps is None:
        return None
    row: dict[str, Any] = {"streams": first.count}
    for name, histogram in (("ttft", first), ("itl", gaps)):
        for quantile, share in (("p50", 0.5), ("p99", 0.99)):
            row[f"{name}_{quantile}_error_ms"] = round(histogram.quantiles(share)[0] * 1000, 3)
    return row
