"""Memory and drift over a run of hours, from looks that are known."""

from __future__ import annotations

import os
import socket

import pytest

from loadtests.playing.endurance import cpu_seconds, interval, listens, resident, soak_section


def looks(grows: float, seconds: int = 3600) -> list[tuple[float, dict[str, float]]]:
    """A service that holds 100 MB and, in the first tenth of the run, loads 50 more; then ``grows`` MB an hour."""
    return [
        (float(at), {"service": (100 + min(50, at / seconds * 500) + grows * at / 3600) * 1e6, "load generator": 60e6})
        for at in range(0, seconds, 10)
    ]


def cells(slower: float = 0.0, seconds: int = 3600) -> list[dict]:
    return [
        {"second": at, "ok": 20, "latency_p50": 100 + slower * at / 3600 + at % 7, "ttft_p50": None}
        for at in range(seconds)
    ]


def test_what_settles_is_no_leak():
    found = soak_section(looks(0), cells(), run_time=3600)
    assert (found["leaks"], found["drifting"]) == ([], [])
    assert "memory of the service: steady" in found["lines"][1]


def test_a_leak_is_told_with_its_size():
    found = soak_section(looks(60), cells(), run_time=3600)
    assert found["leaks"] == ["memory of the service"]
    assert found["drift"]["memory of the service"]["change"] == pytest.approx(54, rel=0.02)  # of nine tenths of an hour
    assert any(line.startswith("memory of the service: DRIFTS, +54") for line in found["lines"])


def test_latency_that_creeps_is_a_drift_and_no_leak():
    found = soak_section(looks(0), cells(slower=40), run_time=3600)
    assert (found["leaks"], found["drifting"]) == ([], ["median latency (ms)"])


def test_a_short_run_says_that_it_is_too_short():
    found = soak_section(looks(60)[:4], cells()[:4], run_time=4)
    assert found["drifting"] == []
    assert all("too short a run to tell" in line for line in found["lines"])


def test_a_process_that_ends_is_looked_at_while_it_lives():
    rows = looks(0)
    for _, held in rows[100:]:
        del held["service"]
    assert len(soak_section(rows, [], run_time=3600)["memory"]["service"]) == 100


def test_looks_are_bounded():
    assert interval(None) == interval(10) == 0.2
    assert 86_400 / interval(86_400) <= 2_000


def test_what_this_machine_says():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert listens(listener.getsockname()[1]) == os.getpid()
    assert listens(1) is None
    assert resident(os.getpid()) > 1e6
    assert cpu_seconds(os.getpid()) > 0
    assert (resident(2**22 + 1), cpu_seconds(2**22 + 1), cpu_seconds(None)) == (None, None, None)
