from __future__ import annotations

import math
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server import generate


@given(st.text(max_size=300), st.integers(0, 2**32))
def test_pieces_add_up_to_the_text(text, seed):
    assert "".join(generate.pieces(text, generate.seeded(seed))) == text


@given(st.text(min_size=1, max_size=60), st.integers(-5, 5))
def test_the_same_seed_and_prompt_give_the_same_answer_in_the_prompts_language(prompt, seed):
    one = generate.answer(prompt, generate.seeded(seed, prompt))
    assert one == generate.answer(prompt, generate.seeded(seed, prompt))
    assert 20 < len(one) < 1000
    assert generate.language(one) == generate.language(prompt) or not prompt.strip()


@given(st.text(max_size=100), st.sampled_from([8, 384, 1024]))
def test_embeddings_have_length_1(text, dims):
    vector = generate.embedding(text, dims)
    assert len(vector) == dims
    assert math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-4)


def test_embeddings_are_near_for_near_texts():
    def cosine(one: str, other: str) -> float:
        return sum(a * b for a, b in zip(generate.embedding(one, 384), generate.embedding(other, 384), strict=True))

    assert cosine("上海今天的天气怎么样", "上海明天的天气怎么样") > 0.6
    assert abs(cosine("上海今天的天气怎么样", "how to sort a list in Python")) < 0.3


def test_relevance_follows_the_words_in_common():
    documents = ["上海的天气很好", "上海是一座城市", "如何学习编程"]
    scores = [generate.relevance("上海天气", document) for document in documents]
    assert scores == sorted(scores, reverse=True)
    assert generate.relevance("", "x") == 0.0
    assert generate.relevance("上海天气", "上海天气") == 1.0


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 9), (768, 1024)])
def test_pictures_are_valid_png_of_the_size_asked_for(width, height):
    data = generate.png(width, height, generate.seeded(0))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (width, height)
    at, rows = 8, b""
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (crc,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert crc == zlib.crc32(kind + body)
        rows += body if kind == b"IDAT" else b""
        at += 12 + length
    assert len(zlib.decompress(rows)) == height * (1 + (width + 7) // 8)
