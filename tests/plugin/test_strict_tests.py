"""Strict: a test that passes though its script was not played, or a request came that no rule expected, fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mock_server
import qfkit.client
import qfkit.testing.reporting
import qfkit.testing.strict
from mock_server.scenario import Failure, Script

ASK = """
    import pytest
    import requests

    def ask(account, text="?"):
        return requests.post(account.url + "/v2/chat/completions", timeout=5,
            headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
            json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": text}]})
"""

KEPT = (
    ASK
    + """
    def test_played(qianfan_mock):
        qianfan_mock.fail(18).then.reply("好")
        qianfan_mock.on(contains="天气").reply("晴")
        for text in ("天气", "a", "b"):
            ask(qianfan_mock, text)

    def test_after_the_script_answers_are_made_up(qianfan_mock):
        qianfan_mock.reply("好")
        assert ask(qianfan_mock).ok
        assert ask(qianfan_mock).ok

    def test_nothing_is_scripted(qianfan_mock):
        assert ask(qianfan_mock).ok

    def test_what_stays_for_ever_is_met_once(qianfan_mock):
        qianfan_mock.fail(18, times=2).reply("好").loop()
        for _ in range(4):
            ask(qianfan_mock)

    @pytest.mark.qianfan(strict=False)
    def test_relaxed(qianfan_mock):
        qianfan_mock.on(contains="天气").fail(18)
        ask(qianfan_mock)

    @pytest.mark.qianfan(strict="requests")
    def test_steps_may_wait(qianfan_mock):
        qianfan_mock.fail(18, times=9)
        ask(qianfan_mock)

    @pytest.mark.qianfan(strict="script")
    def test_any_request_may_come(qianfan_mock):
        qianfan_mock.on(contains="天气").reply("晴")
        ask(qianfan_mock, "天气")
        ask(qianfan_mock)
"""
)

BROKEN = (
    ASK
    + """
    def test_never(qianfan_mock):
        qianfan_mock.fail(18).then.reply("好")
        qianfan_mock.on(contains="天气").fail(500)

    def test_partly(qianfan_mock):
        qianfan_mock.fail(18, times=3)
        ask(qianfan_mock)

    def test_request(qianfan_mock):
        qianfan_mock.on(contains="天气").reply("晴")
        ask(qianfan_mock, "天气")
        ask(qianfan_mock, "天地")

    def test_refused(qianfan_mock):
        qianfan_mock.strict = True
        assert ask(qianfan_mock).status_code == 400

    @pytest.mark.qianfan(strict="script")
    def test_script(qianfan_mock):
        qianfan_mock.on(contains="天气").reply("晴")
        ask(qianfan_mock)

    def test_failed_before(qianfan_mock):
        qianfan_mock.fail(18)
        assert 1 == 2

    @pytest.mark.xfail
    def test_expected_to_fail(qianfan_mock):
        qianfan_mock.fail(18)
"""
)


def test_tests_that_play_their_script_pass_and_relaxed_ones_do(pytester: pytest.Pytester):
    pytester.makepyfile(KEPT)
    pytester.runpytest_inprocess().assert_outcomes(passed=7)


def test_tests_that_do_not_fail_with_step_line_near_miss_and_what_relaxes_them(pytester: pytest.Pytester):
    pytester.makepyfile(test_it=BROKEN)
    result = pytester.runpytest_inprocess("-p", "no:randomly", "-rf")
    result.assert_outcomes(failed=6, xfailed=1)
    out = result.stdout
    out.fnmatch_lines(
        [
            "strict: never met: fail 18 x1 (and 3 more)",
            "  never met: fail 18 x1",
            '      scripted at test_it.py:10: qianfan_mock.fail(18).then.reply("好")',
            "  never met: reply '好' x1",
            "  never met: rule 1 on(contains='天气'): fail 500 for ever",
            '      scripted at test_it.py:11: qianfan_mock.on(contains="天气").fail(500)',
            "  no request reached this account",
            "      is the code pointed at the mock? qianfan_env *",
            "  How to fix: let the script say what the code does; or relax this test with one line:",
            "      @pytest.mark.qianfan(strict=False)",
            '  (strict="requests" * strict="script" *; for all: qianfan_strict = false)',
            "*what the mock Qianfan saw*",
            "(no requests)",
            "strict: waits still, met once: fail 18 x2",
            "      scripted at test_it.py:14: qianfan_mock.fail(18, times=3)",
            "strict: expected by no rule: #3 POST /v2/chat/completions -> 200 by default",
            "      rule 1 on(contains='天气') missed: contains: wanted '天气', got '天地' (first difference *",
            "strict: expected by no rule: #4 POST /v2/chat/completions -> 400 code invalid_argument by strict",
            "      there are no rules",
            "strict: never met: rule 1 on(contains='天气'): reply '晴' for ever",
        ]
    )
    out.fnmatch_lines(["FAILED test_it.py::test_never - Failed: strict: never met: fail 18 x1*"])
    # The test that had failed before is told of it, and has its own error only.
    own = out.str().partition("_ test_failed_before _")[2].partition("short test summary")[0]
    assert "assert 1 == 2" in own
    assert "strict:" not in own
    assert "never met: fail 18 x1\n    scripted at test_it.py:32: qianfan_mock.fail(18)" in own


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="pytest 8 has no subtests")
def test_a_failed_subtest_is_the_one_error(pytester: pytest.Pytester):
    pytester.makepyfile("""
        def test_it(qianfan_mock, subtests):
            with subtests.test("a"):
                qianfan_mock.fail(18)
                assert 1 == 2
    """)
    out = pytester.runpytest_inprocess().stdout
    out.fnmatch_lines(["E   *assert 1 == 2", "never met: fail 18 x1"])
    out.no_fnmatch_line("strict: *")


def test_a_test_that_is_run_again_is_strict_again(pytester: pytest.Pytester):
    pytester.makeconftest("""
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):
                for report in runtestprotocol(item, nextitem=nextitem, log=False):
                    item.ihook.pytest_runtest_logreport(report=report)
            return True
    """)
    pytester.makepyfile("""
        def test_it(qianfan_mock):
            qianfan_mock.fail(18)
    """)
    pytester.runpytest_inprocess().assert_outcomes(failed=2)


@pytest.mark.parametrize(
    ("ini", "line", "failed"),
    [
        ("false", [], 0),
        ("false", ["--qianfan-strict"], 1),
        ("true", ["--qianfan-no-strict"], 0),
    ],
)
def test_the_whole_run_can_be_relaxed(pytester: pytest.Pytester, ini, line, failed):
    pytester.makeini(f"[pytest]\nqianfan_strict = {ini}\n")
    pytester.makepyfile("""
        import pytest

        def test_it(qianfan_mock):
            qianfan_mock.fail(18)

        @pytest.mark.qianfan(strict=True)
        def test_marked(qianfan_mock):
            qianfan_mock.fail(18)
    """)
    pytester.runpytest_inprocess(*line).assert_outcomes(failed=failed + 1, passed=1 - failed)


@given(times=st.lists(st.integers(1, 3), max_size=5), asked=st.integers(0, 12))
def test_what_waits_is_what_the_requests_left(times, asked):
    script = Script()
    for number, count in enumerate(times):
        script.add(Failure(code=400 + number), count)
    for _ in range(asked):
        script.take()
    left = []
    for number, count in enumerate(times):
        met = min(count, asked)
        asked -= met
        left += [(f"fail {400 + number} x{count - met}", met)] if met < count else []
    assert [(str(step), step.met) for step in script.waiting_steps()] == left


def test_steps_that_no_code_wrote_have_no_line():
    with mock_server.MockServer() as server:
        account = server.account().play([{"fail": 18}])
        server.state.account(account.name).scenario.script.loop(2)
        step, loop = account.waiting_steps
    assert (step.written_at or ("", 0))[0] == __file__
    assert (str(loop), loop.met, loop.written_at) == ("loop x1", 0, None)
    assert [finding.details for finding in qfkit.testing.strict.findings(account)][1] == ()
