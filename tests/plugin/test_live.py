"""--qianfan-live: the same tests against the real service, for which a second mock stands here, within a budget."""

from __future__ import annotations

import re

import pytest

from mock_server import MockServer
from qfkit.protocol.tokens import estimate
from qfkit.testing.network import NETWORK


@pytest.fixture
def service():
    """What stands for the real service."""
    with MockServer(seed=3) as server:
        yield server


@pytest.fixture
def account(service, monkeypatch):
    """The developer's account, whose keys are in the environment."""
    account = service.account()
    for name, value in account.credentials.environment().items():
        monkeypatch.setenv(name, value)
    return account


@pytest.fixture
def live(pytester, service, account):
    def run(*options, alone=False):
        how = pytester.runpytest_subprocess if alone else pytester.runpytest_inprocess
        return how("--qianfan-live", f"--qianfan-live-gateway={service.url}", "-p", "no:randomly", "-rs", *options)

    yield run
    assert NETWORK.router is None


CLIENTS = """
    import os
    import pytest
    import requests

    def test_reference_client(qianfan_client):
        assert qianfan_client.base_url == "https://aip.baidubce.com"
        assert qianfan_client.chat("你好").text
        assert "".join(chunk.text for chunk in qianfan_client.stream("你好"))

    def test_openai(qianfan_env):
        import openai

        assert os.environ["OPENAI_BASE_URL"] == "https://qianfan.baidubce.com/v2"
        question = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]}
        with openai.OpenAI() as client:
            assert client.chat.completions.create(**question).choices[0].message.content
            with client.chat.completions.create(**question, stream=True) as chunks:
                assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def test_official_sdk(qianfan_env, monkeypatch):
        for name in ("QIANFAN_AK", "QIANFAN_SK", "QIANFAN_BEARER_TOKEN"):
            monkeypatch.delenv(name)
        import qianfan

        answer = qianfan.ChatCompletion().do(model="ERNIE-4.0-8K", messages=[{"role": "user", "content": "?"}])
        assert answer["result"]

    @pytest.mark.qianfan(keys={"bearer_token": "bce-v3/ALTAK-in-the-code/1"})
    def test_hard_coded(qianfan_intercept):
        answer = requests.get("https://qianfan.baidubce.com/v2/models", headers={"Authorization": "Bearer it-is-mine"})
        assert answer.status_code == 401
        assert requests.get("http://aip.baidubce.com/oauth/2.0/token").json()["error"]
"""


def test_clients_reach_the_service_and_are_counted(pytester: pytest.Pytester, live, account, service):
    pytester.makepyfile(CLIENTS)
    result = live("--qianfan-guard", alone=True)  # the SDK keeps its keys with the process
    result.assert_outcomes(passed=4)
    sdk = [entry for entry in account.requests if entry.scheme == "bce-auth-v1"]
    assert sdk
    assert {entry.header("host") for entry in sdk} == {"aip.baidubce.com", "qianfan.baidubce.com"}
    assert all(entry.signature.ok for entry in sdk), "what is signed over the real host's name arrives as it was signed"
    total = len(service.requests)
    costs = [re.findall(r'"total_tokens":(\d+)', entry.response.text) for entry in account.requests]
    told = sum(max(map(int, cost)) for cost in costs if cost)
    result.stdout.fnmatch_lines(
        [
            f"qianfan: qfkit *, live within 20 requests and 20000 tokens, sent to {service.url}",
            "*= qianfan live =*",
            f"sent {total} of 20 requests, used * tokens*",
            "  1 x GET aip.baidubce.com/oauth/2.0/token",
            "  1 x POST aip.baidubce.com/rpc/2.0/ai_custom/v1/text_generation/chat_completions",
            "  2 x POST qianfan.baidubce.com/v2/chat/completions",
        ]
    )
    [(used, estimated)] = re.findall(r"used (\d+) of 20000 tokens \((\d+) of them estimated\)", result.stdout.str())
    assert int(used) - int(estimated) == told > 0
    streams = [
        entry.response.text for entry in account.requests if entry.stream and "total_tokens" not in entry.response.text
    ]
    streamed = "".join(text for stream in streams for text in re.findall(r'"content":"(.*?)"', stream))
    assert abs(int(estimated) - estimate(streamed)) < 10, "the questions are short"


SKIPPED = """
    import threading
    import pytest

    def test_script(qianfan_mock, qianfan_client):
        qianfan_mock.fail(18, times=2).then.reply("好")
        assert qianfan_client.chat("?").text == "好"

    def test_in_a_thread(qianfan_mock):
        thread = threading.Thread(target=lambda: qianfan_mock.reply("好"))
        thread.start()
        thread.join()

    def test_strict(qianfan_mock):
        qianfan_mock.strict = True

    def test_journal(qianfan_intercept):
        assert not qianfan_intercept.requests

    def test_time(qianfan_client, qianfan_clock):
        qianfan_client.chat("?")

    def test_server(qianfan_server):
        qianfan_server.account()

    @pytest.mark.qianfan(mock_only=True)
    def test_marked(qianfan_client):
        qianfan_client.chat("?")

    @pytest.mark.qianfan(hosts=["gateway.example.com"])
    def test_hosts(qianfan_intercept):
        pass

    def test_without_us():
        pass
"""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_tests_that_want_the_mock_are_skipped_with_the_reason(pytester: pytest.Pytester, live, service):
    pytester.makepyfile(SKIPPED)
    result = live("-W", "ignore::pytest.PytestUnhandledThreadExceptionWarning")
    result.assert_outcomes(skipped=8, passed=1)
    out = result.stdout
    why = "is the mock's; the real service plays no script, keeps no journal for you and has no single URL"
    out.fnmatch_lines(
        [
            f"SKIPPED *test_tests_that_want*.py:5: --qianfan-live: qianfan_mock.fail {why}",
            f"SKIPPED *: --qianfan-live: qianfan_mock.reply {why}",
            f"SKIPPED *: --qianfan-live: qianfan_mock.strict {why}",
            f"SKIPPED *: --qianfan-live: qianfan_intercept.requests {why}",
            "SKIPPED *: --qianfan-live: qianfan_clock: the real service does not run on virtual time",
            "SKIPPED *: --qianfan-live: qianfan_server.account is the mock's; there is no mock to ask",
            "SKIPPED *: --qianfan-live: the test is marked mock_only",
            "SKIPPED *: --qianfan-live: gateway.example.com: only hosts of Qianfan are sent to",
        ]
    )
    assert not service.requests


SPENDING = """
    import pytest

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_it(qianfan_client, number):
        qianfan_client.chat("?")
        qianfan_client.chat("?")

    def test_without_us():
        pass
"""


@pytest.mark.parametrize("limit", [{"requests": 3}, {"tokens": 1}])
def test_nothing_is_sent_beyond_the_budget(pytester: pytest.Pytester, live, service, limit):
    [(what, number)] = limit.items()
    pytester.makepyfile(SPENDING)
    result = live(f"--qianfan-live-max-{what}={number}", "-rsf")
    sent = len(service.requests)
    assert sent == number
    result.assert_outcomes(passed=1 + sent // 2, failed=1, skipped=2 - sent // 2)
    told = f"* of {number} {what} are *; let more through with --qianfan-live-max-{what}"
    result.stdout.fnmatch_lines(
        [
            f"--qianfan-live: the live budget is spent: {told}",
            "  the test ended with BadRequestError: *",
            "*what was sent to the real service*",
            "POST aip.baidubce.com/rpc/*chat_completions -> 200, * tokens, * s",
            "POST aip.baidubce.com/rpc/*chat_completions not sent: the budget is spent",
            "not sent, for the budget was spent: 1",
            f"SKIPPED *: --qianfan-live: the live budget is spent: {told}",
        ]
    )
    assert "what the mock Qianfan saw" not in result.stdout.str()


def test_workers_divide_the_budget(pytester: pytest.Pytester, service, account):
    pytester.makepyfile(SPENDING)
    result = pytester.runpytest_subprocess(
        "--qianfan-live", f"--qianfan-live-gateway={service.url}", "-n", "2", "--qianfan-live-max-requests=3"
    )
    assert len(service.requests) <= 3
    result.stdout.fnmatch_lines([f"sent {len(service.requests)} of 3 requests, *"])


def test_without_the_flag_nothing_is_sent(pytester: pytest.Pytester, service, account):
    pytester.makepyfile(SPENDING)
    pytester.makeini("[pytest]\nqianfan_live_max_requests = 3\n")
    pytester.runpytest_inprocess(f"--qianfan-live-gateway={service.url}").assert_outcomes(passed=4)
    assert not service.requests


def test_without_keys_nothing_runs(pytester: pytest.Pytester):
    pytester.makepyfile(SPENDING)
    result = pytester.runpytest_inprocess("--qianfan-live")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --qianfan-live needs keys of the real service: no complete set of keys; set QIANFAN_ACCESS_KEY and *"]
    )


def test_keys_for_another_dialect_skip_the_test(pytester: pytest.Pytester, live, service, monkeypatch):
    for name in ("QIANFAN_ACCESS_KEY", "QIANFAN_SECRET_KEY"):
        monkeypatch.delenv(name)
    pytester.makepyfile(SPENDING)
    result = live()
    result.assert_outcomes(skipped=3, passed=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED *QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY*(or choose another with --qianfan-dialect)"]
    )
    live("--qianfan-dialect=v2").assert_outcomes(passed=4)
    assert {entry.dialect for entry in service.requests} == {"v2"}


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (
            "--qianfan-live-max-requests=0",
            "--qianfan-live-max-requests (ini: qianfan_live_max_requests) is a whole number from 1",
        ),
        (
            "--qianfan-live-gateway=localhost",
            "--qianfan-live-gateway is a URL such as https://*",
        ),
    ],
)
def test_wrong_options_are_told(pytester: pytest.Pytester, option, told):
    result = pytester.runpytest_inprocess(option)
    result.stderr.fnmatch_lines([f"ERROR: {told}*"])
