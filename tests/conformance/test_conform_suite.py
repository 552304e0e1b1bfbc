"""What the suite promises to whoever uses it, kept and broken."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from qfkit.testing.conformance import AREAS, CASES, Conformance, conformance

CLIENT = """
    import pytest, requests
    from qfkit import Client
    from qfkit.testing.conformance import CASES, Conformance, conformance

    def some(*names):
        return [case for case in CASES if case.name in names]

    class Mine(Conformance):
        dialect = "v2"
        def make(self, env):
            return Client.from_env(env, dialect=self.dialect)
        def call(self, prompt):
            return self.client.chat(prompt).text
        def stream(self, prompt):
            for chunk in self.client.stream(prompt):
                yield chunk.text

    class Naive(Mine):
        '''A stream read as in many a tutorial.'''
        def stream(self, prompt):
            import json
            body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": prompt}], "stream": True}
            key = {"Authorization": "Bearer " + self.env["OPENAI_API_KEY"]}
            url = self.env["OPENAI_BASE_URL"] + "/chat/completions"
            with requests.post(url, json=body, headers=key, stream=True, timeout=5) as response:
                for line in response.iter_lines():
                    if line and line != b"data: [DONE]":
                        yield json.loads(line[6:])["choices"][0]["delta"].get("content", "")
"""


@pytest.fixture(autouse=True)
def _few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    # Loading all that this environment has takes longer than what is tested here.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(CLIENT + source)
    return pytester.runpytest_subprocess("-p", "qfkit.testing.plugin", *arguments)


def test_a_table_and_json_tell_what_became_of_each_case(pytester: pytest.Pytester) -> None:
    source = """
    class TestMine(Naive):
        packages = ("requests",)
        note = "for example"
        cases = some("comments/keep-alives", "cuts/no-end-event", "lines/crlf", "tokens/kept", "stalls/comments")
        deviations = {"comments/*": "we read no comments"}
    """
    result = run(pytester, source, "-p", "xdist", "-n", "2", "--qianfan-conformance-json=out.json")
    result.assert_outcomes(passed=1, failed=1, xfailed=1, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "*conformance of clients of Qianfan*",
            "TestMine (v2; requests *)",
            "  area * cases * passed * failed * deviates * n/a",
            "  cuts * 1 * - * 1 * - * -",
            "  all * 5 * 1 * 1 * 1 * 2",
            "  failed: cuts/no-end-event (required): it raised no error, and gave '春眠不觉晓，处处闻啼鸟。夜来风雨声'",
            "  deviates: comments/keep-alives (recommended): we read no comments",
            "conformance results written to out.json",
        ]
    )
    told: dict[str, Any] = json.loads((pytester.path / "out.json").read_text("utf-8"))
    [suite] = told["suites"]
    assert suite["counts"] == {"passed": 1, "failed": 1, "deviates": 1, "n/a": 2}
    assert (suite["suite"], suite["dialect"], suite["note"]) == ("TestMine", "v2", "for example")
    assert list(suite["packages"]) == ["requests"]
    cases = {case["name"]: case for case in suite["cases"]}
    assert cases["lines/crlf"] == {"name": "lines/crlf", "level": "recommended", "result": "passed"}
    assert cases["tokens/kept"]["reason"] == "the client buys no tokens (tokens = True where it does)"
    assert cases["comments/keep-alives"]["reason"] == "we read no comments"
    assert cases["comments/keep-alives"]["complaints"][0].startswith("it raised JSONDecodeError: ")


def test_a_failure_teaches(pytester: pytest.Pytester) -> None:
    source = """
    class TestMine(Naive):
        cases = some("cuts/no-end-event")
    """
    run(pytester, source).stdout.fnmatch_lines(
        [
            "cuts/no-end-event (required): TestMine, v2",
            "*what happens: *the body ends in order, and no end event came",
            "*a sound client: *raises an error of its own; hands out no more before than a beginning of '春*",
            "*this client: *it raised no error, and gave '春眠不觉晓，处处闻啼鸟。夜来风雨声'",
            "*why: *wire reference 3.4*",
            "*what to do: *Take an answer for whole only when its end event has come*",
            "*what was sent:",
            '*data: {"id":"as-c0nf0rm4nc"*',
            "*the body ends as HTTP ends it",
            "*what it handed out: *'春眠不觉晓，', '处处闻啼鸟。', '夜来风雨声'*",
            "*what the mock saw:",
            "*POST /v2/chat/completions*-> 200 by*",
            '*deviations = {"cuts/no-end-event": "..."}',
        ]
    )


def test_a_deviation_that_is_gone_fails_and_a_broken_client_is_no_deviation(pytester: pytest.Pytester) -> None:
    source = """
    class TestGone(Mine):
        cases = some("lines/crlf")
        deviations = {"lines/crlf": "we read no CR"}

    class TestBroken(Mine):
        cases = some("lines/crlf")
        deviations = {"lines/crlf": "we read no CR"}
        def make(self, env):
            raise RuntimeError("no such module")

    class TestRequired(Mine):
        cases = some("lines/separators-in-text", "lines/cr")
        level = "required"

    class TestAccident(Mine):
        cases = some("answers/no-json", "errors/invalid_model")
        def call(self, prompt):
            return {}["answer"]

    class TestNotText(Mine):
        cases = some("answers/plain")
        def call(self, prompt):
            return self.client.chat(prompt)

    def ask(prompt):
        return Client.from_env(dialect="v1").chat(prompt).text

    TestFunction = conformance(ask, dialect="v1")
    TestFunction.cases = some("answers/plain", "lines/crlf")
    """
    result = run(pytester, source)
    result.assert_outcomes(passed=2, failed=5, skipped=2)
    result.stdout.fnmatch_lines(["*failed: lines/crlf (recommended): RuntimeError: no such module"])
    result.stdout.fnmatch_lines(["*XPASS(strict)*we read no CR*", "*RuntimeError: no such module*"])
    text = result.stdout.str()
    assert "it raised KeyError: 'answer', which is an accident, no error of a client" in text
    assert "it gave Reply" in text
    assert "TestFunction (v1)" in text
    for line in ("TestGone", "TestBroken"):
        assert f"{line} (v2)" in text


class Mine(Conformance):
    dialect = "v2"

    def call(self, prompt: str) -> str:
        return prompt

    def stream(self, prompt: str) -> list[str]:
        return [prompt]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dialect", "v3", "TestMine.dialect is one of 'text_generation', 'v1', 'v2'; got 'v3'"),
        (
            "deviations",
            {"lines/crfl": ""},
            "TestMine.deviations: v2 has no case 'lines/crfl'; did you mean 'lines/crlf'?",
        ),
        ("framing", "lines", "TestMine.framing is 'sse', or 'lines' for text_generation; got 'lines'"),
        ("call", Conformance.call, "TestMine has no call(self, prompt), which asks and returns the text of the answer"),
        (
            "stream",
            Conformance.stream,
            "TestMine has no stream(self, prompt), which yields pieces of text; or say streams = False",
        ),
    ],
)
def test_what_cannot_be_is_told(name: str, value: object, message: str) -> None:
    with pytest.raises(pytest.UsageError) as told:
        type("TestMine", (Mine,), {name: value}).check()
    assert str(told.value) == message


def test_it_is_told_before_anything_runs(pytester: pytest.Pytester) -> None:
    result = run(pytester, "\n    class TestMine(Mine):\n        dialect = 'v3'\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*TestMine.dialect is one of 'text_generation', 'v1', 'v2'; got 'v3'"])


def test_an_unknown_argument_is_told() -> None:
    with pytest.raises(TypeError, match=r"conformance\(\) has no argument 'retry'; did you mean 'retries'\?"):
        conformance(str, dialect="v2", retry=False)


def test_the_plugin_loads_nothing_of_it() -> None:
    code = (
        "import sys, qfkit.testing.plugin, qfkit.testing.conformance.hooks; "
        "print([name for name in sys.modules if name.startswith(('mock_server', 'qfkit.testing.conformance.s'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_tables_are_sound() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert {case.area for case in CASES} == set(AREAS)
    for case in CASES:
        for text in (case.what, case.do, case.why):
            assert text, case.name
        assert case.do.endswith("."), case.name
        assert not case.what.endswith("."), case.name
