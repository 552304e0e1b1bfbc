"""Every example of the documentation runs as it stands, and the tables of the documentation are complete."""

from __future__ import annotations

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


@pytest.mark.parametrize("script", SCRIPTS, ids=[str(path.relative_to(ROOT / "docs" / "examples")) for path in SCRIPTS])
def test_it_runs(script, tmp_path):
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if script.name.startswith("test_") else []
    done = subprocess.run(
        [sys.executable, *command, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
