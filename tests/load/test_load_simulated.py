"""A real Locust run against the mock comes out as `qfkit simulate` says: the same load, quota and policy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import mean, stdev

import pytest

from mock_server import MockServer
from mock_server.quota import Limits
from qfkit import RetryPolicy
from qfkit.simulation import scenario, simulate

RATE, SECONDS, QPS, ATTEMPTS = 20, 3, 5, 3


@pytest.mark.parametrize("dialect", ["text_generation", "v2"], ids=["retry-after", "backoff"])
def test_the_scenario_backoff(dialect):
    runs = [
        simulate(
            scenario(
                "quota",
                rate=float(RATE),
                duration=float(SECONDS),
                limits=Limits(qps=QPS),
                dialect=dialect,
                hop=0.003,
                hop_sd=0.002,
                answer=0.0,
                seed=seed,
            ),
            {"reference": RetryPolicy(attempts=ATTEMPTS)},
        ).outcomes[0]
        for seed in range(30)
    ]
    seen = real(dialect)
    assert seen["offered"]["calls"] == runs[0].calls == RATE * SECONDS
    for name, found in (("answered", seen["answered"]), ("attempts", seen["attempts"]["count"])):
        simulated = [getattr(run, name) for run in runs]
        # Where a window begins depends on when the first call comes; that moves one window's worth of answers.
        assert found == pytest.approx(mean(simulated), abs=4 * stdev(simulated) + QPS), name


def real(dialect: str) -> dict:
    """What the mock saw of the run."""
    with MockServer(seed=7, journal=10_000) as server:
        options = {
            "--host": server.url,
            "--dialect": dialect,
            "--arrivals": "constant",
            "--rate": RATE,
            "--run-time": f"{SECONDS}s",
            "--quota": f"qps={QPS}",
            "--attempts": ATTEMPTS,
        }
        done = subprocess.run(
            [
                *(sys.executable, "-m", "qfkit", "load", "backoff", "--json", "--allow-failures"),
                *(str(word) for option in options.items() for word in option),
            ],
            env=os.environ | server.default_account.env(),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)["backoff"]
