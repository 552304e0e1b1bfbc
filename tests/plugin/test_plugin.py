"""Every promise of the pytest plugin, kept and broken."""

from __future__ import annotations

import pytest

import qfkit
import qfkit.client
import qfkit.grading
import qfkit.testing.reporting
import qfkit.testing.strict

PASSES = """
    import os
    import requests

    def test_script(qianfan_mock, qianfan_client):
        qianfan_mock.fail(18, times=2).then.reply("好")
        reply = qianfan_client.chat("你好")
        assert reply.text == "好"
        assert len(reply.attempts) == 3
        assert [entry.error_code for entry in qianfan_mock.requests] == [18, 18, None]
        assert all(entry.signature.ok for entry in qianfan_mock.requests)

    def test_alone(qianfan_mock):
        assert len(qianfan_mock.requests) == 0

    def test_env(qianfan_env, qianfan_mock):
        assert os.environ["QIANFAN_BASE_URL"] == qianfan_mock.url
        assert os.environ["OPENAI_BASE_URL"] == qianfan_mock.url + "/v2"
        assert qianfan_env["OPENAI_API_KEY"] == qianfan_mock.credentials.bearer_token

    def test_env_is_gone():
        assert "QIANFAN_BASE_URL" not in os.environ
"""


def test_the_fixtures_keep_their_promises(pytester: pytest.Pytester):
    pytester.makepyfile(PASSES)
    pytester.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=4)


def test_they_keep_them_with_several_workers(pytester: pytest.Pytester):
    pytester.makepyfile(
        test_fixtures=PASSES,
        test_interception="""
            import pytest
            import requests

            @pytest.mark.parametrize("number", range(4))
            def test_it(qianfan_intercept, number):
                assert requests.get("https://aip.baidubce.com/nothing", timeout=10).status_code == 404
        """,
    )
    pytester.runpytest_subprocess("-n", "2").assert_outcomes(passed=8)


def test_the_marker_chooses_what_the_client_speaks(pytester: pytest.Pytester):
    pytester.makepyfile("""
        import pytest

        @pytest.mark.parametrize("dialect", [
            pytest.param(name, marks=pytest.mark.qianfan(dialect=name)) for name in ("text_generation", "v1", "v2")
        ])
        def test_it(qianfan_client, qianfan_mock, dialect):
            qianfan_client.chat("你好")
            assert qianfan_mock.requests[-1].dialect == dialect
    """)
    pytester.runpytest_inprocess("--strict-markers").assert_outcomes(passed=3)


def test_a_wrong_marker_fails_its_test_and_no_other(pytester: pytest.Pytester):
    pytester.makepyfile("""
        import pytest

        @pytest.mark.qianfan(dialekt="v1")
        def test_argument():
            pass

        @pytest.mark.qianfan(strict="sometimes")
        def test_value(qianfan_client):
            pass

        @pytest.mark.qianfan("v1")
        def test_position(qianfan_client):
            pass

        def test_other(qianfan_client):
            pass
    """)
    result = pytester.runpytest_inprocess("-p", "no:randomly")
    result.assert_outcomes(errors=3, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*test_argument: the qianfan marker knows no 'dialekt'; it is qianfan(dialect='text_generation', *",
            "*test_value: strict of the qianfan marker is one of True, False, script, requests; got 'sometimes'*",
            "*test_position: the qianfan marker knows no 'v1'*",
        ]
    )


FAILING = """
    import pytest
    import requests
    from qfkit import Client, Credentials

    def ask(account, text="?", token=None):
        return requests.post(account.url + "/v2/chat/completions", timeout=5,
            headers={"Authorization": f"Bearer {token or account.credentials.bearer_token}"},
            json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": text}]})

    def test_steps(qianfan_mock):
        qianfan_mock.fail(18, times=2)
        assert ask(qianfan_mock).status_code == 200

    def test_rules(qianfan_mock):
        qianfan_mock.on(contains="天气").reply("晴")
        qianfan_mock.on(contains="你好吗", model="ernie-4.0-8k").reply("好")
        assert ask(qianfan_mock, "你好").status_code == 300

    def test_token(qianfan_mock):
        ask(qianfan_mock)
        ask(qianfan_mock, token="bce-v3/ALTAK-nobody/secret").raise_for_status()

    def test_signature(qianfan_mock):
        keys = Credentials(access_key=qianfan_mock.credentials.access_key, secret_key="of-another-account")
        with Client(base_url=qianfan_mock.url, credentials=keys, dialect="text_generation") as client:
            client.chat("?")

    def test_many(qianfan_mock):
        with requests.Session() as session:
            for _ in range(33):
                session.get(qianfan_mock.url + "/v2/models",
                    headers={"Authorization": f"Bearer {qianfan_mock.credentials.bearer_token}"})
        assert not qianfan_mock.requests

    @pytest.fixture
    def prepared(qianfan_mock):
        qianfan_mock.fail(500)
        ask(qianfan_mock).raise_for_status()

    def test_fixture(prepared):
        pass
"""


def test_a_failed_test_shows_what_the_mock_saw(pytester: pytest.Pytester):
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_inprocess("-p", "no:randomly", "--tb=line")
    result.assert_outcomes(failed=5, errors=1)
    seen = [part.split("\n___")[0].split("\n===")[0] for part in result.stdout.str().split("what the mock Qianfan saw")]
    fixture, steps, rules, token, signature, many = map(pytest.LineMatcher, map(str.splitlines, seen[1:]))
    steps.fnmatch_lines(
        [
            "#1 POST /v2/chat/completions [[]account-1] -> 429 code user_rate_limit_exceeded by fail 18 (1 of 2)",
            "waits still, met once: fail 18 x1",
            "    scripted at test_a_failed_test_shows_what_the_mock_saw.py:11: qianfan_mock.fail(18, times=2)",
            "verdict: not-retried *",
        ]
    )
    rules.fnmatch_lines(
        [
            "#2 POST * -> 200 by default: rule 2 on(contains='你好吗', model='ernie-4.0-8k') missed: contains: *",
            "    rule 1 on(contains='天气') missed: contains: wanted '天气', got '你好'",
        ]
    )
    token.fnmatch_lines(["#3 POST *", "of no account: #4 POST /v2/chat/completions: no account of this server has *"])
    token.no_fnmatch_line("#2 *")
    signature.fnmatch_lines(
        ["#5 POST *401 by authentication", "*Signature refused: it does not match the request (hmac,*"]
    )
    signature.fnmatch_lines(
        ["*TARGET *chat_completions", "*Cause: wrong-secret", "*How to fix: Check that the secret key*"]
    )
    many.fnmatch_lines(["#15 GET *", "... 3 more; qianfan_mock.requests has them all", "#19 GET *", "#38 GET *"])
    fixture.fnmatch_lines(["#39 POST * -> 500 *"])


def test_a_section_that_cannot_be_written_says_so_and_fails_nothing(pytester: pytest.Pytester):
    pytester.makepyfile("""
        def test_it(qianfan_mock, monkeypatch):
            monkeypatch.setattr(type(qianfan_mock), "requests", property(lambda self: 1 / 0))
            assert 1 == 2
    """)
    result = pytester.runpytest_inprocess("--tb=short")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E   assert 1 == 2", "no list of requests: ZeroDivisionError: division by zero"])


def test_a_passed_test_shows_nothing(pytester: pytest.Pytester):
    pytester.makepyfile("def test_it(qianfan_mock): pass")
    result = pytester.runpytest_inprocess("-rA")
    result.stdout.no_fnmatch_line("*what the mock Qianfan saw*")


SETTINGS = """
    import pytest

    def test_run(qianfan_server, qianfan_client):
        settings = qianfan_server.settings
        print(f"<{settings.seed} {settings.auth} {qianfan_client.dialect}>")

    @pytest.mark.qianfan(dialect="v1")
    class TestMarked:
        def test_class(self, qianfan_client):
            print(f"<{qianfan_client.dialect}>")

        @pytest.mark.qianfan(dialect="v2")
        def test_closest(self, qianfan_client):
            print(f"<{qianfan_client.dialect}>")
"""


@pytest.mark.parametrize(
    ("ini", "line", "found"),
    [
        ("", [], "0 strict text_generation"),
        ("qianfan_seed = 4\nqianfan_dialect = v1\nqianfan_config = mock.yaml", [], "4 warn v1"),
        ("qianfan_seed = 4\nqianfan_dialect = v1", ["--qianfan-seed=5", "--qianfan-dialect=v2"], "5 strict v2"),
        ("", ["--qianfan-config=mock.yaml"], "0 warn text_generation"),
    ],
)
def test_marker_before_command_line_before_ini_before_default(pytester: pytest.Pytester, ini, line, found):
    pytester.makepyfile(SETTINGS)
    pytester.makeini(f"[pytest]\n{ini}\n")
    pytester.makefile(".yaml", mock="auth: warn\n")
    result = pytester.runpytest_inprocess("-s", "-p", "no:randomly", *line)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([f"*<{found}>*", "*<v1>*", "*<v2>*"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--qianfan-seed=many", "--qianfan-seed (ini: qianfan_seed) is a whole number; got 'many'"),
        (
            "--qianfan-dialect=v3",
            "--qianfan-dialect (ini: qianfan_dialect) is one of text_generation, v1, v2; got 'v3'",
        ),
    ],
)
def test_a_wrong_option_stops_the_run_at_once(pytester: pytest.Pytester, line, told):
    pytester.makepyfile(SETTINGS)
    result = pytester.runpytest_inprocess(line)
    result.stderr.fnmatch_lines([f"ERROR: {told}"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_header_says_version_mode_and_seed(pytester: pytest.Pytester):
    pytester.makeini("[pytest]\nqianfan_strict = false\n")
    header = pytester.runpytest_inprocess("--qianfan-seed=7").stdout
    header.fnmatch_lines([f"qianfan: qfkit {qfkit.__version__}, mock, not strict, seed 7"])
    header = pytester.runpytest_inprocess("--qianfan-strict").stdout
    header.fnmatch_lines([f"qianfan: qfkit {qfkit.__version__}, mock, strict, seed 0"])


def test_fixtures_options_and_marker_explain_themselves(pytester: pytest.Pytester):
    fixtures = pytester.runpytest_inprocess("--fixtures").stdout.str()
    for name in ("server", "mock", "env", "client", "clock", "intercept", "guard"):
        _, found, text = fixtures.partition(f"qianfan_{name}")
        assert found
        assert "no docstring available" not in text.partition("\n\n")[0]
    signature = "dialect='text_generation', guard=False, strict=True, allow=(), keys={}, hosts=(), mock_only=False"
    pytester.runpytest_inprocess("--markers").stdout.fnmatch_lines([f"@pytest.mark.qianfan({signature}): *"])
    options = pytester.runpytest_inprocess("--help").stdout
    options.fnmatch_lines(
        [
            "qfkit: mock Qianfan (a test's marker goes before the command line, that before the ini *",
            "*--qianfan-seed=N *",
            "*--qianfan-no-guard*",
            "*--qianfan-no-strict*",
            "*qianfan_strict (bool):*",
        ]
    )
