"""When the calls of an open load are sent: moments that do not depend on any answer. Pure.

Every process of a run makes the whole sequence from the same seed and takes each n-th moment, so that together they
send exactly what one process would have, whatever their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from loadtests.planning.plan import Arrivals, Load
from loadtests.planning.spelling import PlanError


class Arrival(NamedTuple):
    """A call to be sent.

    Attributes:
        at: seconds since the beginning of the run.
        prompt: what to ask, where the trace says so; None: drawn like all others.
    """

    at: float
    prompt: str | None = None


def moments_of(load: Load, run_time: float | None, seed: int) -> Iterator[Arrival]:
    """The arrivals of a run, in order, up to ``run_time`` or without end.

    Args:
        load: an open model; of a closed one there are none.
        run_time: seconds; None: until somebody stops.
        seed: the same one gives the same moments.

    Raises:
        PlanError: the trace cannot be read, or a ramp has no end.
    """
    if load.arrivals == "closed":
        return iter(())
    if load.arrivals == "trace":
        return _before(iter(read_trace(load.trace or "")), run_time)
    return _before(map(Arrival, _PROCESSES[load.arrivals](load, run_time, Random(f"{seed}/arrivals"))), run_time)


def share(arrivals: Iterator[Arrival], index: int, processes: int) -> Iterator[tuple[int, Arrival]]:
    """Those that the process of this index, from 0, sends of all, each with its number among all."""
    return ((number, arrival) for number, arrival in enumerate(arrivals) if number % processes == index)


def _before(arrivals: Iterator[Arrival], run_time: float | None) -> Iterator[Arrival]:
    for arrival in arrivals:
        if run_time is not None and arrival.at >= run_time:
            return
        yield arrival


def _constant(load: Load, _run_time: float | None, _random: Random) -> Iterator[float]:
    return (number / _rate(load) for number in count())


def _gamma(load: Load, _run_time: float | None, random: Random) -> Iterator[float]:
    shape = load.burstiness
    return _sums(lambda: random.gammavariate(shape, 1 / (_rate(load) * shape)))


def _poisson(load: Load, _run_time: float | None, random: Random) -> Iterator[float]:
    return _sums(lambda: random.expovariate(_rate(load)))


def _ramp(load: Load, run_time: float | None, _random: Random) -> Iterator[float]:
    """Evenly, at a rate that changes linearly: the n-th comes when the rate's integral has reached n."""
    if run_time is None:
        raise PlanError("--arrivals ramp reaches --to-rate at the end of the run: give a run time")
    first, last = _rate(load), load.to_rate or _rate(load)
    slope = (last - first) / run_time
    calls = (first + last) / 2 * run_time
    for number in range(math.ceil(calls - 1e-9)):
        # first * t + slope / 2 * t**2 = number, solved in the form that stays exact when the slope is nearly 0
        yield 2 * number / (first + math.sqrt(max(0.0, first * first + 2 * slope * number)))


def _sums(gap: Callable[[], float]) -> Iterator[float]:
    at = 0.0
    while True:
        at += gap()
        yield at


def _rate(load: Load) -> float:
    assert load.rate is not None  # Load.check
    return load.rate


_PROCESSES: dict[Arrivals, Callable[[Load, float | None, Random], Iterator[float]]] = {
    "constant": _constant,
    "gamma": _gamma,
    "poisson": _poisson,
    "ramp": _ramp,
}


class _Line(msgspec.Struct):
    at: float
    prompt: str | None = None


def read_trace(path: str) -> list[Arrival]:
    """The arrivals of a file, in their order.

    A line is a number of seconds since the beginning, or a JSON object with ``at`` and, if it is to ask something
    particular, ``prompt``. Empty lines and those that begin with ``#`` are left out.

    Raises:
        PlanError: it cannot be read, or a line is none of these, or goes back in time; the message names the line.
    """
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise PlanError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror or error}") from error
    arrivals: list[Arrival] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            found = msgspec.json.decode(text, type=_Line | float)
        except msgspec.DecodeError as error:
            raise PlanError(
                f'{path}, line {number}: write seconds since the beginning, 1.25, or {{"at": 1.25, "prompt": "..."}} '
                f"({error})"
            ) from error
        arrival = Arrival(found) if isinstance(found, float) else Arrival(found.at, found.prompt)
        if arrival.at < (arrivals[-1].at if arrivals else 0.0):
            raise PlanError(f"{path}, line {number}: {arrival.at:g} s is before the line above: sort the moments")
        arrivals.append(arrival)
    if not arrivals:
        raise PlanError(f"{path} holds no moments: write one a line, in seconds since the beginning")
    return arrivals
