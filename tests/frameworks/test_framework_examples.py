"""Every example of `docs/frameworks.md` runs as it stands, and says nothing on the network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from frameworks_helpers import needed

needed("langchain_community.chat_models", "langchain_openai", "litellm", "llama_index.llms.qianfan")

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "frameworks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
GUARDED = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
import frameworks_helpers
from qfkit.testing.guard import guard
with guard() as watch:
    runpy.run_path(sys.argv[2], run_name="__main__")
assert watch.refused == [], watch.refused
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_it_runs(script: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, str(Path(__file__).parent), str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_document_names_them_all() -> None:
    text = (FOLDER.parents[1] / "frameworks.md").read_text("utf-8")
    assert [script.name for script in SCRIPTS if f"examples/frameworks/{script.name}" not in text] == []
