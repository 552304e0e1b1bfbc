"""An open load on two workers: calls come when they come, counts agree with the server's, the clock is measured."""

import json
import os
import subprocess
import sys

from mock_server import MockServer


def load(server: MockServer, *arguments: str) -> dict:
    command = [sys.executable, "-m", "qfkit", "load", *arguments, "--host", server.url, "--run-time", "2s", "--json"]
    done = subprocess.run(
        command, env=os.environ | server.default_account.env(), stdout=subprocess.PIPE, text=True, check=False
    )
    return json.loads(done.stdout)


with MockServer(seed=7, ttft=0.1, interval=0.005, quota="none") as server:
    report = load(server, "mixed", "--rate", "40", "--arrivals", "gamma", "--mix", "chat=1,stream=3", "--workers", "2")

counts, clock = report["reconciliation"], report["calibration"]
print(f"planned {counts['planned']}, sent {counts['sent']}, recorded {counts['recorded']}, seen {counts['seen']}")
print(f"own error at the median: TTFT {clock['at_rest']['ttft_p50_error_ms']} ms at rest")
assert counts["ok"]
assert counts["planned"] == sum(data["calls"] for data in report["scenarios"].values())

streams = report["scenarios"]["mixed stream"]
print(f"TTFT p50 {streams['milliseconds']['ttft']['p50']} ms, sent late by {streams['late']['p50']} ms at the median")
assert streams["milliseconds"]["ttft"]["p50"] >= 100  # headers came at once, content did not
assert streams["milliseconds"]["headers"]["p50"] < streams["milliseconds"]["ttft"]["p50"]
