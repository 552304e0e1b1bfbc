"""What is said about a configuration that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_mistakes import MISTAKES, Mistake

from mock_server.settings import ConfigError, load


def refused(tmp_path: Path, text: str) -> ConfigError:
    file = tmp_path / "mock.yaml"
    file.write_bytes(text.encode())
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    return caught.value


def test_there_are_more_than_a_hundred() -> None:
    assert len(MISTAKES) >= 100
    assert len({mistake.text for mistake in MISTAKES}) == len(MISTAKES)


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.text.strip().replace("\n", "/") for mistake in MISTAKES])
def test_a_mistake_is_one_line_with_its_place_what_is_wrong_and_what_would_be_right(
    tmp_path: Path, mistake: Mistake
) -> None:
    error = refused(tmp_path, mistake.text)
    said = str(error)
    assert said.splitlines() == [said]
    assert said.startswith(f"{tmp_path / 'mock.yaml'}:{mistake.place}: ")
    rest = said
    for part in mistake.told:
        assert part in said
    assert "  " not in rest
    (problem,) = error.problems
    assert f"{problem.line}:{problem.column}" == mistake.place
    assert problem.to_dict()["message"] == problem.message


def test_all_mistakes_of_a_file_are_told_in_its_order(tmp_path: Path) -> None:
    text = "\n".join(
        [
            "accounts:",
            "  - acess_key: K",
            "    script: [{fail: 18, tmes: 2, x: 1}, {replay: x}, {reply: x, ttft: -1, bogus: 3}]",
            "    quota: {rpm: -1}",
            "seeed: 3",
            "auth: of",
        ]
    )
    told = refused(tmp_path, text).problems
    assert [problem.line for problem in told] == [2, 3, 3, 3, 3, 3, 4, 5, 6]
    assert [".".join(map(str, problem.path)) for problem in told[1:3]] == [
        "accounts.0.script.0.tmes",
        "accounts.0.script.0.x",
    ]


def test_a_file_that_is_not_text_is_told_with_the_line_of_its_first_wrong_byte(tmp_path: Path) -> None:
    file = tmp_path / "mock.yaml"
    file.write_bytes(b"seed: 1\nauth: \xff\n")
    with pytest.raises(ConfigError, match=r"mock.yaml:2:7: cannot be read: not UTF-8 \(byte 0xff\)"):
        load(file)


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    assert "nested too deeply" in str(refused(tmp_path, "seed: " + "[" * 5000))


def test_what_came_from_the_environment_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "mock.yaml"
    file.write_text("auth: ${SECRET}\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, environ={"SECRET": "hush-hush"})
    assert "hush" not in str(caught.value)
    assert "got '${SECRET}'" in str(caught.value)


def test_a_secret_that_is_wrong_is_not_shown(tmp_path: Path) -> None:
    for text in (
        "admin_token: [hush]\n",
        "admin_token: 4711\n",
        "admin_token: 'hush\n",
        "accounts: [{sk: {a: hush}}]\n",
    ):
        said = str(refused(tmp_path, text))
        assert "hush" not in said
        assert "4711" not in said
