"""Output rules on their own: whatever the pieces, the outcome is that of the whole. Truth: naive search, re."""

from __future__ import annotations

import random
import re
import string
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qfkit.client import ConfigurationError, ServiceFlags, Topic, Topics, UnsafeContent, WordList
from qfkit.client.safety.findings import Ledger, Place
from qfkit.client.safety.masking import Restorer, Vault
from qfkit.client.safety.screens import LONGEST_SENTENCE, Chain, function_screen
from qfkit.client.safety.words import fold

LETTERS = "abcＡé敏感词。 .!\n"
words = st.lists(st.text("abcＡé敏感词", min_size=1, max_size=5), min_size=1, max_size=8)
texts = st.text(LETTERS + "ﬁⓋ\u0301", max_size=40)
cuts = st.lists(st.integers(0, 40), max_size=12)


def pieces_of(text, cuts):
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    return [text[a:b] for a, b in pairwise(places)]


def run(rule, pieces):
    """What is said, what was found, what was refused."""
    ledger = Ledger()
    chain = Chain([rule.screen(Place("text", "", ledger))], "text")
    try:
        said = "".join([*(chain.feed(piece) for piece in pieces), chain.finish()])
    except UnsafeContent as error:
        return error.text, ledger.findings(), (error.kind, error.found, error.position)
    assert said == chain.said
    return said, ledger.findings(), None


def naive_mask(words, text):
    """Quadratic, and plain: every place where a word stands is covered, with one mask for each cluster."""
    spans = [(at, at + len(word)) for at in range(len(text)) for word in words if word and text[at:].startswith(word)]
    out = []
    for at, character in enumerate(text):
        if not any(a <= at < b for a, b in spans):
            out.append(character)
        elif not any(a <= at - 1 and at < b for a, b in spans):
            out.append("***")
    return "".join(out)


@given(words, texts, cuts)
@example(["ab", "bc"], "abcab", [2])
@example(["abcd", "bc"], "abcc", [2, 3])
def test_masking_is_what_a_naive_search_finds_however_it_is_cut(words, text, cuts):
    rule = WordList(words, action="mask", fold=False)
    expected = naive_mask(words, text)
    whole = run(rule, [text])
    assert whole[0] == expected
    assert run(rule, pieces_of(text, cuts)) == whole
    assert run(rule, list(text)) == whole


@given(words, texts, cuts, st.sampled_from(["raise", "mask", "drop"]), st.sampled_from(["", " .", "。c"]))
def test_with_folding_too_the_pieces_make_no_difference(words, text, cuts, action, ignore):
    try:
        rule = WordList(words, action=action, ignore=ignore)
    except ConfigurationError:
        return  # of a word nothing is left but what is ignored
    whole = run(rule, [text])
    assert run(rule, pieces_of(text, cuts)) == whole
    assert run(rule, list(text)) == whole
    if action == "drop":
        assert not any(fold(word) in fold(sentence) for word in words for sentence in whole[0].split("。")) or ignore


@given(words, texts)
def test_raising_leaves_what_stands_before_the_first_word_that_ends(words, text):
    said, _, refused = run(WordList(words, fold=False), [text])
    ends = sorted((at + len(word), at) for word in words for at in range(len(text)) if text.startswith(word, at))
    assert bool(refused) == bool(ends)
    assert said == (text[: ends[0][1]] if ends else text)


@given(words, texts)
def test_nothing_is_held_back_that_cannot_become_a_word(words, text):
    rule = WordList(words, action="mask", fold=False)
    chain = Chain([rule.screen(Place("text", "", Ledger()))], "text")
    for at, character in enumerate(text, 1):
        chain.feed(character)
        so_far = text[:at]
        must = next(
            (
                n
                for n in range(len(so_far), 0, -1)
                if any(len(word) > n and word.startswith(so_far[-n:]) for word in words)
            ),
            0,
        )
        assert must <= rule.longest - 1
        # Everything before that is out: what is said is the masked text, up to there.
        assert chain.said == _masked_up_to(words, so_far, at - must)


def _masked_up_to(words, text, end):
    spans = [(at, at + len(word)) for at in range(len(text)) for word in words if text.startswith(word, at)]
    out = []
    for at in range(end):
        if not any(a <= at < b for a, b in spans):
            out.append(text[at])
        elif not any(a <= at - 1 and at < b for a, b in spans):
            out.append("***")
    return "".join(out)


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        (["vpn"], "用 ＶＰＮ 和 ⓋⓅⓃ 和 VpN", "用 *** 和 *** 和 ***"),
        (["café"], "CAFE\u0301 café", "*** ***"),
        (["ＫＧ"], "10㎏", "10***"),
        (["straße"], "STRASSE", "***"),
        (["가"], "각 가", "각 ***"),
    ],
)
def test_folding(words, text, said):
    assert run(WordList(words, action="mask"), [text])[0] == said
    assert run(WordList(words, action="mask"), list(text))[0] == said
    assert run(WordList(words, action="mask", fold=False), [text])[0] != said or words == ["가"]


def test_letters_that_are_pulled_apart():
    rule = WordList(["敏感词"], action="mask", ignore=" *-")
    assert run(rule, ["敏 感", "--", "*词! 敏 感"])[0] == "***! 敏 感"


def test_a_list_of_any_size_is_one_pass(tmp_path):
    draw = random.Random(5)
    listed = sorted({"".join(draw.choices(string.ascii_lowercase, k=draw.randint(6, 12))) for _ in range(50_000)})
    path = tmp_path / "words.txt"
    path.write_text("# a remark\n\n" + "\n".join(listed), encoding="utf-8")
    rule = WordList(path, action="mask")
    assert len(rule) == len(listed)
    assert repr(rule) == f"WordList(action='mask', fold=True, ignore='', name='WordList', longest={rule.longest})"
    text = "".join(draw.choices("XYZ ", k=2000)).join(listed[:20])
    found = run(rule, [text])[1]
    assert found[0].count >= 20


def test_what_is_wrong_with_a_list(tmp_path):
    for words, message in [
        ("word", "takes a list of words or a Path"),
        ([], "no word in it"),
        ([" "], None),
        ([3], "one is int"),
        (tmp_path / "none", "cannot read"),
    ]:
        if message is None:
            assert WordList(words)
            continue
        with pytest.raises(ConfigurationError, match=message):
            WordList(words)
    with pytest.raises(ConfigurationError, match="raise, mask, drop"):
        WordList(["x"], action="ignore")


# Topics

WEAPONS = Topic("weapons", all_of=["炸药"], any_of=["制作", "配方"], none_of=["新闻"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("先说别的。炸药的配方是这样!再见", "先说别的。再见"),
        ("炸药很危险。怎么制作蛋糕?", "炸药很危险。怎么制作蛋糕?"),
        ("新闻: 炸药制作者被捕。", "新闻: 炸药制作者被捕。"),
        ("One. 炸药 制作. Two. 3.5 ok", "One. Two. 3.5 ok"),
        ("“炸药配方！”他说", "他说"),
    ],
)
def test_a_topic_is_looked_for_in_a_sentence(text, said):
    rule = Topics([WEAPONS], action="drop")
    assert run(rule, [text])[0] == said
    assert run(rule, list(text))[0] == said


def test_or_in_the_whole_answer():
    text = "炸药很危险。怎么制作蛋糕?"
    assert run(Topics([WEAPONS], action="mask", scope="answer"), list(text))[0] == "***"
    said, _, refused = run(Topics([WEAPONS], scope="answer"), list(text))
    assert (said, refused[0]) == ("", "weapons")


def test_by_expression_and_by_function():
    rule = Topics([Topic("price", pattern=r"\d+ ?元"), Topic("long", check=lambda it: len(it) > 20)], action="mask")
    assert run(rule, ["它要３０元。好的。" + "长" * 30])[0] == "***好的。***"


@given(texts, cuts, st.sampled_from(["raise", "mask", "drop"]), st.sampled_from(["sentence", "answer"]))
def test_topics_do_not_depend_on_the_pieces(text, cuts, action, scope):
    rule = Topics([Topic("t", all_of=["a"], any_of=["b", "感"])], action=action, scope=scope)
    whole = run(rule, [text])
    assert run(rule, pieces_of(text, cuts)) == whole
    if whole[2] is None and action == "drop" and not whole[1]:
        assert whole[0] == text


def test_a_sentence_that_does_not_end_is_cut():
    place = Place("text", "", Ledger())
    screen = function_screen(str.upper, place)
    assert screen.feed("a" * (LONGEST_SENTENCE + 1)) == "A" * LONGEST_SENTENCE
    assert screen.finish() == "A"


def test_topics_that_say_nothing():
    for make in (
        lambda: Topic("x"),
        lambda: Topic("x", all_of="炸药"),
        lambda: Topic("x", pattern="("),
        lambda: Topics([]),
    ):
        with pytest.raises(ConfigurationError):
            make()


# The service's own marks (wire reference 3.3, 4.2)


@pytest.mark.parametrize(
    ("raw", "mark"),
    [
        ({"result": "x", "need_clear_history": False, "flag": 0, "is_safe": 1}, None),
        ({"result": "x", "need_clear_history": True, "ban_round": -1}, "need_clear_history"),
        ({"result": "x", "ban_round": -1}, "ban_round"),
        ({"result": "x", "flag": 1}, "flag 1"),
        ({"result": "x", "is_safe": 0}, "is_safe 0"),
        ({"result": "", "is_safe": 0, "function_call": {"name": "f"}}, None),
        ({"result": "", "finish_reason": "content_filter"}, "content_filter"),
        ({"choices": [{"flag": 0}]}, None),
        ({"choices": [{"flag": 2}]}, None),
        ({"choices": [{"flag": 3}]}, "flag 3"),
        ({"choices": [{"flag": 4}]}, "flag 4"),
        ({"choices": [{"flag": 0, "finish_reason": "content_filter"}]}, "content_filter"),
        ({"choices": []}, None),
        ({}, None),
    ],
)
def test_marks(raw, mark):
    assert ServiceFlags().mark(raw) == mark


def test_the_level_of_v2():
    assert ServiceFlags(level=1).mark({"choices": [{"flag": 1}]}) == "flag 1"
    assert ServiceFlags(level=4).mark({"choices": [{"flag": 3}]}) is None
    with pytest.raises(ConfigurationError, match="1 to 4"):
        ServiceFlags(level=5)


# Putting back


@given(st.lists(st.text('0123456789ab@."\\\n[]', min_size=1, max_size=6), min_size=1, max_size=12), st.data())
def test_values_come_back_across_pieces(values, data):
    vault = Vault(["[MOBILE-2]"])
    holders = [vault.put("MOBILE", value, unmask=True) for value in values]
    text = "".join(
        data.draw(st.lists(st.sampled_from([*holders, "[", "]", "[MOBILE-", "[MOBILE-2]", "你好"]), max_size=8))
    )
    split = data.draw(cuts)
    restorer = Restorer(vault)
    streamed = "".join([*map(restorer.feed, pieces_of(text, split)), restorer.finish()])
    assert streamed == vault.restore(text)
    back = dict(zip(holders, values, strict=True))
    expected = re.sub(r"\[\w+-\d+\]", lambda match: back.get(match.group(), match.group()), text)
    assert streamed == expected
