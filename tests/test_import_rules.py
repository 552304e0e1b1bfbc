"""The walls of the house, as ARCHITECTURE.md draws them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_no_package_imports_what_it_must_not_know():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "stays_out"),
    [
        ("qfkit", ("requests", "flask", "locust", "pytest", "tenacity")),
        ("qfkit.testing.plugin", ("requests", "flask", "locust", "hypothesis", "mock_server.server")),
        ("qfkit.cli", ("requests", "flask", "locust")),
        ("mock_server", ("flask", "requests", "locust")),
        ("loadtests", ("locust", "gevent")),
    ],
)
def test_loading_costs_nothing_that_is_not_used(module, stays_out):
    code = f"import sys, {module}; print([n for n in {stays_out!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["qfkit", "mock_server"])
def test_the_public_face_holds_what_it_promises(package):
    module = __import__(package)
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert missing == []
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_that_name'"):
        _ = module.nothing_of_that_name
