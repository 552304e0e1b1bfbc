from __future__ import annotations

from pathlib import Path

import pytest

from mock_server.settings import ConfigError, Settings, build, load
from qfkit.protocol.signing import HmacForm


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mock.yaml"
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "{}\n"])
def test_an_empty_file_is_all_defaults(tmp_path, text):
    assert load(write(tmp_path, text)) == Settings()


def test_what_is_documented_is_the_default():
    assert Settings().quota == "documented"
    assert Settings().unmatched == "answer"


def test_keywords_win_over_the_file(tmp_path):
    settings = load(write(tmp_path, "seed: 3\nauth: warn\n"), seed=4)
    assert (settings.seed, settings.auth) == (4, "warn")


def test_accounts_and_scripts_are_read(tmp_path):
    text = "accounts:\n  - access_key: K\n    script:\n      - {fail: 18, times: 2}\n      - reply: 好\n"
    (account,) = load(write(tmp_path, text)).accounts
    assert account.access_key == "K"
    assert account.script == [{"fail": 18, "times": 2}, {"reply": "好"}]


def test_it_is_yaml_1_2(tmp_path):
    rule = "{contains: 12:30, json: {a: 012, b: 1e3, c: 0x10}}"
    text = f"auth: off\naccounts:\n  - name: yes\n    rules:\n      - on: {rule}\n"
    settings = load(write(tmp_path, text))
    (account,) = settings.accounts
    assert (settings.auth, account.name) == ("off", "yes")
    assert account.rules == [{"on": {"contains": "12:30", "json": {"a": 12, "b": 1000.0, "c": 16}}}]


def test_anchors_and_merges_are_followed(tmp_path):
    text = "accounts:\n  - &first {name: a, quota: {qps: 3}, script: [{fail: 18}]}\n  - {<<: *first, name: b}\n"
    first, second = load(write(tmp_path, text)).accounts
    assert (second.name, second.quota, second.script) == ("b", first.quota, first.script)


def test_a_mistake_in_what_is_merged_is_told_where_it_is_written(tmp_path):
    text = "accounts:\n  - &first {name: a, seeed: 3}\n  - <<: *first\n    name: b\n"
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert [problem.line for problem in caught.value.problems] == [2, 2]


@pytest.mark.parametrize(
    ("text", "environ", "wanted"),
    [
        ("${KEY}", {"KEY": "hush"}, "hush"),
        ("'${KEY}'", {"KEY": "0123"}, "0123"),
        ("${KEY}", {"KEY": "0123"}, "0123"),
        ("a-${KEY}-${KEY}", {"KEY": "b"}, "a-b-b"),
        ("${KEY:-other}", {}, "other"),
        ("${KEY:-other}", {"KEY": ""}, "other"),
        ("${KEY:-other}", {"KEY": "hush"}, "hush"),
        ("$${KEY}", {"KEY": "hush"}, "${KEY}"),
        ("$KEY ${} ${1}", {}, "$KEY ${} ${1}"),
    ],
)
def test_placeholders_are_filled_from_the_environment(tmp_path, text, environ, wanted):
    (account,) = load(write(tmp_path, f"accounts:\n  - secret_key: {text}\n"), environ=environ).accounts
    assert account.secret_key == wanted


def test_the_environment_is_that_of_the_process(tmp_path, monkeypatch):
    monkeypatch.setenv("QFKIT_TEST_TOKEN", "hush-hush")
    assert load(write(tmp_path, "admin_token: ${QFKIT_TEST_TOKEN}\n")).admin_token == "hush-hush"


def test_no_secret_is_in_the_repr(tmp_path):
    keys = {"access_key": "hush-access", "secret_key": "hush-secret", "ak": "hush-ak", "sk": "hush-sk"}
    settings = build({"admin_token": "hush-token", "accounts": [{**keys, "previous": {"bearer_token": "hush-old"}}]})
    assert "hush-" not in repr(settings)
    assert "accounts=[AccountConfig(" in repr(settings)


def test_limits_become_those_of_the_mock():
    (account,) = build({"accounts": [{"quota": {"rpm": 3, "models": {"ernie-4.0-8k": {"qps": 1}}}}]}).accounts
    assert account.quota.limits().to_dict() == {"rpm": 3, "window": "fixed"}
    assert account.quota.models["ernie-4.0-8k"].limits().qps == 1


def test_forms_are_those_of_the_protocol():
    assert build({"forms": ["A/url"]}).forms == (HmacForm.A_URL,)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load(tmp_path / "nowhere.yaml")


def test_keyword_mistakes_are_told_the_same_way(tmp_path):
    with pytest.raises(ConfigError, match=r"settings: 'atuh' is not a setting \(at atuh\); did you mean 'auth'"):
        build({"atuh": "off"})
    with pytest.raises(ConfigError, match=r"^settings: ttft is a number from 0 to 3600; got -1"):
        load(write(tmp_path, "seed: 1\n"), ttft=-1)
