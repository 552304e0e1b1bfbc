"""A run that never was: samples drawn from known distributions, and the report that they make."""

from __future__ import annotations

from random import Random
from typing import Any

from loadtests.judging.ending import finish
from loadtests.judging.slo import parse_all, per_call, per_call_texts
from loadtests.measuring.samples import Attempted, Sample
from loadtests.measuring.tally import Ledger
from loadtests.reporting.report import Setting, build

START = 1_700_000_000.0


def streams(
    random: Random, seconds: int, rate: float, *, slower: float = 1.0, scenario: str = "stream"
) -> list[Sample]:
    """Streams of an open model: first tokens around 250 ms, gaps around 20 ms, a few retries and failures."""
    samples = []
    at = 0.0
    while (at := at + random.expovariate(rate)) < seconds:
        planned = START + at
        began = planned + abs(random.gauss(0, 0.001))
        down = seconds * 0.4 < at < seconds * 0.5
        first = random.lognormvariate(-1.4, 0.25) * slower * (2 if down else 1)
        attempts = [Attempted(at=began, status=200, elapsed=first)]
        failed = random.random() < (0.3 if down else 0.01)
        if failed or random.random() < 0.05:
            attempts = [Attempted(at=began, status=429, code=18, phase="body", elapsed=0.01)]
            waited = 0.5 * random.random()
            last = {"status": None, "what": "ConnectionFailed", "phase": "connect"} if failed else {"status": 200}
            attempts.append(Attempted(at=began + waited, waited=waited, wait_reason="backoff", **last))
            first += waited
        contents = [first]
        for _ in range(random.randrange(3, 30)):
            contents.append(contents[-1] + max(0.001, random.gauss(0.02, 0.004)) * slower)
        good: dict[str, Any] = {
            "headers": first * 0.2, "first_byte": first * 0.25, "first_chunk": first * 0.9, "ttft": contents[0],
            "e2e": contents[-1], "contents": contents, "end": contents[-1] + 0.002, "prompt_tokens": 20,
            "output_tokens": len(contents), "tokens_from": "server",
        }  # fmt: skip
        told = {"outcome": "failed", "end": first} if failed else good
        samples.append(
            Sample(
                scenario=scenario, kind="stream", planned=planned, began=began, attempts=attempts,
                requests=len(attempts), worker="this process", **told,
            )
        )  # fmt: skip
    return samples


def report_of(samples: list[Sample], *slos: str, seed: int = 7, **sections: Any) -> dict[str, Any]:
    """The report of samples, as a run makes it."""
    asked = parse_all(slos)
    met = per_call(asked)
    ledger = Ledger(generators={"this process": 0.42})
    for sample in samples:
        ledger.tally(sample.scenario).add(sample, good=met(sample) if met else None)
    setting = Setting(
        "http://127.0.0.1:8866", "v2", "ernie-4.0-8k", users=1000, run_time=60.0, seed=seed, attempts=3,
        load={"model": "poisson", "rate": 20.0}, started="2026-01-02T03:04:05+00:00", good_slos=per_call_texts(asked),
    )  # fmt: skip
    report = build(ledger, setting, **sections)
    finish(report, slos=asked, allow_failures=True)
    return report


def full_report(seconds: int = 60) -> dict[str, Any]:
    """A report that has everything in it."""
    samples = streams(Random(7), seconds, 20.0)
    edge = seconds * 0.5
    return report_of(
        samples,
        "ttft.p95<500ms", "goodput>0.95*offered", "errors<10%", "verdict=pass",
        calibration={
            "at_rest": {"ttft_p50_error_ms": 0.41, "itl_p50_error_ms": 0.08},
            "at_load": {"ttft_p50_error_ms": 1.9, "itl_p50_error_ms": 0.3}, "ok": True, "line_ms": 5,
        },
        reconciliation={
            "planned": len(samples), "calls": len(samples), "sent": 1329, "recorded": 1329, "seen": 1329,
            "unconnected": 0, "ok": True, "differences": [],
        },
        verdict={"ok": True},
        backoff={
            "quota": {"qps": 15}, "quota_rate": 15.0, "lines": ["20.0 calls a second offered, 15.0 admitted"],
            "waits": {
                "2": {"count": 90, "min": 4.0, "p50": 240.0, "p95": 470.0, "max": 497.0, "declared": [0.0, 500.0]},
                "3": {"count": 30, "min": 9.0, "p50": 520.0, "p95": 960.0, "max": 990.0, "declared": [0.0, 1000.0]},
                "4": {"count": 0, "declared": [0.0, 2000.0]},
            },
            "by_attempt": [{"attempt": 1, "sent": 1200, "admitted": 1110}, {"attempt": 2, "sent": 90, "admitted": 60}],
            "timeline": [{"second": at, "offered": 20, "attempts": 20 + at % 7, "admitted": 15} for at in range(60)],
        },
        outage={
            "window": [START + seconds * 0.4, START + edge], "seconds": seconds * 0.1, "baseline_goodput": 18.0,
            "recovery_seconds": 3.0, "storm_peak": 44, "wasted_attempts": 60,
            "lines": ["back at 95 % of 18.0 good calls a second after 3.0 s"],
            "curve": [
                {"t": at, "goodput": 4 if 0 <= at < seconds * 0.1 + 3 else 18, "attempts": 44 if at == 7 else 20}
                for at in range(-20, 30)
            ],
        },
        ceiling={
            "lines": ["35 calls a second kept the SLOs; the service was the limit above that"], "ceiling_rate": 35.0,
            "steps": [{"rate": rate, "ok": rate <= 35, "latency_p95": rate * 20.0} for rate in (10, 20, 30, 35, 40)],
        },
        soak={
            "lines": ["memory grew by 0.2 MB an hour"],
            "memory": {"service": [[at, 60 + at / 100] for at in range(60)]},
        },
        notes=["made up"],
    )  # fmt: skip
