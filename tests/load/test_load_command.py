"""``qfkit load`` before it starts: what it refuses, and that it says why. Nothing here imports Locust."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from qfkit.cli.load import command

KEYS = {"QIANFAN_ACCESS_KEY": "ALTAKaccess", "QIANFAN_SECRET_KEY": "secret"}


@pytest.fixture
def nobody():
    """The address of a port on which nobody listens, and on which nobody else can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def load(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(command, arguments, env=KEYS if env is None else env)


def test_nobody_there(nobody):
    result = load("qps", "--host", nobody)
    assert result.exit_code == 2
    assert f"cannot reach {nobody}" in result.output
    assert "'qfkit mock' starts a mock" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("qps", "--host", "http://10.1.2.3"), "10.1.2.3 is not this machine"),
        (("qps", "--host", "https://aip.baidubce.com", "--live"), "--max-requests N"),
        (("qps", "--host", "127.0.0.1:8866"), "no base URL"),
        (("qps", "--host", "http://127.0.0.1", "--run-time", "soon"), "no time span"),
        (("qps", "--host", "http://127.0.0.1", "--prompts", "/no/such/file"), "cannot be read"),
        (("qps", "--host", "http://127.0.0.1", "--prompt", "a", "--prompts", "b"), "exclude each other"),
        (("qps", "--host", "http://127.0.0.1", "--users", "0"), "--users"),
        (("qps", "--host", "http://127.0.0.1", "--max-requests", "0"), "--max-requests"),
        (("qps", "--host", "http://127.0.0.1", "--dialect", "v3"), "--dialect"),
        (("soap", "--host", "http://127.0.0.1"), "soap"),
        (("qps",), "--host"),
        (("qps", "--host", "http://127.0.0.1", "--slo", "latncy.p95<5ms"), "did you mean latency?"),
        (("qps", "--host", "http://127.0.0.1", "--slo", "ttft.p95<5ms"), "this run has none"),
        (("qps", "--host", "http://127.0.0.1", "--slo", "verdict=pass"), "only the scenarios backoff and outage"),
        (("qps", "--host", "http://127.0.0.1", "--slo-file", "/no/such/file"), "cannot be read"),
        (("qps", "--host", "http://127.0.0.1", "--html-report", "/no/such/file"), "there is no directory /no/such"),
        (("compare", "/no/such/a", "/no/such/b"), "cannot be read"),
    ],
)
def test_bad_use_is_exit_code_2_and_says_what_to_do(arguments, words):
    result = load(*arguments)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("dialect", "variable"),
    [("text_generation", "QIANFAN_ACCESS_KEY"), ("v1", "QIANFAN_AK"), ("v2", "QIANFAN_BEARER_TOKEN")],
)
def test_missing_keys_are_named(dialect, variable):
    result = load("stream", "--host", "http://127.0.0.1", "--dialect", dialect, env={})
    assert result.exit_code == 2
    assert variable in result.output


def test_without_locust_it_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "locust" else find(name))
    result = load("qps", "--host", "http://127.0.0.1")
    assert result.exit_code == 2
    assert "pip install 'qfkit[load]'" in result.output


def test_only_what_runs_the_load_imports_locust():
    code = """
import pkgutil, sys, loadtests
assert not [name for name in sys.modules if name.startswith("loadtests.")]
import qfkit.cli.load
free = [room for room in pkgutil.iter_modules(loadtests.__path__) if room.ispkg and room.name != "trusting"]
assert len(free) >= 6, free
for room in free:
    package = __import__(f"loadtests.{room.name}", fromlist=["__path__"])
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        __import__(module.name)
        assert not {"locust", "gevent"} & set(sys.modules), module.name
"""
    subprocess.run([sys.executable, "-c", code], check=True)
