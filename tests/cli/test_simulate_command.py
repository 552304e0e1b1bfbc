"""``qfkit simulate`` as people type it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from qfkit.cli import main
from qfkit.simulation import SCENARIOS

QUICK = {
    "quota": ["--clients", "60", "--quota", "qps=10"],
    "outage": ["--rate", "20", "--duration", "30", "--outage-at", "5", "--outage", "5", "--quota", "qps=40"],
    "errors": ["--clients", "200"],
    "contention": ["--clients", "15"],
}


def simulate(*arguments: str):
    return CliRunner().invoke(main, ["simulate", *arguments])


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_scenario_prints_a_table_and_a_recommendation(name):
    result = simulate(name, *QUICK[name])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{name}: ")
    assert re.search(r"^policy +answered +att/answer", result.stdout, re.MULTILINE)
    assert re.search(r"^Recommended: .+\.$", result.stdout, re.MULTILINE)
    assert ("settled s" in result.stdout) is (name == "outage")
    assert "simulated in" in result.stderr
    assert "simulated in" not in result.stdout


def test_json_is_the_whole_comparison_and_the_same_each_time():
    arguments = ("quota", *QUICK["quota"], "-p", "ours=full:attempts=4", "-p", "openai", "--seed", "7", "--json")
    result = simulate(*arguments)
    data = json.loads(result.stdout)
    assert result.stderr == ""
    assert [policy["label"] for policy in data["policies"]] == ["ours", "openai"]
    assert [policy["policy"] for policy in data["policies"]] == ["full:attempts=4", "openai"]
    assert data["scenario"]["limits"] == {"qps": 10, "window": "fixed"}
    assert data["scenario"]["seed"] == 7
    assert data["recommended"] == "ours"
    assert data["policies"][0]["answered"] == 40
    again = json.loads(simulate(*arguments).stdout)
    for one in (*data["policies"], *again["policies"]):
        one["wall"] = 0
    assert data == again


def test_a_page_and_a_chart_that_need_no_network(tmp_path):
    page, chart = tmp_path / "page.html", tmp_path / "chart.svg"
    result = simulate("outage", *QUICK["outage"], "--html", str(page), "--svg", str(chart))
    assert f"Written: {page}" in result.stdout
    text = page.read_text("utf-8")
    assert not re.search(r"(src|href)=|https?://(?!www\.w3\.org/2000/svg)|@import|<script", text)
    assert "Recommended: " in text
    assert "<svg " in text
    drawn = ET.parse(chart).getroot()
    words = {each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"qfkit", "openai", "full:budget=0.2", "shaded: the outage"} <= words
    coordinates = re.findall(r"[MHV ](-?\d+\.\d)", chart.read_text("utf-8"))
    assert coordinates
    assert all(0 <= float(number) <= 2000 for number in coordinates)


def test_names_are_escaped_in_the_page(tmp_path):
    page = tmp_path / "page.html"
    policies = tmp_path / "policies.txt"
    policies.write_text("full:base=1 , attempts=2   # <b>two</b>\n\nnone\n", "utf-8")
    result = simulate("quota", *QUICK["quota"], "--policies", str(policies), "--html", str(page))
    assert result.exit_code == 0, result.output
    assert "<b>two" not in page.read_text("utf-8")
    assert "full:base=1 , attempts=2" in result.stdout


def test_a_policy_has_the_label_that_it_is_given():
    text = simulate("quota", *QUICK["quota"], "-p", "ours=full:attempts=4,base=0.25", "-p", "none").stdout
    assert re.search(r"^ours +\d", text, re.MULTILINE)
    assert "Policies:\n  ours: full:attempts=4,base=0.25\n\n" in text


def test_nothing_answered_is_said():
    result = simulate("quota", "--clients", "20", "--quota", "qps=0", "-p", "full:attempts=2", "-p", "none")
    assert result.exit_code == 0
    assert "No policy gets any call answered." in result.stdout
    assert "Recommended" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quota", "-p", "ful"], "there is no policy 'ful'; did you mean 'full'?"),
        (["quota", "--quota", "qsp=5"], "the names are total, daily, qps"),
        (["quota", "--quota", "qps=-5"], "qps is a whole number of requests a second from 0"),
        (["quota", "--quota", "qps=many"], "got 'many'"),
        (["quota", "--quota", "qps=5,window=slidin"], "did you mean 'sliding'?"),
        (["quota", "--quota", "tpm=5"], "tokens are not counted; use rpm"),
        (["quota", "--error-rate", "2"], "error_rate is a number from 0 to 1; got 2.0"),
        (["quota", "--clients", "0"], "Invalid value for '--clients'"),
        (["quota", "--rate", "5", "--over", "5"], "calls and over say nothing"),
        (["quota", "--policies", "no-such-file"], "cannot read --policies no-such-file: No such file"),
        (["quota", "--html", "no/such/place.html"], "there is no directory"),
        (["storm"], "Invalid value for 'SCENARIO'"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(arguments, message):
    result = simulate(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_file_that_names_nothing_or_is_no_text(tmp_path):
    file = tmp_path / "policies"
    file.write_text("# none yet\n", "utf-8")
    assert "names no policy" in simulate("quota", "--policies", str(file)).output
    file.write_bytes(b"\xff\xfe\x00")
    assert "is no text in UTF-8" in simulate("quota", "--policies", str(file)).output


def test_what_would_never_end_is_stopped():
    result = simulate(
        "quota", "--quota", "qps=0", "-p", "immediate:attempts=99999,max_total=none", "--max-attempts", "500"
    )
    assert result.exit_code == 1
    assert "stopped after 500 attempts" in result.output
    assert "--max-attempts" in result.output


def test_the_tables_of_the_documentation_are_what_it_prints():
    text = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text("utf-8")
    blocks = [block.strip().splitlines() for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL)]
    printed = [block for block in blocks if len(block) > 2 and "1000000" not in block[0]]
    assert len(printed) == 2
    for command, *lines in printed:
        output = simulate(*command.removeprefix("$ qfkit simulate ").split()).stdout.splitlines()
        assert output[: len(lines)] == lines
