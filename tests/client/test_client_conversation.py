"""Conversations: what is remembered, what is left out, and what stays as it was when something fails."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import (
    OK,
    PATIENCE,
    STREAMS,
    TEXT_GENERATION_OK,
    V1_OK,
    V2_OK,
    answer,
    drop,
    stream,
    v1_event,
    v2_event,
)

from mock_server import MockServer
from qfkit import Credentials
from qfkit.client import (
    Cache,
    Client,
    ConfigurationError,
    HistoryLimits,
    QianfanError,
    RetryPolicy,
    StreamTruncated,
)
from qfkit.client.history import fit, rounds_to_keep, size_of
from qfkit.client.safety.policy import Safety
from qfkit.protocol.dialects import MAX_PROMPT_CHARS, MAX_REQUEST_BYTES
from qfkit.protocol.models import by_name
from qfkit.protocol.tokens import estimate
from qfkit.protocol.validation import validate

DIALECTS = ["text_generation", "v1", "v2"]
ONCE = RetryPolicy(attempts=1)


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def turns(*texts):
    return [make(text) for text, make in zip(texts, [user, said] * len(texts), strict=False)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_said_goes_along_with_the_next_question(server, connect, dialect):
    server.play(*[answer(OK[dialect])] * 2)
    talk = connect(dialect).conversation("你是助手", temperature=0.5)
    assert talk.say("一").text == "你好"
    talk.say("二", top_p=0.3)
    first, second = (request.json for request in server.requests)
    assert talk.messages == turns("一", "你好", "二", "你好")
    assert len(talk) == 2
    expected = turns("一", "你好", "二")
    if dialect == "text_generation":
        expected[0]["content"] = "你是助手\n\n一"
        assert "model" not in second
    elif dialect == "v2":
        expected.insert(0, {"role": "system", "content": "你是助手"})
    else:
        assert second["system"] == "你是助手"
    assert second["messages"] == expected
    assert (first["temperature"], second["temperature"], second["top_p"]) == (0.5, 0.5, 0.3)
    assert "top_p" not in first


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_enters_the_history_when_it_has_been_read_to_its_end(server, connect, dialect):
    server.play(stream(*STREAMS[dialect]))
    talk = connect(dialect).conversation()
    answered = talk.stream("一")
    next(answered)
    assert talk.messages == []
    list(answered)
    assert talk.messages == turns("一", "你好")


def closed(answered):
    answered.close()


def read_until_it_breaks(answered):
    with pytest.raises(StreamTruncated):
        list(answered)


@pytest.mark.parametrize("leave", [closed, read_until_it_breaks])
def test_a_stream_that_breaks_or_is_closed_leaves_the_history_as_it_was(server, connect, leave):
    server.play(answer(V2_OK), stream(v2_event({"content": "你"}), end=False), answer(V2_OK))
    talk = connect("v2", retry=ONCE).conversation()
    talk.say("一")
    answered = talk.stream("二")
    with pytest.raises(ConfigurationError, match=r"a stream of this conversation is still open: read it .* or close"):
        talk.say("三")
    leave(answered)
    assert talk.messages == turns("一", "你好")
    talk.say("三")
    assert server.requests[-1].json["messages"] == turns("一", "你好", "三")


def test_a_stream_closed_at_its_last_chunk_and_read_on_later_spoils_nothing(server, connect):
    server.play(stream(*STREAMS["v2"]), answer(V2_OK))
    talk = connect("v2").conversation()
    answered = talk.stream("一")
    while not next(answered).is_last:
        pass
    answered.close()
    talk.say("二")
    assert answered.reply().text == "你好"
    assert talk.messages == turns("二", "你好")


def test_a_stream_that_is_dropped_does_not_block_the_conversation(server, connect):
    server.play(stream(v2_event({"content": "你"}), end=False), answer(V2_OK))
    talk = connect("v2").conversation()
    talk.stream("一")
    talk.say("二")
    assert talk.messages == turns("二", "你好")


def test_a_stream_taken_up_again_enters_whole(server, connect):
    server.play(stream(v2_event({"content": "你"}), end=False), stream(*STREAMS["v2"]))
    talk = connect("v2").conversation()
    list(talk.stream("一", resume="replay"))
    assert talk.messages == turns("一", "你好")


def test_a_stream_from_the_cache_enters_too(server, connect):
    server.play(stream(*STREAMS["v2"]))
    client = connect("v2", cache=Cache())
    for _ in range(2):
        talk = client.conversation()
        answered = talk.stream("一")
        list(answered)
        assert talk.messages == turns("一", "你好")
    assert answered.cached


@pytest.mark.parametrize("failure", [drop, answer({"error_code": 18, "error_msg": "qps"}), answer(b"nonsense")])
def test_a_call_that_fails_leaves_the_history_as_it_was(server, connect, failure):
    server.play(answer(V1_OK), failure)
    talk = connect("v1", retry=ONCE).conversation()
    talk.say("一")
    before = talk.messages
    with pytest.raises(QianfanError):
        talk.say("二")
    assert talk.messages == before


def test_retries_ask_once_and_remember_once(server, connect):
    server.play(drop, answer(V1_OK))
    talk = connect("v1").conversation()
    assert len(talk.say("一").attempts) == 2
    assert talk.messages == turns("一", "你好")


def test_undo_and_clear(server, connect):
    server.otherwise = answer(V1_OK)
    talk = connect("v1").conversation("你是助手")
    talk.say("一")
    talk.say("二")
    assert talk.undo() == turns("二", "你好")
    assert talk.messages == turns("一", "你好")
    assert talk.tokens == estimate("一") + estimate("你好") + estimate("你是助手")
    assert talk.chars == 7
    talk.clear()
    assert (talk.messages, talk.undo(), talk.system) == ([], [], "你是助手")


def test_messages_are_copies(server, connect):
    talk = connect("v1").conversation(messages=turns("一", "好"))
    talk.messages[0]["content"] = "other"
    talk.messages.clear()
    assert talk.messages == turns("一", "好")


def test_one_question_at_a_time(server, connect):
    asked, go_on = threading.Event(), threading.Event()

    def slow(exchange):
        asked.set()
        assert go_on.wait(PATIENCE)
        answer(V1_OK)(exchange)

    server.play(slow)
    talk = connect("v1").conversation()
    thread = threading.Thread(target=talk.say, args=("一",))
    thread.start()
    assert asked.wait(PATIENCE)
    for use in (lambda: talk.say("二"), lambda: talk.stream("二"), talk.undo, talk.clear):
        with pytest.raises(ConfigurationError, match="in another thread: a conversation has one question at a time"):
            use()
    go_on.set()
    thread.join(PATIENCE)
    assert talk.messages == turns("一", "你好")


@pytest.mark.parametrize(
    ("dialect", "messages", "words"),
    [
        ("v1", "一", "are a list such as"),
        ("v1", [user("一")], "ends with the assistant; these begin with 'user' and end with 'user'. Ask the last"),
        ("v1", [{"role": "system", "content": "s"}, *turns("一", "二")], "give it as system="),
        ("v1", [user("一"), user("二"), said("三")], "the length of messages must be an odd number"),
        ("v1", [user("一"), {"role": "assistant", "content": ""}], "message content can not be empty"),
        ("v2", [user("一"), {"role": "robot", "content": "二"}, said("三")], "the role must be one of"),
        ("v1", [user([{"type": "text", "text": "一"}]), said("三")], "v1 does not take these messages as a history"),
    ],
)
def test_messages_that_are_no_past_are_refused(connect, dialect, messages, words):
    with pytest.raises(ConfigurationError, match=words):
        connect(dialect).conversation(messages=messages)


def test_what_belongs_to_the_conversation_is_no_parameter_of_a_question(server, connect):
    talk = connect("v1").conversation()
    for name in ("model", "system"):
        with pytest.raises(ConfigurationError, match=f"set conversation.{name}"):
            talk.say("一", **{name: "x"})
    with pytest.raises(ConfigurationError, match="nothing to say"):
        talk.say([])
    with pytest.raises(ConfigurationError, match=r"set conversation.system"):
        talk.say([{"role": "system", "content": "s"}, user("一")])
    assert server.requests == []


def test_an_empty_answer_is_not_remembered(server, connect, caplog):
    server.play(answer({**V1_OK, "result": ""}), answer(V1_OK))
    talk = connect("v1").conversation()
    talk.say("一")
    assert talk.messages == []
    assert "the answer is empty" in caplog.text


# What the service strikes out


@pytest.mark.parametrize(
    ("ban_round", "left"),
    [(None, 0), (-1, 3), (0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (9, 3), (-2, 0)],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_need_clear_history_and_ban_round_are_obeyed(server, connect, ban_round, left, streamed):
    marks = {"need_clear_history": True} | ({} if ban_round is None else {"ban_round": ban_round})
    if streamed:
        last = json.loads(v1_event("不", last=True)[6:]) | marks
        server.play(stream(v1_event("可"), b"data: " + json.dumps(last).encode() + b"\n\n"))
    else:
        server.play(answer({**V1_OK, **marks}))
    past = turns("一", "甲", "二", "乙", "三", "丙")
    talk = connect("v1").conversation(messages=past)
    reply = talk.stream("坏").reply() if streamed else talk.say("坏")
    assert (reply.need_clear_history, reply.ban_round) == (True, ban_round)
    assert talk.messages == past[: 2 * left]
    assert talk.withdrawn == 3 - left + 1


@pytest.mark.parametrize(("flag", "enters"), [(0, True), (1, True), (2, True), (3, False), (4, False)])
@pytest.mark.parametrize("streamed", [False, True])
def test_answers_that_may_not_be_shown_do_not_enter(server, connect, flag, enters, streamed):
    if streamed:
        events = [v2_event({"content": "你"}), v2_event({"content": "好"}), v2_event({"content": ""}, "stop")]
        events[1] = events[1].replace(b'"flag": 0', b'"flag": %d' % flag)  # taken back in the middle
        server.play(stream(*events, b"data: [DONE]\n\n"))
    else:
        server.play(answer({**V2_OK, "choices": [{**V2_OK["choices"][0], "flag": flag}]}))
    past = turns("一", "甲")
    talk = connect("v2").conversation(messages=past)
    reply = talk.stream("二").reply() if streamed else talk.say("二")
    assert reply.flag == flag
    assert talk.messages == (turns("一", "甲", "二", "你好") if enters else past)
    assert talk.withdrawn == (0 if enters else 1)


def test_a_flag_with_a_round_removes_that_round_too(server, connect):
    server.play(answer({**V2_OK, "choices": [{**V2_OK["choices"][0], "flag": 3, "ban_round": 2}]}))
    talk = connect("v2").conversation(messages=turns("一", "甲", "二", "乙"))
    talk.say("三")
    assert talk.messages == turns("一", "甲")


def test_rounds_count_questions_and_not_messages():
    past = [
        user("一"),
        {"role": "assistant", "content": "", "tool_calls": [{}]},
        {"role": "tool"},
        said("甲"),
        user("二"),
    ]
    assert rounds_to_keep(past, 2) == 4
    assert rounds_to_keep(past, 1) == 0


# Trimming

texts = st.text(st.sampled_from('好a \n"é😀'), max_size=60).map(lambda text: f"{text}。")


@st.composite
def histories(draw):
    """Whole turns, some with calls of tools in them."""
    messages = []
    for _ in range(draw(st.integers(0, 8))):
        messages.append(user(draw(texts)))
        for number in range(draw(st.sampled_from([0, 0, 1, 2]))):
            messages.append({"role": "assistant", "content": "", "tool_calls": [{"id": f"c{number}"}]})
            messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": draw(texts)})
        messages.append(said(draw(texts)))
    return messages


limit = st.none() | st.integers(1, 400)


def measured(messages, system, dialect):
    """As the service would: everything joined."""
    if dialect == "text_generation" and system:
        messages = [{**messages[0], "content": f"{system}\n\n{messages[0]['content']}"}, *messages[1:]]
        system = None
    contents = [message["content"] for message in messages]
    joined = "\n".join([*([system] if system else []), *contents])
    size = len(json.dumps(messages, ensure_ascii=False, separators=(",", ":")).encode())
    return len(joined), estimate(joined), max(map(len, contents)), size


@given(
    history=histories(),
    question=texts,
    system=st.none() | texts,
    dialect=st.sampled_from(DIALECTS),
    limits=st.builds(HistoryLimits, chars=limit, tokens=limit, message_chars=limit, body_bytes=limit),
)
def test_what_is_sent_fits_begins_with_the_user_and_is_as_much_as_fits(history, question, system, dialect, limits):
    if dialect == "text_generation":
        limits = HistoryLimits(message_chars=limits.message_chars, body_bytes=limits.body_bytes)
    else:
        limits = HistoryLimits(chars=limits.chars, tokens=limits.tokens, body_bytes=limits.body_bytes)
    # The body's bytes around messages that a dialect writes elsewhere are measured as overhead; here all of the list.
    brackets, last = 2, user(question)
    extra = brackets - 1 + (2 if dialect == "text_generation" and system else 0)
    found = fit(dialect, history, [last], system, limits, overhead=extra)

    def fits(messages):
        chars, tokens, longest, size = measured(messages, system, dialect)
        if system and dialect != "text_generation":
            size += len(json.dumps(system, ensure_ascii=False).encode())
        pairs = [
            (chars, limits.chars),
            (tokens, limits.tokens),
            (longest, limits.message_chars),
            (size, limits.body_bytes),
        ]
        return all(most is None or has <= most for has, most in pairs)

    sent = [*history[found.keep_from :], last]
    if found.excess:
        assert found.keep_from == len(history)
        assert limits.tokens is not None or not fits([last])
        return
    assert fits(sent)
    assert sent[0]["role"] == "user"
    assert [m["role"] for m in history[: found.keep_from]].count("user") == found.turns
    places = [n for n, message in enumerate(history) if message["role"] == "user"]
    earlier = [place for place in places if place < found.keep_from]
    if earlier and limits.tokens is None and limits.message_chars is None:
        assert not fits([*history[earlier[-1] :], last])  # one turn more would be too much


@given(text=st.text(min_size=1, max_size=50), more=st.text(max_size=50))
def test_sizes_are_never_too_small(text, more):
    both = size_of(user(text)) + size_of(user(more))
    assert both.tokens >= estimate(f"{text}\n{more}")
    assert both.chars == len(text) + len(more) + 2


def test_the_oldest_turns_are_dropped_for_good_and_it_is_told(server, connect, caplog):
    caplog.set_level("INFO", "qfkit.client")
    server.otherwise = answer(V1_OK)
    talk = connect("v1").conversation("短", limits=HistoryLimits(chars=16))
    for text in ("一一一", "二二二", "三三三", "四四四"):
        talk.say(text)
    assert talk.trimmed == 2
    assert talk.messages == turns("三三三", "你好", "四四四", "你好")
    assert server.requests[-1].json["messages"] == turns("三三三", "你好", "四四四")
    assert "1 oldest turn(s) dropped" in caplog.text


@pytest.mark.parametrize("streamed", [False, True])
def test_the_history_holds_what_was_said_and_the_wire_what_may_be(server, connect, streamed):
    whole = {**TEXT_GENERATION_OK, "result": "好的"}
    server.otherwise = stream(*STREAMS["text_generation"]) if streamed else answer(whole)
    talk = connect(safety=Safety.default()).conversation()
    question = "我的手机号是 13800138000"
    for _ in range(2):
        talk.stream(question).reply() if streamed else talk.say(question, cache=False)
    assert [message["content"] for message in talk.messages] == [question, "你好" if streamed else "好的"] * 2
    assert b"13800138000" not in b"".join(request.body for request in server.requests)
    assert server.requests[1].json["messages"][1]["content"] == talk.messages[1]["content"]


def test_a_call_that_fails_drops_nothing(server, connect):
    server.play(drop)
    past = turns("一一一", "甲甲甲", "二二二", "乙乙乙")
    talk = connect("v1", retry=ONCE).conversation(messages=past, limits=HistoryLimits(chars=12))
    with pytest.raises(QianfanError):
        talk.say("三三三")
    assert (talk.messages, talk.trimmed) == (past, 0)


@pytest.mark.parametrize(
    "case",
    [
        ("text_generation", None, "x" * 4096, r"4096 characters in one message, 4095 at most"),
        ("v1", "ernie-4.0-8k", "x " * 10001, r"20002 characters, 20000 at most"),
        ("v1", "/chat/completions_pro", "x " * 6000, r"6000 tokens \(estimated\), 5120 at most"),
        ("v2", "ernie-4.0-8k", "x " * 6000, r"6000 tokens"),
    ],
)
def test_a_question_that_alone_is_too_large_is_refused_before_it_is_sent(server, connect, case):
    dialect, model, question, words = case
    talk = connect(dialect).conversation(model=model, messages=turns("一", "二"))
    with pytest.raises(ConfigurationError, match=rf"does not fit.*{words}.*Shorten or split"):
        talk.say(question)
    assert server.requests == []
    assert len(talk) == 1


def test_a_service_of_ones_own_has_no_limits_unless_told(server, connect):
    server.play(answer(V1_OK))
    connect("v1").conversation(model="/chat/mine").say("x " * 20000)
    with pytest.raises(ConfigurationError, match=r"HistoryLimits\(chars=...\) is a whole number from 1"):
        HistoryLimits(chars=0)


def test_the_body_of_text_generation_stays_within_32_kb(server, connect):
    server.otherwise = answer({**TEXT_GENERATION_OK, "result": "甲" * 1300})
    talk = connect().conversation("系" * 100, temperature=0.7)
    for number in range(12):
        talk.say(f"{number}" + "问\n" * 600)
    assert talk.trimmed > 0
    assert max(len(request.body) for request in server.requests) <= MAX_REQUEST_BYTES
    assert len(server.requests[-1].body) > MAX_REQUEST_BYTES - 6000
    for request in server.requests:
        assert validate("text_generation", "chat", request.json, size=len(request.body)) is None


def test_an_answer_longer_than_a_prompt_may_be_goes_when_the_next_question_comes(server, connect):
    server.play(answer({**TEXT_GENERATION_OK, "result": "甲" * MAX_PROMPT_CHARS}), answer(TEXT_GENERATION_OK))
    talk = connect().conversation()
    talk.say("一")
    assert len(talk) == 1
    talk.say("二")
    assert talk.messages == turns("二", "你好")


# Saving

saved_text = st.text(max_size=30).map(lambda text: f"{text}.")  # any character: JSON holds them all


@given(past=st.lists(st.tuples(saved_text, saved_text), max_size=4), system=st.none() | saved_text)
def test_a_conversation_comes_back_as_it_was_saved(past, system, tmp_path_factory):
    path = tmp_path_factory.mktemp("talk") / "talk.json"
    messages = [message for pair in past for message in turns(*pair)]
    with Client(
        "http://127.0.0.1:9",
        credentials=Credentials(bearer_token="bce-v3/ALTAK-FAKE/01"),
        dialect="v2",
        model="ernie-4.5-turbo-32k",
    ) as client:
        talk = client.conversation(system, messages=messages)
        talk.trimmed = 3
        talk.save(path)
        again = client.conversation(load=path)
        assert (again.messages, again.system, again.model, again.trimmed) == (messages, system, talk.model, 3)
        assert client.conversation("other", load=path).system == "other"


def test_the_file_is_for_its_owner_only_and_holds_no_keys(server, connect, tmp_path):
    key = "bce-v3/ALTAK-FAKE0000000000000/0123456789abcdef0123456789abcdef01234567"
    path = tmp_path / "talk.json"
    path.write_text("before")
    connect("v2").conversation(f"my key is {key}", messages=turns(key, "好")).save(path)
    text = path.read_text("utf-8")
    assert "0123456789abcdef" not in text
    saved = json.loads(text)
    assert saved["version"] == 1
    assert saved["system"] == "my key is ***"
    assert [entry.name for entry in tmp_path.iterdir()] == ["talk.json"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_saving_that_fails_leaves_the_old_file(connect, tmp_path, monkeypatch):
    path = tmp_path / "talk.json"
    path.write_text("before")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        connect("v1").conversation(messages=turns("一", "二")).save(path)
    assert path.read_text("utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read the conversation .*: No such file"),
        (b"nonsense", "is no saved conversation: it is not a JSON object"),
        (b"[1]", "is no saved conversation: it is not a JSON object"),
        (b'{"version": 2}', "of version 2; this qfkit reads version 1"),
        (b'{"version": 1, "dialect": "v1"}', "is no saved conversation: Object missing required field"),
    ],
)
def test_a_file_that_is_no_conversation_is_refused_with_the_reason(connect, tmp_path, content, words):
    path = tmp_path / "talk.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        connect("v1").conversation(load=path)


def test_a_talk_goes_on_in_another_dialect_if_that_can_say_it(server, connect, tmp_path):
    path = tmp_path / "talk.json"
    connect("v2", model="ernie-4.5-turbo-32k").conversation("助手", messages=turns("一", "二")).save(path)
    talk = connect("v1").conversation(load=path)
    assert (talk.system, talk.model, talk.messages) == ("助手", "ernie-3.5-8k", turns("一", "二"))
    with pytest.raises(ConfigurationError, match="leave out messages="):
        connect("v1").conversation(load=path, messages=turns("一", "二"))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    past = [
        user("一"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
        said("二"),
    ]
    connect("v2").conversation(messages=past).save(path)
    with pytest.raises(ConfigurationError, match="v1 does not take these messages"):
        connect("v1").conversation(load=path)


# Against the mock, which checks roles and limits by itself


@pytest.fixture(scope="module")
def mock():
    with MockServer(port=0) as running:
        yield running


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_long_talk_is_never_refused(mock, dialect):
    account = mock.account()
    model = by_name("ernie-3.5-8k-0329" if dialect == "v1" else "ernie-4.0-8k")
    with Client(mock.url, account.credentials, dialect=dialect, model=model.name) as client:
        talk = client.conversation("你是助手" * 20)
        for number in range(12):
            account.reply("答" * 900)
            if number % 2:
                talk.say(f"{number}" + "问" * 900)
            else:
                talk.stream(f"{number}" + "问" * 900).reply()
        assert talk.trimmed + len(talk) == 12
        assert talk.trimmed > 0
    assert len([request for request in account.requests if "oauth" not in request.path]) == 12


@pytest.mark.parametrize("dialect", ["v1", "v2"])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "case",
    [
        ("sensitive-input", {}, 3),
        ("sensitive-output", {}, 3),
        ("sensitive-history", {}, 0),
        ("sensitive-history", {"ban_round": 2}, 1),
        ("banned-topic", {}, 4),
        ("content_filter", {}, 3),
    ],
)
def test_refusals_of_the_mock_are_obeyed(mock, dialect, streamed, case):
    kind, options, left = case
    account = mock.account()
    with Client(mock.url, account.credentials, dialect=dialect, model="ernie-4.0-8k") as client:
        talk = client.conversation(messages=turns("一", "甲", "二", "乙", "三", "丙"))
        account.refuse(kind, **options)
        reply = talk.stream("四").reply() if streamed else talk.say("四")
        assert len(talk) == left
        account.reply("好")
        talk.say("五")  # what is left is a history that the mock takes
        assert reply.finish_reason in ("content_filter", "stop", "normal")
