"""The verdict as it is read: as text, as data, as a failed assertion, over HTTP, beside a failed test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

import pytest
import requests
from traces import Trace, failing, full

from mock_server import MockServer
from qfkit import RetryPolicy
from qfkit.grading import CODES, Limits, VerdictFailed, declared, grade
from qfkit.grading.findings import SEVERITIES
from qfkit.grading.waiting import T_999, critical
from qfkit.protocol.backoff import Backoff

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def hammered():
    trace = Trace()
    trace.call(failing(3), [0.001] * 3)
    return grade(trace.seen)


def test_the_failure_teaches(hammered):
    with pytest.raises(VerdictFailed) as caught:
        hammered.assert_ok()
    assert str(caught.value) == (
        "1 finding about the client, in 1 call and 4 attempts:\n"
        "\n"
        "error no-backoff: retries came at once, without a wait\n"
        "    call 1, from #1 at +0.000 s: waited 0.001 s, 0.001 s, 0.001 s\n"
        "    -> Wait before each retry: twice as long each time, jittered, up to a cap.\n"
        "\n"
        "grouping: likely: attempts were put together by content and order\n"
        "How to relax:\n"
        '    verdict().assert_ok(ignore=("no-backoff",)) lets these pass;\n'
        "    verdict(limits=Limits(...)) moves the lines; account.noticed() declares that a failure was seen;\n"
        "    docs/verdicts.md explains each code."
    )
    assert isinstance(caught.value, AssertionError)
    assert caught.value.verdict is hammered
    assert [finding.code for finding in caught.value.findings] == ["no-backoff"]


def test_what_is_ignored_passes(hammered):
    assert hammered.assert_ok(ignore=["no-backoff"]) is hammered
    assert hammered.assert_ok(ignore="no-backoff") is hammered
    with pytest.raises(ValueError, match="'no-backof'; did you mean 'no-backoff'"):
        hammered.assert_ok(ignore=["no-backof"])


def test_nothing_at_all_is_in_order():
    verdict = grade([])
    assert verdict.ok
    assert verdict.assert_ok() is verdict
    assert verdict.render() == "verdict: ok (0 calls, 0 attempts)"


def test_data(hammered):
    data = json.loads(json.dumps(hammered.to_dict()))
    assert data["ok"] is False
    assert data["attempts"] == 4
    assert data["calls"][0]["attempts"] == [1, 2, 3, 4]
    assert data["findings"][0]["code"] == "no-backoff"
    assert data["findings"][0]["evidence"][0]["attempts"] == [1, 2, 3, 4]
    assert data["schedule"] is None


def test_errors_come_first_and_much_evidence_is_cut():
    trace = Trace()
    trace.ask("cut", "c")
    for number in range(9):
        trace.call(["cut", "stream"], [0.4 + number / 10], f"q{number}")
    verdict = grade(trace.seen)
    assert verdict.codes == ("truncated-accepted", "retried-after-content")
    assert "    and 4 more\n" in verdict.render()


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (RetryPolicy(), "Backoff"),
        (Backoff(base=1, factor=2, cap=3, jitter="full"), "Backoff"),
        ("openai", "openai(initial=0.5, max=8)"),
        ("aws-full:base=0.5, cap=8", "aws-full(base=0.5, cap=8, factor=2)"),
    ],
)
def test_schedules_are_declared_in_many_ways(schedule, words):
    assert str(declared(schedule)).startswith(words)
    assert declared(declared(schedule)) is not None
    assert declared(None) is None


def test_a_policy_says_its_attempts_too():
    assert declared(RetryPolicy(attempts=4)).attempts == 4


@pytest.mark.parametrize(
    ("schedule", "kind", "message"),
    [
        ("opneai", ValueError, "did you mean 'openai'"),
        ("openai:initial", ValueError, "options of a schedule are names with numbers"),
        ("openai:initial=x", ValueError, "options of a schedule are names with numbers"),
        ("openai:initial=-1", ValueError, "numbers from 0"),
        ("openai:initial=nan", ValueError, "numbers from 0"),
        ("openai:first=1", ValueError, "no option 'first'"),
        ("aws-full", ValueError, "needs base and cap"),
        (3, TypeError, "schedule is a RetryPolicy.*got int"),
    ],
)
def test_what_is_no_schedule_is_refused(schedule, kind, message):
    with pytest.raises(kind, match=message):
        grade([], schedule=schedule)


def test_the_judgement_is_shown():
    trace, random = Trace(), Random(1)
    for number in range(10):
        trace.call(failing(3), full(random), f"q{number}")
    verdict = grade(trace.seen, schedule="aws-full:base=0.5,cap=8", limits=Limits(tolerance=0.0))
    assert verdict.ok
    assert "schedule: kept: 30 waits look as if drawn from aws-full" in verdict.render()
    assert verdict.to_dict()["schedule"]["answer"] == "kept"


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "1"])
def test_a_limit_is_a_number(value):
    with pytest.raises(ValueError, match=r"Limits\.cap is a number"):
        Limits(cap=value)


def test_limits_by_name():
    assert Limits.of({"cap": 3.0}) == Limits.parse("cap=3") == Limits(cap=3.0)
    assert Limits.parse("") == Limits()
    with pytest.raises(ValueError, match=r"limits are names with numbers from 0.*got 'cap'"):
        Limits.parse("cap")
    with pytest.raises(ValueError, match="'cpa'; did you mean 'cap'"):
        Limits.of({"cpa": 3.0})


def test_the_table_of_students_t_is_right():
    from scipy import stats

    for freedom, value in T_999.items():
        assert 0 <= value - stats.t.ppf(0.999, freedom) < 0.01
    for freedom in range(1, 300):
        assert critical(freedom) >= stats.t.ppf(0.999, freedom)


def test_every_code_explains_itself_and_names_codes_that_there_are():
    for code, row in CODES.items():
        assert row.severity in SEVERITIES
        assert row.title[0].islower()
        assert not row.title.endswith(".")
        assert row.told.endswith(".")
        assert row.advice.endswith(".")
        assert set(row.explained_by) <= set(CODES) - {code}
        for name in re.findall(r"Limits\.(\w+)", row.told):
            assert hasattr(Limits(), name)


def test_every_code_and_every_limit_is_documented():
    text = (DOCS / "verdicts.md").read_text("utf-8")
    for code, row in CODES.items():
        assert f"### {code}\n\n*{row.severity}*: {row.title}." in text
        assert row.told in text
        assert row.advice in text
    for name in Limits.__slots__:
        assert f"| `{name}` | {getattr(Limits(), name):g} |" in text


# On the mock


def ask(account, question="q"):
    return requests.post(
        f"{account.url}/v2/chat/completions",
        json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": question}]},
        headers={"Authorization": f"Bearer {account.credentials.bearer_token}", "X-Qfkit-Call-Id": question},
        timeout=10,
    )


def test_an_account_declares_what_it_noticed_call_by_call(account):
    account.fail(500, times=2)
    ask(account, "a")
    ask(account, "b")
    account.noticed(call_id="a")
    assert account.verdict().findings[0].attempts == (2,)
    account.noticed(2)
    assert account.verdict().ok


@pytest.mark.parametrize("journal", [0, 1])
def test_what_the_journal_has_forgotten_is_told(journal):
    with MockServer(port=0, journal=journal) as mock:
        account = mock.account()
        for question in ("a", "b", "c"):
            ask(account, question)
        verdict = account.verdict()
    assert (verdict.ok, verdict.attempts, verdict.forgotten) == (True, journal, 3 - journal)
    assert f"journal: {3 - journal} requests had no room in it" in verdict.render()


def test_the_verdict_over_http(mock, account):
    account.fail(500)
    ask(account)
    url = f"{mock.url}/__admin/accounts/{account.name}"
    data = requests.get(f"{url}/verdict", timeout=10).json()
    assert data == {**json.loads(json.dumps(account.verdict().to_dict())), "text": account.verdict().render()}
    assert data["ok"] is False
    for noticed in ("all", "1", "1, 7"):
        assert requests.get(f"{url}/verdict", params={"noticed": noticed}, timeout=10).json()["ok"] is True
    assert requests.get(f"{url}/verdict", params={"schedule": "openai"}, timeout=10).json()["schedule"]["answer"]
    assert requests.post(f"{url}/noticed", json={}, timeout=10).status_code == 204
    assert requests.get(f"{url}/verdict", timeout=10).json()["ok"] is True


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limits": "cpa=1"}, "did you mean 'cap'"),
        ({"schedule": "opneai"}, "did you mean 'openai'"),
        ({"noticed": "some"}, "noticed is 'all'"),
    ],
)
def test_what_is_asked_wrongly_over_http_is_refused(mock, account, query, message):
    answer = requests.get(f"{mock.url}/__admin/accounts/{account.name}/verdict", params=query, timeout=10)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_failed_test_shows_the_verdict(pytester):
    pytester.makepyfile("""
        import requests

        def test_it(qianfan_mock):
            qianfan_mock.fail(500)
            body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "q"}]}
            headers = {"Authorization": f"Bearer {qianfan_mock.credentials.bearer_token}"}
            requests.post(f"{qianfan_mock.url}/v2/chat/completions", json=body, headers=headers, timeout=10)
            assert False
    """)
    result = pytester.runpytest_inprocess("-p", "no:randomly")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*what the mock Qianfan saw*", "verdict: not-retried*", "*account.noticed()*"])


def test_a_verdict_that_failed_the_test_is_shown_once(pytester):
    pytester.makepyfile("""
        import requests

        def test_it(qianfan_mock):
            qianfan_mock.fail(500)
            body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "q"}]}
            headers = {"Authorization": f"Bearer {qianfan_mock.credentials.bearer_token}"}
            requests.post(f"{qianfan_mock.url}/v2/chat/completions", json=body, headers=headers, timeout=10)
            qianfan_mock.verdict().assert_ok()
    """)
    result = pytester.runpytest_inprocess("-p", "no:randomly")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *error not-retried: *", "E *How to relax:", "*what the mock Qianfan saw*"])
    result.stdout.no_fnmatch_line("verdict: *")


def test_a_failed_test_of_a_good_client_shows_none_and_a_verdict_that_fails_is_no_second_error(pytester):
    pytester.makepyfile("""
        def test_good(qianfan_mock, qianfan_client):
            qianfan_mock.fail(500, times=2)
            qianfan_client.chat("q")
            qianfan_mock.verdict().assert_ok()
            assert False

        def test_bad(qianfan_mock, monkeypatch):
            monkeypatch.setattr(type(qianfan_mock), "verdict", lambda self: 1 / 0)
            assert False
    """)
    result = pytester.runpytest_inprocess("-p", "no:randomly")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["verdict: ok*", "no verdict on the client: ZeroDivisionError*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
