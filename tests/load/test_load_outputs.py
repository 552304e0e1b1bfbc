"""Where a report goes: files that can be written, and that are read back as they were."""

from __future__ import annotations

import io
import json
from random import Random

import pytest
from load_reports import full_report, streams

from loadtests.planning.spelling import PlanError
from loadtests.reporting.outputs import SampleFile, check_files, samples_of, tell
from loadtests.reporting.page import data_of
from loadtests.reporting.terminal import render


def test_the_table_and_the_files(tmp_path):
    report, out = full_report(10), io.StringIO()
    tell(report, out, report_json=str(tmp_path / "r.json"), html_report=str(tmp_path / "r.html"))
    assert out.getvalue() == render(report) + "\n"
    same = json.loads(json.dumps(report))
    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == same
    assert data_of((tmp_path / "r.html").read_text("utf-8")) == same


def test_json_is_one_line():
    report, out = full_report(5), io.StringIO()
    tell(report, out, as_json=True)
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue())["exit"] == report["exit"]


def test_samples_are_read_back_as_they_were(tmp_path):
    samples = streams(Random(3), 5, 20)
    with SampleFile(tmp_path / "s.jsonl") as file:
        for sample in samples:
            file.add(sample)
    assert file.count == len(samples)
    assert list(samples_of(tmp_path / "s.jsonl")) == samples


def test_a_line_that_is_no_sample_is_named(tmp_path):
    (tmp_path / "s.jsonl").write_text('{"scenario": "qps", "began": 1}\n{"scenario": 7}\n', "utf-8")
    with pytest.raises(ValueError, match=r"s\.jsonl:2 is no sample of a call: .*scenario"):
        list(samples_of(tmp_path / "s.jsonl"))


def test_files_that_cannot_be_written_are_told_before_the_run(tmp_path, monkeypatch):
    check_files(None, "", str(tmp_path / "new"))
    with pytest.raises(PlanError, match="is a directory: name a file in it"):
        check_files(str(tmp_path))
    with pytest.raises(PlanError, match="there is no directory"):
        check_files(str(tmp_path / "none" / "file"))
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(PlanError, match="permission denied"):
        check_files(str(tmp_path / "new"))
