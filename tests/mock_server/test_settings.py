from __future__ import annotations

import pytest

from mock_server.settings import ConfigError, Settings, build, load


def write(tmp_path, text):
    file = tmp_path / "mock.yaml"
    file.write_text(text, "utf-8")
    return file


def test_an_empty_file_is_all_defaults(tmp_path):
    assert load(write(tmp_path, "")) == Settings()


def test_keywords_win_over_the_file(tmp_path):
    settings = load(write(tmp_path, "seed: 3\nauth: warn\n"), seed=4)
    assert (settings.seed, settings.auth) == (4, "warn")


def test_accounts_and_scripts_are_read(tmp_path):
    text = "accounts:\n  - access_key: K\n    script:\n      - {fail: 18, times: 2}\n      - reply: 好\n"
    (account,) = load(write(tmp_path, text)).accounts
    assert account.access_key == "K"
    assert account.script == [{"fail": 18, "times": 2}, {"reply": "好"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seeed: 3\n", ("mock.yaml:1:", "'seeed' is not a setting", "did you mean 'seed'?")),
        ("seed: 1\nauth: strickt\n", ("mock.yaml:2:", "strickt")),
        ("seed: 1\n\nskew: -5\n", ("mock.yaml:3:", "> 0")),
        ("ttft: soon\n", ("mock.yaml:1:", "Expected `float`")),
        ("accounts:\n  - name: a\n    acess_key: K\n", ("mock.yaml:3:", "did you mean 'access_key'?")),
        ("accounts:\n  - script:\n      - fail: 18\n        tmes: 2\n", ("mock.yaml:4:", "did you mean 'times'?")),
        ("accounts:\n  - script:\n      - replay: x\n", ("mock.yaml:3:", "exactly one of `reply`, `fail`, `stream`")),
        ("accounts:\n  - script:\n      - stream: abc\n", ("mock.yaml:3:", "Expected `array`")),
        ("- a\n- b\n", ("mock.yaml:1:", "a mapping of settings")),
        ("a: [\n", ("mock.yaml", "not YAML")),
    ],
)
def test_a_mistake_names_file_line_key_and_what_would_be_right(tmp_path, text, told):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    for part in told:
        assert part in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "nowhere.yaml")


def test_keyword_mistakes_are_told_the_same_way():
    with pytest.raises(ConfigError, match="settings: 'atuh' is not a setting; did you mean 'auth'"):
        build({"atuh": "off"})
