"""What is asked: by weight, language and length, from files, or made to a length; the same seed asks the same."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.planning.plan import Traffic
from loadtests.planning.prompts import LANGUAGES, LENGTHS, built_in, prompts_of
from loadtests.planning.spelling import PlanError
from qfkit.protocol.tokens import estimate


def drawn(count: int = 1, seed: int = 0, **traffic):
    prompts, random = prompts_of(Traffic(host="", **traffic)), Random(seed)
    return [prompts.draw(random) for _ in range(count)]


class TestBuiltIn:
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_each_length_is_longer_than_the_last_and_fits_the_smallest_service(self, language):
        sizes = [[len(text) for text in built_in(language, length)] for length in LENGTHS]
        assert max(sizes[0]) < min(sizes[1])
        assert max(sizes[1]) < min(sizes[2])
        assert max(sizes[2]) < 4096  # characters of a prompt of text_generation

    @pytest.mark.parametrize("length", LENGTHS)
    def test_both_languages_are_asked_alike(self, length):
        found = Counter(prompt.name for prompt in drawn(1000, lengths=length))
        assert set(found) == {f"zh-{length}", f"en-{length}"}
        assert all(350 < count < 650 for count in found.values())

    def test_one_language(self):
        assert {prompt.name for prompt in drawn(50, language="zh")} == {"zh-short"}

    def test_lengths_by_weight(self):
        found = Counter(prompt.name for prompt in drawn(4000, language="en", lengths="short=3,long=1"))
        assert found["en-short"] / found["en-long"] == pytest.approx(3, rel=0.2)

    def test_the_same_seed_asks_the_same(self):
        assert drawn(20, seed=7) == drawn(20, seed=7) != drawn(20, seed=8)


class TestMade:
    @settings(max_examples=25)
    @given(st.integers(1, 2000), st.sampled_from(["zh", "en", "both"]), st.integers())
    def test_a_prompt_has_about_as_many_tokens_as_were_asked_for(self, tokens, language, seed):
        (prompt,) = drawn(seed=seed, prompt_tokens=str(tokens), language=language)
        assert estimate(prompt.text) == pytest.approx(tokens, abs=2 + 0.02 * tokens)

    def test_a_range_is_used_to_both_ends(self):
        sizes = [estimate(prompt.text) for prompt in drawn(200, prompt_tokens="20-60")]
        assert 18 <= min(sizes) < 26
        assert 54 < max(sizes) <= 63

    def test_no_two_are_the_same(self):
        assert len({prompt.text for prompt in drawn(200, prompt_tokens="50")}) == 200

    @pytest.mark.parametrize("text", ["", "0", "x", "5-2", "-3", "1-2-3"])
    def test_what_is_no_number_of_tokens(self, text):
        with pytest.raises(PlanError, match="--prompt-tokens"):
            drawn(prompt_tokens=text)


class TestFiles:
    def test_one_a_line(self, tmp_path):
        file = tmp_path / "prompts.txt"
        file.write_bytes("\ufeff你好\r\n\r\n  Hello  \n".encode())
        assert {prompt.text for prompt in drawn(50, prompts=str(file))} == {"你好", "Hello"}
        assert drawn(prompts=str(file))[0].name == "prompts.txt"

    def test_json_lines(self, tmp_path):
        file = tmp_path / "prompts.jsonl"
        lines = ["two\nlines", {"prompt": "named", "name": "set A", "other": 1}]
        file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
        assert {tuple(prompt) for prompt in drawn(50, prompts=str(file))} == {
            ("two\nlines", "prompts.jsonl"),
            ("named", "set A"),
        }

    @pytest.mark.parametrize("line", ["plain text", "5", "{}", '{"prompt": ""}', '" "'])
    def test_a_bad_line_is_named(self, tmp_path, line):
        file = tmp_path / "prompts.jsonl"
        file.write_text(f'"good"\n\n{line}\n', "utf-8")
        with pytest.raises(PlanError, match=r"prompts\.jsonl, line 3"):
            drawn(prompts=str(file))

    @pytest.mark.parametrize(
        ("name", "words"), [("missing", "cannot be read"), ("empty", "one a line"), ("gbk", "not UTF-8"), (".", "read")]
    )
    def test_prompts_that_cannot_be_had_say_why(self, tmp_path, name, words):
        (tmp_path / "empty").write_text("\n \n")
        (tmp_path / "gbk").write_bytes("你好".encode("gbk"))
        with pytest.raises(PlanError, match=words):
            drawn(prompts=str(tmp_path / name))


def test_prompts_come_from_one_place():
    assert drawn(prompt="一") == [("一", "--prompt")]
    with pytest.raises(PlanError, match="--prompt is empty"):
        drawn(prompt=" ")
    with pytest.raises(PlanError, match="--prompt and --prompt-tokens exclude each other"):
        drawn(prompt="x", prompt_tokens="5")
    with pytest.raises(PlanError, match="--prompt and --lengths exclude each other"):
        drawn(prompt="x", lengths="long")
