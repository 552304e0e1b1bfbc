"""Every example of the documentation runs as it stands, and the tables of the documentation are complete."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mock_server.settings import AccountConfig, Settings
from qfkit.cli import COMMANDS, main

ROOT = Path(__file__).parent.parent
#: Those of `frameworks` want packages that only `make test-frameworks` installs: tests/frameworks runs them.
SCRIPTS = sorted(path for path in (ROOT / "docs" / "examples").rglob("*.py") if path.parent.name != "frameworks")


#: What most examples import. A process forked from one that has imported it starts in milliseconds, and is as fresh.
PRELOADED = ["flask", "mock_server.server", "qfkit.client.client", "qfkit.grading", "requests"]
FORKING = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
FORKING.set_forkserver_preload(PRELOADED)
IDS = [str(path.relative_to(ROOT / "docs" / "examples")) for path in SCRIPTS]
PATIENCE = 60


def _run(script: str, folder: str, output: str) -> None:
    """What the process of an example does: all that it prints goes to ``output``."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(folder)
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")


@pytest.mark.parametrize("script", SCRIPTS, ids=IDS)
def test_it_runs(script, tmp_path):
    if script.name.startswith("test_"):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return
    output = tmp_path / "output.txt"
    process = FORKING.Process(target=_run, args=(str(script), str(tmp_path), str(output)))
    process.start()
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode == 0, output.read_text("utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme_and_helps(name):
    assert f"qfkit {name}" in (ROOT / "README.md").read_text("utf-8") or name == "demo"
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert len(result.output) > 100


@pytest.mark.parametrize("document", ["docs/mock.md", "docs/zh/README.md"])
def test_options_of_qfkit_mock_and_the_fixtures_are_documented(document):
    text = (ROOT / document).read_text("utf-8")
    assert "--ready-file" in text
    assert "--auth" in text


def test_every_setting_is_documented():
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    fields = [*Settings.__struct_fields__, *AccountConfig.__struct_fields__]
    assert [name for name in fields if f"`{name}`" not in text] == []


def test_every_relative_link_leads_somewhere():
    from re import findall

    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
