"""The documents that are made from tables say what the tables say."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from qfkit.protocol.errors import ERRORS
from qfkit.protocol.models import MODELS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_document_is_stale(generate: ModuleType) -> None:
    assert generate.stale() == [], "run `make docs` and commit what it writes"


def test_check_names_the_files_that_are_stale(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    generate.write(docs)
    assert generate.stale(docs) == []
    (docs / "errors.md").write_text("old", encoding="utf-8")
    (docs / "models.md").unlink()
    monkeypatch.setattr(generate, "DOCS", docs)
    assert generate.main(["--check"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{Path('docs', name)} is stale: run `make docs`" for name in ("errors.md", "models.md")]
    assert (docs / "errors.md").read_text(encoding="utf-8") == "old"
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_the_module_runs_as_make_docs_runs_it() -> None:
    command = [sys.executable, "-m", "docs.generate", "--check"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_row_is_in_the_documents(generate: ModuleType) -> None:
    errors, models = generate.errors_page(), generate.models_page()
    for spec in ERRORS:
        assert f"`{spec.code}`" in errors
        assert spec.message in errors
        assert spec.remedy.replace("|", "&#124;") in errors
    for model in MODELS:
        assert f"`{model.name}`" in models


def test_every_table_has_as_many_cells_as_its_head(generate: ModuleType) -> None:
    for page in (generate.errors_page(), generate.models_page()):
        columns = 0
        for line in page.splitlines():
            if not line.startswith("|"):
                columns = 0
                continue
            columns = columns or line.count("|")
            assert line.count("|") == columns, line
