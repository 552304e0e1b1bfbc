"""Building answers in each dialect's own shape (wire reference 3.3 to 3.9 and 4.2 to 4.4)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from random import Random

import msgspec

from mock_server import generate
from mock_server.answers.beside import NOTHING, Beside
from mock_server.asking import Asked
from mock_server.delivery import Reply, Write
from mock_server.faults.stream import Stream, stream_reply
from mock_server.pacing import Pace
from mock_server.saying import Call, Said, say
from mock_server.scenario import Answer, Custom
from qfkit.protocol.dialects import Route
from qfkit.protocol.errors import ErrorSpec, envelope, translate
from qfkit.protocol.messages import Json
from qfkit.protocol.models import v2_model_objects
from qfkit.protocol.tokens import estimate

JSON = "application/json; charset=utf-8"
SSE = "text/event-stream; charset=utf-8"
JSON_LINES = "application/x-ndjson; charset=utf-8"

_encode = msgspec.json.encode

#: Stand for the id and the time in events that are kept; as long as the real ones, and never made by the mock.
_BLANK_ID = "as-QFKITBLANK"
_BLANK_ID_BYTES, _BLANK_TIME = _BLANK_ID.encode(), b"1000000000"
_BLANKS: dict[tuple[Route, Asked, Said], list[bytes]] = {}
_MOST_BLANKS = 512


def build(call: Call, action: Answer | Custom) -> Reply:
    """The answer to a valid request, as the service would send it, or as a fault makes of it."""
    builder = _BUILDERS[call.route.dialect, call.route.operation]
    if isinstance(action, Answer):
        return builder(call, action)
    return action.apply(lambda text: builder(call, Answer(text=text)))


def refuse(spec: ErrorSpec, *, request_id: str, message: str | None = None, uuid: str = "") -> Reply:
    """An error in its dialect's own envelope, on one line: the Python SDK parses only the first (8.8)."""
    shown = uuid if spec.dialect == "iam" else request_id
    headers = [("Content-Type", JSON if spec.dialect != "v2" else "application/json")]
    if spec.dialect == "iam":
        text = message or spec.message
        headers += [
            ("X-Bce-Error-Code", str(spec.code)),
            ("X-Bce-Error-Message", text),
            ("x-bce-request-id", uuid),
        ]
    body = _encode(envelope(spec, message=message, request_id=shown))
    return Reply(spec.status, headers, (Write(0.0, body + (b"\n" if spec.dialect == "oauth" else b"")),))


def reply_json(data: object, headers: list[tuple[str, str]], status: int = 200) -> Reply:
    """Compact JSON in plain UTF-8, without escapes, as the service writes it (3.3)."""
    return Reply(status, [("Content-Type", JSON), *headers], (Write(0.0, _encode(data)),))


# Chat


def _v1_headers(call: Call, prompt_tokens: int) -> list[tuple[str, str]]:
    return [
        ("X-Baidu-Request-Id", call.request.header("request_id") or call.uuid.replace("-", "")),
        *call.admission.remaining.headers(prompt_tokens),
        ("Statement", "AI-generated"),
    ]


def _headers(call: Call, prompt_tokens: int) -> list[tuple[str, str]]:
    if call.route.dialect == "v1":
        return _v1_headers(call, prompt_tokens)
    return [("X-Bce-Request-Id", call.uuid)]


def _chat(call: Call, answer: Answer) -> Reply:
    said = say(call, answer)
    call.admission.settle(said.prompt_tokens + said.completion_tokens)
    headers = _headers(call, said.prompt_tokens)
    dialect = call.route.dialect
    if not call.asked.streamed:
        reply = reply_json(_WHOLE[dialect](call, said), headers)
        reply.notes += said.notes
        return reply
    lines = dialect == "text_generation" and "text/event-stream" not in (call.request.header("accept") or "")
    times = _times(call, answer, said)
    stream = Stream(
        payloads=_events(call, said, times),
        times=times,
        marked=dialect == "v2",
        lines=lines,
        kind=JSON_LINES if lines else SSE,
        headers=headers,
        error=_error_event(call, answer),
    )
    reply = stream_reply(stream, answer.delivery)
    reply.notes += said.notes
    return reply


def _events(call: Call, said: Said, times: Sequence[float]) -> list[bytes]:
    """The JSON of each event of a stream, one line each.

    Events of answers that are given again differ in their id and time alone. Those stand first in each, so they are
    filled into what was encoded before.
    """
    build = _EVENTS[call.route.dialect]
    # Ids of tool calls follow from the request's.
    if said.tool_calls or said.fresh or not call.asked.remembered:
        return [_encode_line(data) for data in build(call, said, times)]
    key = (call.route, call.asked, said)
    blanks = _BLANKS.get(key)
    if blanks is None:
        blank = msgspec.structs.replace(call, request_id=_BLANK_ID, now=float(_BLANK_TIME))
        blanks = [_encode_line(data) for data in build(blank, said, [0.0] * len(times))]
        if len(_BLANKS) >= _MOST_BLANKS:
            _BLANKS.clear()
        _BLANKS[key] = blanks
    given_id, now, last = call.request_id.encode(), call.now, times[-1]
    moments = [*times[: len(blanks) - 1], last]
    return [
        blank.replace(_BLANK_ID_BYTES, given_id, 1).replace(_BLANK_TIME, b"%d" % (now + at), 1)
        for blank, at in zip(blanks, moments, strict=True)
    ]


def _times(call: Call, answer: Answer, said: Said) -> tuple[float, ...]:
    """When each event of content leaves; the settings say it where the step does not."""
    pace: Pace = answer.delivery
    if not answer.delivery.timed:
        pace = _settings_pace(call.settings.ttft, call.settings.interval)
    texts = said.pieces
    if call.route.dialect == "v2":
        texts = ((said.reasoning,) if said.reasoning else ()) + texts
        texts += tuple(given["arguments"] for given in said.tool_calls)
    if not pace.jittered:
        return pace.times(texts)
    return pace.times(texts, generate.seeded(call.settings.seed, "pace", str(pace.seed), str(answer.turn)))


@lru_cache(maxsize=64)
def _settings_pace(ttft: float, interval: float) -> Pace:
    return Pace(ttft, interval)


def _error_event(call: Call, answer: Answer) -> bytes | None:
    """The scripted error in the middle of a stream, in the dialect's own envelope."""
    delivery = answer.delivery
    if delivery.error is None:
        return None
    spec = translate(delivery.error, call.route.dialect)
    return _encode_line(envelope(spec, message=delivery.error_message, request_id=call.request_id))


#: Characters that JSON leaves as they are and Python's `str.splitlines` takes for line ends: a client that reads a
#: stream by ``iter_lines(decode_unicode=True)``, as tutorials do, would be given half an event.
_LINE_ENDS = {end.encode(): f"\\u{ord(end):04x}".encode() for end in "\x85\u2028\u2029"}


def _encode_line(data: Json) -> bytes:
    line = _encode(data)
    for end, escape in _LINE_ENDS.items():
        if end in line:
            line = line.replace(end, escape)
    return line


def _result_whole(call: Call, said: Said) -> Json:
    data = call.base("completion" if call.route.operation == "completions" else "chat.completion")
    data |= {
        "result": said.text,
        "is_truncated": said.truncated,
        "need_clear_history": said.beside.need_clear_history,
        "finish_reason": said.finish,
    }
    if said.beside is not NOTHING:
        data |= _safety(said.beside) | _search_info(said.beside)
    if said.tool_calls:
        data["function_call"] = _function_call(said)
    data["usage"] = said.usage()
    return data


def _safety(beside: Beside) -> Json:
    """What the content filter says of an answer (3.3, 4.2): ``ban_round`` comes with ``need_clear_history``."""
    found: Json = {} if beside.flag is None else {"flag": beside.flag}
    if beside.ban_round is not None or beside.need_clear_history:
        found["ban_round"] = -1 if beside.ban_round is None else beside.ban_round
    return found


def _search_info(beside: Beside) -> Json:
    return {"search_info": {"search_results": list(beside.search_results)}} if beside.search_results else {}


def _function_call(said: Said) -> Json:
    first = said.tool_calls[0]
    return {"name": first["name"], "thoughts": "", "arguments": first["arguments"]}


def _v1_events(call: Call, said: Said, times: Sequence[float]) -> Iterator[Json]:
    kind = "completion" if call.route.operation == "completions" else "chat.completion"
    length, done = max(1, len(said.text)), 0
    for index, piece in enumerate((*said.pieces, "")):
        last = index == len(said.pieces)
        at = times[-1] if last else times[index]
        done += len(piece)
        data = call.base(kind) | {
            "created": int(call.now + at),
            "sentence_id": index,
            "is_end": last,
            "is_truncated": last and said.truncated,
            "result": piece,
            "need_clear_history": last and said.beside.need_clear_history,
            "finish_reason": said.finish if last else "normal",
        }
        if last and said.beside is not NOTHING:
            data |= _safety(said.beside) | _search_info(said.beside)
        if last and said.tool_calls:
            data["function_call"] = _function_call(said)
        data["usage"] = said.usage() if last else said.usage(done / length)
        yield data


def _v2_whole(call: Call, said: Said) -> Json:
    message: Json = {"role": "assistant", "content": said.text}
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    if said.tool_calls:
        message["tool_calls"] = [_tool_call(given) for given in said.tool_calls]
    choice = {"index": 0, "message": message, "finish_reason": said.finish, "flag": 0}
    data = call.base("chat.completion") | {
        "model": call.body["model"],
        "choices": [choice],
        "usage": _v2_usage(said),
    }
    if said.beside is not NOTHING:
        choice |= _v2_safety(said.beside)
        data |= _v2_search(said.beside)
    return data


def _v2_safety(beside: Beside) -> Json:
    # need_clear_history stood in the choice in 2024 (4.2); it is said only where the script says so.
    return _safety(beside) | ({"need_clear_history": True} if beside.need_clear_history else {})


def _v2_search(beside: Beside) -> Json:
    return {"search_results": list(beside.search_results)} if beside.search_results else {}


def _tool_call(given: Json) -> Json:
    return {
        "id": given["id"],
        "type": "function",
        "function": {"name": given["name"], "arguments": given["arguments"]},
    }


def _v2_usage(said: Said) -> Json:
    usage = said.usage()
    if said.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": estimate(said.reasoning)}
    return usage


def _v2_events(call: Call, said: Said, times: Sequence[float]) -> Iterator[Json]:
    options = call.body.get("stream_options") or {}
    deltas: list[Json] = []
    if said.reasoning:
        deltas.append({"content": None, "reasoning_content": said.reasoning})
    deltas += [{"content": piece} for piece in said.pieces]
    # A tool call comes whole: the Python SDK needs its id, type and name in every delta (4.3).
    calls = [{"index": index} | _tool_call(given) for index, given in enumerate(said.tool_calls)]
    deltas += [{"content": "", "tool_calls": [given]} for given in calls]
    if deltas:
        deltas[0]["role"] = "assistant"
    deltas.append({"content": ""})
    for index, delta in enumerate(deltas):
        choice: Json = {"index": 0, "delta": delta}
        last = index == len(deltas) - 1
        if last:
            choice["finish_reason"] = said.finish
        choice["flag"] = 0
        data = call.base("chat.completion.chunk") | {
            "created": int(call.now + (times[-1] if last else times[index])),
            "model": call.body["model"],
            "choices": [choice],
        }
        if last and said.beside is not NOTHING:
            choice |= _v2_safety(said.beside)
            data |= _v2_search(said.beside)
        if (last and options.get("include_usage") is True) or options.get("chunk_include_usage") is True:
            data["usage"] = _v2_usage(said)
        yield data


def _text_generation_events(call: Call, said: Said, times: Sequence[float]) -> Iterator[Json]:
    for piece, at in zip(said.pieces, times, strict=False):
        choice = {"index": 0, "delta": {"content": piece}}
        yield call.base("chat.completion.chunk") | {"created": int(call.now + at), "choices": [choice]}
    choice = {"index": 0, "delta": {}, "finish_reason": said.finish}
    yield call.base("chat.completion.chunk") | {"choices": [choice], "usage": said.usage()}


_WHOLE: dict[str, Callable[[Call, Said], Json]] = {
    "text_generation": _result_whole,
    "v1": _result_whole,
    "v2": _v2_whole,
}
_EVENTS: dict[str, Callable[[Call, Said, Sequence[float]], Iterator[Json]]] = {
    "text_generation": _text_generation_events,
    "v1": _v1_events,
    "v2": _v2_events,
}


# The other operations


def _embeddings(call: Call, answer: Answer) -> Reply:
    given = call.body["input"]
    texts = [given] if isinstance(given, str) else given
    dims = (call.asked.model.dims if call.asked.model else None) or 384
    scripted = answer.beside.vectors
    vectors = [*scripted[: len(texts)], *(generate.embedding(text, dims) for text in texts[len(scripted) :])]
    data = [{"object": "embedding", "embedding": vector, "index": index} for index, vector in enumerate(vectors)]
    tokens = sum(map(estimate, texts))
    named = {"model": call.body["model"]} if call.route.dialect == "v2" else {}
    body = call.base("embedding_list") | named | {"data": data, "usage": _prompt_usage(tokens)}
    return reply_json(body, _headers(call, tokens))


def _rerank(call: Call, answer: Answer) -> Reply:
    query, documents = call.body["query"], call.body["documents"]
    scripted = answer.beside.scores
    scores = [*scripted, *(generate.relevance(query, document) for document in documents[len(scripted) :])]
    scored = [
        {"document": document, "relevance_score": score, "index": index}
        for index, (document, score) in enumerate(zip(documents, scores, strict=False))
    ]
    scored.sort(key=lambda item: (-float(item["relevance_score"]), item["index"]))
    tokens = estimate(query) + sum(map(estimate, documents))
    results = scored[: call.body.get("top_n") or len(scored)]
    body = call.base("reranker_list") | {"results": results, "usage": _prompt_usage(tokens)}
    return reply_json(body, _headers(call, tokens))


def _text2image(call: Call, _answer: Answer) -> Reply:
    width, height = _size(call)
    tokens = estimate(call.asked.prompt)
    random = _image_random(call)
    data = [
        {"object": "image", "b64_image": _base64(generate.png(width, height, random)), "index": index}
        for index in range(1, (call.body.get("n") or 1) + 1)  # counts from 1 in the service's own sample (3.7)
    ]
    return reply_json(call.base("image") | {"data": data, "usage": _prompt_usage(tokens)}, _headers(call, tokens))


def _images(call: Call, _answer: Answer) -> Reply:
    width, height = _size(call)
    random = _image_random(call)
    origin = f"{call.request.scheme}://{call.request.header('host', '')}"
    urls = [
        {"url": f"{origin}/__qfkit/images/{width}x{height}-{random.getrandbits(48):012x}.png"}
        for _ in range(call.body.get("n") or 1)
    ]
    return reply_json({"id": call.request_id, "created": int(call.now), "data": urls}, _headers(call, 0))


def _tokenizer(call: Call, _answer: Answer) -> Reply:
    tokens = estimate(call.body["prompt"])
    return reply_json(call.base("tokenizer.erniebot") | {"usage": _prompt_usage(tokens)}, _headers(call, tokens))


def _models(call: Call, _answer: Answer) -> Reply:
    return reply_json({"object": "list", "data": v2_model_objects()}, _headers(call, 0))


def _size(call: Call) -> tuple[int, int]:
    width, _, height = str(call.body.get("size") or "1024x1024").partition("x")
    ok = width.isascii() and height.isascii() and width.isdigit() and height.isdigit()
    return (min(int(width[:5]), 2048), min(int(height[:5]), 2048)) if ok else (1024, 1024)


def _image_random(call: Call) -> Random:
    return generate.seeded(call.settings.seed, call.asked.prompt, str(call.body.get("seed")))


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _prompt_usage(tokens: int) -> Json:
    return {"prompt_tokens": tokens, "total_tokens": tokens}


_BUILDERS: dict[tuple[str, str], Callable[[Call, Answer], Reply]] = {
    ("text_generation", "chat"): _chat,
    ("v1", "chat"): _chat,
    ("v1", "completions"): _chat,
    ("v1", "image2text"): _chat,
    ("v1", "plugins"): _chat,
    ("v1", "plugin"): _chat,
    ("v1", "embeddings"): _embeddings,
    ("v1", "rerank"): _rerank,
    ("v1", "text2image"): _text2image,
    ("v1", "tokenizer"): _tokenizer,
    ("v2", "chat"): _chat,
    ("v2", "embeddings"): _embeddings,
    ("v2", "rerank"): _rerank,
    ("v2", "images"): _images,
    ("v2", "models"): _models,
}
