"""Two short runs with objectives, a page each, and what got worse between them: what a CI job does."""

import os
import subprocess
import sys
from pathlib import Path

from mock_server import MockServer


def qfkit(*arguments: str, env: dict[str, str] | None = None) -> int:
    print("$ qfkit", *arguments)
    return subprocess.run(
        [sys.executable, "-m", "qfkit", *arguments], env=os.environ | (env or {}), check=False
    ).returncode


def measure(name: str, ttft: float) -> int:
    with MockServer(quota="none") as server:
        server.default_account.stream(["你", "好", "!"], ttft=ttft, interval=0.005, times="forever")
        return qfkit(
            *("load", "stream", "--host", server.url, "--rate", "60", "--run-time", "2s", "--no-calibrate"),
            *("--slo", "ttft.p95<2s", "--slo", "goodput>0.9*offered", "--slo", "errors<1%"),
            *("--report-json", f"{name}.json", "--html-report", f"{name}.html"),
            env=server.default_account.env(),
        )


assert measure("before", ttft=0.1) == 0  # every SLO was met
assert measure("after", ttft=0.4) == 0  # still
assert qfkit("load", "compare", "before.json", "after.json") == 1  # and yet it got slower
assert "<svg" in Path("after.html").read_text("utf-8")
