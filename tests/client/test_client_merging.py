"""Short questions in one request: never an answer that is not certain, and never a question without one."""

from __future__ import annotations

import json
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import PATIENCE, V2_OK, answer

from mock_server import MockServer
from qfkit.client import BadRequestError, Client, ConfigurationError, QianfanError, RateLimitError, RetryPolicy
from qfkit.client.merging import marker, merged_prompt, split
from qfkit.testing.clock import SkippingClock

ASKED = re.compile(r"\[Q(\d+)-(\w+)\] (.*)")
QUESTIONS = ["一加一", "首都是哪", "why?", "天空为何是蓝的", "几点了"]


def replied(text):
    data = json.loads(json.dumps(V2_OK))
    data["choices"][0]["message"]["content"] = text
    return answer(data)


def good_model(exchange, spoil=lambda number, mark: mark):
    """A model that does as it is told: answers each question in capitals, between its marks."""
    prompt = exchange.request.json["messages"][-1]["content"]
    asked = ASKED.findall(prompt)
    if not asked:
        return replied(prompt.upper())(exchange)
    marked = [spoil(n, f"[A{n}-{word}]{text.upper()}[/A{n}-{word}]") for n, word, text in asked]
    return replied("\n".join(marked))(exchange)


def prompts(server):
    return [request.json["messages"][-1]["content"] for request in server.requests]


def test_five_questions_in_one_request(server, connect):
    server.otherwise = good_model
    found = connect("v2").merge(QUESTIONS)
    assert [merged.text for merged in found] == [question.upper() for question in QUESTIONS]
    assert [merged.question for merged in found] == QUESTIONS
    assert {merged.together for merged in found} == {5}
    assert len(server.requests) == 1


def test_so_many_a_request_and_no_more(server, connect):
    server.otherwise = good_model
    found = connect("v2").merge([f"q{n}" for n in range(7)], most=3, max_workers=1)
    assert [merged.together for merged in found] == [3, 3, 3, 3, 3, 3, 1]
    assert [merged.text for merged in found] == [f"Q{n}" for n in range(7)]
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda n, mark: "" if n == "2" else mark,
        lambda n, mark: mark.replace("[/A", "[A") if n == "2" else mark,
        lambda n, mark: mark + mark if n == "2" else mark,
        lambda n, mark: re.sub(r"\].*\[", "][", mark) if n == "2" else mark,
        lambda n, mark: mark[: len(mark) // 2] if n == "2" else mark,
        lambda n, mark: mark.replace("-", "_") if n == "2" else mark,
    ],
)
def test_an_answer_in_doubt_is_asked_for_again_by_itself(server, connect, spoil):
    server.otherwise = lambda exchange: good_model(exchange, spoil)
    found = connect("v2").merge(QUESTIONS, max_workers=1)
    assert [merged.text for merged in found] == [question.upper() for question in QUESTIONS]
    assert found[1].together == 1
    assert QUESTIONS[1] in prompts(server)


def test_marks_inside_of_marks_are_no_answer():
    assert split("[A1-w]one[A2-w]two[/A2-w][/A1-w]", 2, "w") == {1: "two"}
    assert split("[A1-w]one[/A2-w][A2-w]two[/A1-w]", 2, "w") == {}
    assert split("[A3-w]three[/A3-w]", 2, "w") == {}


texts = st.text(max_size=40)


@given(
    questions=st.lists(texts, min_size=2, max_size=8),
    answers=st.lists(texts.map(str.strip).filter(bool), min_size=8, max_size=8),
)
def test_whatever_is_asked_and_answered_each_gets_its_own(questions, answers):
    word = marker(questions)
    assert not any(word in question for question in questions)
    prompt = merged_prompt(questions, word)
    for number, question in enumerate(questions, 1):
        assert f"[Q{number}-{word}] {question}" in prompt
    order = list(enumerate(answers[: len(questions)], 1))[::-1]
    said = "Sure!\n".join(f"[A{number}-{word}] {text}\n[/A{number}-{word}]" for number, text in order)
    assert split(said, len(questions), word) == dict(enumerate(answers[: len(questions)]))


@given(text=st.text(st.sampled_from("[]/A12-w x"), max_size=60))
def test_no_text_is_taken_for_more_than_it_is(text):
    for place, found in split(text, 2, "w").items():
        number = place + 1
        assert text.count(f"[A{number}-w]") == text.count(f"[/A{number}-w]") == 1
        assert found == text.partition(f"[A{number}-w]")[2].partition(f"[/A{number}-w]")[0].strip()
        assert "-w]" not in found or not re.search(r"\[/?A\d{1,3}-w\]", found)


def test_long_questions_go_by_themselves_and_requests_stay_within_32_kb(server, connect):
    server.otherwise = good_model
    questions = ["长" * 501, *["\u0001" * 480 for _ in range(40)], "短"]
    found = connect("v2", model="ernie-4.0-8k").merge(questions, most=100)
    assert found[0].together == 1
    assert all(len(request.body) <= 32 * 1024 for request in server.requests)
    assert [merged.text for merged in found] == [question.upper() for question in questions]


def test_a_question_that_spoils_the_request_loses_nobody_else(server, connect):
    refused = answer({"error": {"code": "invalid_argument", "message": "no", "type": "x"}}, 400)

    def model(exchange):
        if "bad" in exchange.request.json["messages"][-1]["content"]:
            return refused(exchange)
        return good_model(exchange)

    server.otherwise = model
    found = connect("v2").merge(["a", "bad", "c"])
    assert [found[0].text, found[2].text] == ["A", "C"]
    assert isinstance(found[1].answer, BadRequestError)
    with pytest.raises(BadRequestError):
        _ = found[1].text


def test_a_service_that_is_overloaded_is_not_asked_for_each(server, connect):
    server.otherwise = answer({"error": {"code": "rpm_rate_limit_exceeded", "message": "x", "type": "y"}}, 429)
    found = connect("v2", retry=RetryPolicy(attempts=1)).merge(QUESTIONS)
    assert all(isinstance(merged.answer, RateLimitError) for merged in found)
    assert len(server.requests) == 1


def test_the_same_questions_come_from_the_cache(server, connect):
    from qfkit.client import Cache

    server.otherwise = good_model
    client = connect("v2", cache=Cache())
    assert [m.text for m in client.merge(QUESTIONS)] == [m.text for m in client.merge(QUESTIONS)]
    assert len(server.requests) == 1


def test_nonsense_is_refused_and_nothing_is_nothing(connect):
    client = connect("v2")
    assert client.merge([]) == []
    for wrong in ("text", [1]):
        with pytest.raises(ConfigurationError, match="takes a list of texts"):
            client.merge(wrong)
    with pytest.raises(ConfigurationError, match="most is how many"):
        client.merge(["a", "b"], most=0)


@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
def test_the_mock_is_asked_once(dialect):
    def model(question):
        return "\n".join(f"[A{n}-{word}]{text}![/A{n}-{word}]" for n, word, text in ASKED.findall(question.text))

    with MockServer() as server:
        account = server.account().reply(model)
        with Client(server.url, account.credentials, dialect, clock=SkippingClock()) as client:
            assert [merged.text for merged in client.merge(QUESTIONS)] == [f"{question}!" for question in QUESTIONS]
        assert len(account.requests.where(operation="chat")) == 1


# How far a batch is


def test_a_function_is_told_how_far_map_is(server, connect):
    server.otherwise = good_model
    told = []
    with connect("v2").map(["a", "b", "c"], progress=lambda *so_far: told.append(so_far)) as batch:
        assert len(list(batch)) == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    told.clear()
    list(connect("v2").map(iter(["a"]), progress=lambda *so_far: told.append(so_far)))
    assert told == [(1, None)]


def test_a_bar_is_shown_and_taken_away(server, connect, monkeypatch, capsys):
    server.otherwise = good_model
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    replies = list(connect("v2").map(["a", "b"], max_workers=1, progress=True))
    assert [str(reply) for reply in replies] == ["A", "B"]
    assert not any(isinstance(reply, QianfanError) for reply in replies)
    assert "asked" in capsys.readouterr().err
    for thread in [thread for thread in threading.enumerate() if type(thread).__name__ == "_RefreshThread"]:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_without_rich_it_says_what_to_install(connect, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'qfkit\[progress\]'"):
        connect("v2").map(["a"], progress=True)
