import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qianfan.resources.tools.tokenizer import Tokenizer

from qfkit.protocol import tokens
from qfkit.protocol.tokens import CJK_RANGES, HAN_TOKENS, estimate, estimate_messages

HAN = st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF)
CHINESE = st.text(HAN, min_size=1, max_size=12)
ENGLISH = st.text("abcdefgXYZ0123456789'-", min_size=1, max_size=10)
BETWEEN = st.sampled_from(
    [" ", "\n", "\t", "\r\n", "，", "。", "！", "、", "“", "…", "\u3000", ", ", ". ", "$", "+", "~", ""]
)
PROSE = st.lists(st.tuples(CHINESE | ENGLISH, BETWEEN).map("".join), max_size=20).map("".join)
ANY_TEXT = st.text(
    st.sampled_from("一鿿㐀ꀀ你a1 \t\n\r\x0b\x1f\x85\u00a0\u2028\u3000，。$^`|~_é한ア😀𠮷\U00020000") | st.characters()
)


def eighths_by_the_sdk(text: str) -> int:
    """The SDK's own sum, in eighths of a token: 0.625 is 5/8, so nothing is rounded."""
    return Tokenizer.count_tokens(text, mode="local", han_tokens=5, word_tokens=8)


@settings(deadline=None, max_examples=300)
@given(PROSE | ANY_TEXT)
def test_the_sdk_counts_alike_but_for_rounding(text: str) -> None:
    eighths = eighths_by_the_sdk(text)
    assert estimate(text) == (max(1, -(-eighths // 8)) if text else 0)
    assert Tokenizer.count_tokens(text) == eighths // 8


def test_every_character_weighs_what_the_sdk_gives_it() -> None:
    samples = [*range(0x3000), *range(0x3000, 0x20000, 7), 0x4DFF, 0x4E00, 0x9FFF, 0xA000, 0xFF0C, 0x20000, 0x10FFFF]
    for code in samples:
        text = f"a{chr(code)}b" * 8
        assert estimate(text) * 8 == eighths_by_the_sdk(text), hex(code)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        (" ", 1),
        ("！", 1),
        ("你", 1),
        ("你好", 2),
        ("你好世界你好世界", 5),
        ("hello", 1),
        ("hello, world", 2),
        ("don't", 2),
        ("用Python写一首诗", 5),
        ("ひらがな", 1),
    ],
)
def test_examples(text: str, expected: int) -> None:
    assert estimate(text) == expected


def test_the_table_is_the_range_of_the_sdk() -> None:
    assert CJK_RANGES == ((0x4E00, 0x9FFF),)
    assert HAN_TOKENS == 0.625


def test_more_kinds_of_characters_than_are_remembered() -> None:
    # Counted right all the same, and the memory stays bounded.
    beyond = "".join(map(chr, [*range(0x4E00), *range(0xE000, 0x20000)]))
    before = estimate("用Python写一首诗")
    assert estimate(beyond) * 8 - eighths_by_the_sdk(beyond) in range(8)
    assert estimate("用Python写一首诗") == before
    assert len(tokens._SHAPES) <= tokens._Shape._CAPACITY < len(set(beyond))


@given(PROSE, PROSE)
@settings(deadline=None)
def test_longer_text_costs_no_less_and_joining_costs_no_more(text: str, more: str) -> None:
    assert estimate(text) <= estimate(text + more) <= estimate(text) + estimate(more)


def test_messages_of_both_dialects() -> None:
    messages: list[dict[str, object]] = [
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "sunny day"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "天气"},
                {"type": "image_url", "image_url": {"url": "https://example.com/1.png"}},
                {"type": "text", "text": "ok"},
            ],
        },
        {"role": "assistant", "tool_calls": []},
    ]
    assert estimate_messages(messages) == 2 + 2 + 2 + 1
    assert estimate_messages([]) == 0


@pytest.mark.parametrize("content", [5, {"text": "a"}, [None, "a", 5, {"text": None}, {"text": 5}, {}], True])
def test_content_that_is_no_text_weighs_nothing(content: object) -> None:
    assert estimate_messages([{"role": "user", "content": content}]) == 0
