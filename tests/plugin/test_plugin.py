"""Every promise of the pytest plugin, kept and broken."""

from __future__ import annotations

import pytest

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
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=4)


def test_they_keep_them_with_several_workers(pytester: pytest.Pytester):
    pytester.makepyfile(PASSES)
    pytester.runpytest_subprocess("-n", "2").assert_outcomes(passed=4)


@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
def test_the_marker_chooses_what_the_client_speaks(pytester: pytest.Pytester, dialect):
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.qianfan(dialect="{dialect}")
        def test_it(qianfan_client, qianfan_mock):
            qianfan_client.chat("你好")
            assert qianfan_mock.requests[-1].dialect == "{dialect}"
    """)
    pytester.runpytest_subprocess("--strict-markers").assert_outcomes(passed=1)


def test_a_wrong_marker_is_told(pytester: pytest.Pytester):
    pytester.makepyfile("""
        import pytest

        @pytest.mark.qianfan(dialekt="v1")
        def test_it(qianfan_client):
            pass
    """)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the qianfan marker knows no 'dialekt'*"])


def test_a_failed_test_shows_what_the_mock_saw(pytester: pytest.Pytester):
    pytester.makepyfile("""
        import requests

        def test_it(qianfan_mock):
            qianfan_mock.fail(18, times=2)
            answer = requests.post(qianfan_mock.url + "/v2/chat/completions",
                headers={"Authorization": f"Bearer {qianfan_mock.credentials.bearer_token}"},
                json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]})
            assert answer.status_code == 200
    """)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*what the mock Qianfan saw*", "*POST /v2/chat/completions*429*fail 18 (1 of 2)*", "*not met*fail 18 x1*"]
    )


def test_a_passed_test_shows_nothing(pytester: pytest.Pytester):
    pytester.makepyfile("def test_it(qianfan_mock): pass")
    result = pytester.runpytest_subprocess("-rA")
    result.stdout.no_fnmatch_line("*what the mock Qianfan saw*")


SEED = """
    import requests

    def test_it(qianfan_mock, qianfan_server):
        print("seed is", qianfan_server.settings.seed, qianfan_server.settings.auth)
"""


def test_the_command_line_wins_over_the_ini_file(pytester: pytest.Pytester):
    pytester.makepyfile(SEED)
    pytester.makeini("[pytest]\nqianfan_seed = 4\n")
    pytester.runpytest_subprocess("-s").stdout.fnmatch_lines(["*seed is 4 strict*"])
    pytester.runpytest_subprocess("-s", "--qianfan-seed=5").stdout.fnmatch_lines(["*seed is 5 strict*"])


def test_the_session_server_reads_its_configuration(pytester: pytest.Pytester):
    pytester.makepyfile(SEED)
    pytester.makefile(".yaml", mock="auth: warn\n")
    pytester.runpytest_subprocess("-s", "--qianfan-config=mock.yaml").stdout.fnmatch_lines(["*seed is 0 warn*"])


def test_a_wrong_option_is_told(pytester: pytest.Pytester):
    pytester.makepyfile(SEED)
    result = pytester.runpytest_subprocess("--qianfan-seed=many")
    result.stderr.fnmatch_lines(["ERROR: --qianfan-seed (ini: qianfan_seed) is a whole number; got 'many'"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_fixtures_and_marker_explain_themselves(pytester: pytest.Pytester):
    fixtures = pytester.runpytest_subprocess("--fixtures").stdout.str()
    for name in (
        "qianfan_server",
        "qianfan_mock",
        "qianfan_env",
        "qianfan_client",
        "qianfan_intercept",
        "qianfan_guard",
    ):
        assert name in fixtures
    assert "no docstring available" not in fixtures.partition("qianfan_server")[2].partition("\n\n")[0]
    pytester.runpytest_subprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.qianfan(dialect=*"])
