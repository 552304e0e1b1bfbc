"""Safety in a client: what is sent, what is shown, what is kept, in every dialect, whole and as a stream."""

from __future__ import annotations

import json
import logging
import pickle
from queue import SimpleQueue

import pytest
from scripted_server import DONE, OK, STREAMS, answer, event, stream, v1_event, v2_event

from qfkit.client import (
    Cache,
    ConfigurationError,
    InputRefused,
    Mask,
    MaxLength,
    Safety,
    ServiceFlags,
    StreamError,
    Topic,
    Topics,
    UnsafeContent,
    WordList,
)

PHONE = "13812345678"
DIALECTS = ["text_generation", "v1", "v2"]
MASKED = Safety(input=[Mask()])


def v1(text, **more):
    return {**OK["v1"], "result": text, **more}


def v1_stream(*texts):
    return stream(*[v1_event(text) for text in texts], v1_event("", last=True))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_sent_is_masked_and_the_answer_is_not(server, connect, dialect):
    body = json.loads(json.dumps(OK[dialect]).replace("\\u4f60\\u597d", "[MOBILE-1] ok"))
    server.play(answer(body), answer(OK[dialect]))
    client = connect(dialect, safety=MASKED)
    reply = client.chat(f"打给 {PHONE}", system=f"我是 {PHONE}")
    assert PHONE not in server.requests[0].body.decode()
    assert "打给 [MOBILE-1]" in server.requests[0].body.decode()
    assert reply.text == f"{PHONE} ok"
    assert [(it.kind, it.where) for it in reply.safety] == [("mobile", "system"), ("mobile", "messages[0]")]
    assert PHONE not in repr(reply.safety)
    client.chat(f"打给 {PHONE}", safety=False)
    assert PHONE in server.requests[1].body.decode()


def test_a_conversation_is_masked_throughout(server, connect):
    server.play(answer(v1("好")))
    talk = [
        {"role": "user", "content": f"a {PHONE}"},
        {"role": "assistant", "content": f"b {PHONE}"},
        {"role": "user", "content": "c 13912345678"},
    ]
    connect("v1", safety=MASKED).chat(talk)
    assert [it["content"] for it in server.requests[0].json["messages"]] == [
        "a [MOBILE-1]",
        "b [MOBILE-1]",
        "c [MOBILE-2]",
    ]
    assert talk[0]["content"] == f"a {PHONE}"  # the caller's own stay as they are


def test_own_keys_never_leave(server, connect, keys):
    server.play(answer(v1("好")))
    connect("v1", safety=MASKED, auth="bce-auth-v1").chat(f"my key is {keys.secret_key}, {keys.sk}")
    assert server.requests[0].json["messages"][0]["content"] == "my key is [KEY-1], [KEY-2]"


def test_values_come_back_across_chunks_and_in_tool_calls(server, connect):
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "dial", "arguments": '{"to": "[MOB'}}
    rest = {"index": 0, "function": {"arguments": 'ILE-1]"}'}}
    server.play(
        stream(
            v2_event({"reasoning_content": "call [MOBILE"}),
            v2_event({"reasoning_content": "-1]?"}),
            v2_event({"content": "打 [MOB"}),
            v2_event({"content": "ILE-"}),
            v2_event({"content": "1] 好"}),
            v2_event({"tool_calls": [call]}),
            v2_event({"tool_calls": [rest]}),
            v2_event({"content": "["}, "stop"),
            DONE,
        )
    )
    got = connect("v2", safety=MASKED).stream(f"打给 {PHONE}")
    pieces = [chunk.text for chunk in got if chunk.text]
    assert pieces == ["打 ", f"{PHONE} 好", "["]
    assert got.reasoning == f"call {PHONE}?"
    assert json.loads(got.tool_calls[0]["function"]["arguments"]) == {"to": PHONE}
    reply = got.reply()
    assert (reply.text, reply.tool_calls, reply.safety) == (got.text, got.tool_calls, got.safety)
    assert got.complete
    assert got.usage is None
    assert len(got.attempts) == 1


def test_the_cache_keeps_what_the_service_said(server, connect):
    server.play(answer(v1("说 敏感词 给 [MOBILE-1]")))
    cache = Cache()
    safety = Safety(input=[Mask()], output=[WordList(["敏感词"], action="mask")])
    client = connect("v1", safety=safety, cache=cache, auth="bce-auth-v1")
    assert client.chat(f"问 {PHONE}").text == f"说 *** 给 {PHONE}"
    other = client.chat("问 13912345678")  # the same question, as it is sent
    assert other.cached
    assert other.text == "说 *** 给 13912345678"
    assert client.chat("问 [MOBILE-1]", safety=False).text == "说 敏感词 给 [MOBILE-1]"
    replayed = client.stream(f"问 {PHONE}")
    assert "".join(chunk.text for chunk in replayed) == f"说 *** 给 {PHONE}"
    assert replayed.cached
    assert len(server.requests) == 1


def test_a_screened_stream_is_cached_as_it_came(server, connect):
    server.play(v1_stream("敏感", "词[MOBILE", "-1]"))
    client = connect("v1", cache=Cache(), safety=Safety(input=[Mask()], output=[WordList(["敏感词"], action="mask")]))
    assert client.stream(PHONE).reply().text == f"***{PHONE}"
    assert client.chat("[MOBILE-1]", safety=False).text == "敏感词[MOBILE-1]"


def test_raising_closes_the_connection(server, connect):
    closed: SimpleQueue[bool] = SimpleQueue()

    def step(exchange):
        exchange.head()
        for text in ("好的, 敏", "感词", "!"):
            exchange.chunk(v1_event(text))
        closed.put(exchange.peer_closed())
        exchange.hang_up()

    server.play(step)
    client = connect("v1", safety=Safety(output=[WordList(["敏感词"])]))
    got = client.stream("hi")
    assert next(got).text == "好的, "
    with pytest.raises(UnsafeContent, match=r"WordList: word \(敏\*\*\) in its text at character 4") as caught:
        list(got)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.rule, error.kind, error.found, error.text, error.position) == (
        "WordList",
        "word",
        "敏**",
        "好的, ",
        4,
    )
    assert "敏感词" not in f"{error} {error!r}"
    assert list(got) == []
    assert got.ended
    assert closed.get(timeout=20)


@pytest.mark.parametrize("verb", ["chat", "stream"])
@pytest.mark.parametrize(
    ("action", "said"),
    [("mask", "好。***。再见"), ("drop", "好。再见"), ("raise", "好。")],
    ids=["mask", "drop", "raise"],
)
def test_actions_are_the_same_whole_and_streamed(server, connect, verb, action, said):
    text = "好。敏感词。再见"
    server.play(answer(v1(text)) if verb == "chat" else v1_stream(*text))
    client = connect("v1", safety=Safety(output=[WordList(["敏感词"], action=action)]))

    def ask():
        return client.chat("hi").text if verb == "chat" else client.stream("hi").reply().text

    if action == "raise":
        with pytest.raises(UnsafeContent) as caught:
            ask()
        assert caught.value.text == said
    else:
        assert ask() == said


def test_rules_follow_each_other(server, connect):
    server.play(answer(v1("一 坏。二 危险。三 坏")))
    rules = [WordList(["坏"], action="mask"), Topics([Topic("danger", any_of=["危险"])])]
    with pytest.raises(UnsafeContent) as caught:
        connect("v1", safety=Safety(output=rules)).chat("hi")
    assert caught.value.text == "一 ***。"
    assert caught.value.kind == "danger"


def test_a_function_is_a_rule(server, connect):
    server.play(v1_stream("hello. ", "wor", "ld"))
    got = connect("v1", safety=Safety(output=[str.upper])).stream("hi")
    assert [chunk.text for chunk in got if chunk.text] == ["HELLO. ", "WORLD"]


@pytest.mark.parametrize(("action", "said"), [("mask", "***"), ("drop", "")])
def test_an_answer_that_the_service_marks(server, connect, action, said):
    server.play(
        answer(v1("坏", need_clear_history=True)),
        stream(v1_event("前"), event(v1("坏", flag=4)), v1_event("后", last=True)),
    )
    client = connect("v1", safety=Safety(output=[ServiceFlags(action=action)]))
    reply = client.chat("hi")
    assert reply.text == said
    assert reply.safety[0].kind == "need_clear_history"
    got = client.stream("hi")
    assert got.reply().text == "前" + said
    assert got.complete


def test_by_default_it_is_an_error(server, connect):
    marked = v2_event({"content": "坏"}, "content_filter")
    server.play(stream(v2_event({"content": "前"}), marked, DONE))
    got = connect("v2", safety=Safety.default()).stream("hi")
    with pytest.raises(UnsafeContent) as caught:
        list(got)
    assert (caught.value.kind, caught.value.text) == ("content_filter", "前")


def test_a_stream_that_breaks_off_tells_only_what_was_safe(server, connect):
    server.play(stream(v1_event("好 敏"), v1_event("感词 x"), end=False))
    got = connect("v1", safety=Safety(output=[WordList(["敏感词"], action="mask")])).stream("hi")
    told = []
    got.on_end(lambda ended, error: told.append(error))
    with pytest.raises(StreamError) as caught:
        list(got)
    assert caught.value.text == "好 *** x"
    assert told == [caught.value]


def test_a_stream_that_is_resumed_goes_on_masked(server, connect):
    server.play(stream(v1_event("给 [MOBILE"), end=False), v1_stream("-1] 打"))
    got = connect("v1", safety=MASKED).stream(f"打给 {PHONE}", resume="continue")
    assert got.reply().text == f"给 {PHONE} 打"
    assert PHONE not in server.requests[1].body.decode()
    assert server.requests[1].json["messages"][1]["content"] == "给 [MOBILE"


def test_text_that_is_held_back_is_said_at_the_end(server, connect):
    chunks = STREAMS["text_generation"][:1]  # no finish_reason: the body just ends
    server.play(stream(*chunks))
    got = connect(safety=Safety(output=[WordList(["你们"], action="mask")])).stream("hi")
    told = []
    got.on_end(lambda ended, error: told.append(ended.reply().text))
    assert [chunk.text for chunk in got] == ["你"]
    assert told == ["你"]


def test_refused_questions_are_not_sent(server, connect):
    client = connect("v1", safety=Safety(input=[MaxLength(chars=3)]))
    for ask in (client.chat, client.stream):
        with pytest.raises(InputRefused):
            ask("long question")
    answers = list(client.map(["long question"]))
    assert isinstance(answers[0], InputRefused)
    assert server.requests == []


def test_map_takes_rules_too(server, connect):
    server.otherwise = answer(v1("[MOBILE-1]"))
    phones = [f"1381234567{n}" for n in range(5)]
    assert [reply.text for reply in connect("v1").map(phones, safety=MASKED)] == phones


def test_pictures_pass_untouched(server, connect):
    server.play(answer(OK["v2"]))
    parts = [{"type": "text", "text": PHONE}, {"type": "image_url", "image_url": {"url": f"http://x/{PHONE}.png"}}]
    connect("v2", safety=MASKED).chat([{"role": "user", "content": parts}])
    sent = server.requests[0].json["messages"][0]["content"]
    assert sent == [{"type": "text", "text": "[MOBILE-1]"}, parts[1]]
    assert parts[0]["text"] == PHONE


def test_what_is_no_safety_is_refused(connect):
    with pytest.raises(ConfigurationError, match=r"Safety\.default\(\)"):
        connect(safety=True)
    with pytest.raises(ConfigurationError, match=r"Safety\.default\(\)"):
        connect().chat("hi", safety="default")


def test_the_log_says_what_was_done_and_not_to_what(server, connect, caplog):
    server.play(answer(v1("敏感词")))
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UnsafeContent):
        connect("v1", safety=Safety(input=[Mask()], output=[WordList(["敏感词"])])).chat(f"打给 {PHONE}")
    assert PHONE not in caplog.text
    assert "敏感词" not in caplog.text
    events = [getattr(record, "event", None) for record in caplog.records]
    assert events[0] == "safety"
    assert events[-1] == "refused"
    assert "Mask mask mobile x1 in messages[0]" in caplog.text
