"""Locust's own web page with ours in it: a tab, a page, the report as JSON; and its Aggregated row left alone."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from html import unescape
from pathlib import Path

import pytest
import requests

import loadtests
from mock_server import MockServer

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), "")


@pytest.fixture(scope="module")
def page():
    """The address of Locust's page, with a run of streams under way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with MockServer(ttft=0.02, interval=0.005, quota="none") as server:
        command = [sys.executable, "-m", "locust", "-f", str(Path(loadtests.__path__[0]) / "stream.py")]
        command += ["--host", server.url, "--web-host", "127.0.0.1", "--web-port", str(port), "--autostart"]
        command += ["--no-calibrate", "-u", "2", "-r", "10", "--only-summary"]
        env = os.environ | server.default_account.env()
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            url = f"http://127.0.0.1:{port}"
            try:
                _until(lambda: requests.get(f"{url}/qfkit/report.json", timeout=5).json()["scenarios"])
                yield url
            finally:
                process.terminate()
                process.communicate(timeout=60)


def _until(found):
    for _ in range(600):
        try:
            if value := found():
                return value
        except requests.RequestException:
            pass
        threading.Event().wait(0.05)  # another process must get there
    raise AssertionError("it never came")


def test_locusts_statistics_come_with_a_row_for_each_duration_and_keep_their_sum(page):
    shown = requests.get(f"{page}/stats/requests", timeout=5).json()
    (ours,) = shown["extended_stats"]
    rows = {row["figure"]: row for row in ours["data"]}
    assert ours["key"] == "qfkit"
    assert {"latency", "headers", "first_byte", "ttft", "itl", "tpot", "ttft (vLLM)", "itl (GenAI-Perf)"} <= set(rows)
    assert rows["ttft"]["p50"] >= 20
    assert rows["itl"]["count"] > rows["ttft"]["count"] > 0
    # One entry a call, and none for a duration: what is added up is calls.
    assert [row["name"] for row in shown["stats"]] == ["text_generation", "Aggregated"]
    # Locust keeps its figures for up to two seconds, while ours go on.
    assert 0 < shown["stats"][-1]["num_requests"] <= rows["latency"]["count"] < rows["itl"]["count"]


def test_there_is_a_page_to_read_and_the_report_as_json(page):
    assert "TTFT" in requests.get(f"{page}/qfkit", timeout=5).text
    report = requests.get(f"{page}/qfkit/report.json", timeout=5).json()
    assert (report["format"], report["users"]) == (2, 2)


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on PATH")
def test_a_browser_shows_the_tab(page, tmp_path):
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *(f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
        *("--virtual-time-budget=5000", "--dump-dom", f"{page}/?tab=qfkit"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    shown = " ".join(unescape(re.sub(r"<[^>]+>", " ", done.stdout.partition("<body>")[2])).split())
    assert "Scenario Milliseconds Count Mean p50 p90 p95 p99 p99.9 Max" in shown
    assert re.search(r"stream ttft \d+ ", shown)
