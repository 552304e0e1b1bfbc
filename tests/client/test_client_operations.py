"""embed, rerank, count_tokens: what stands on the wire, what is read, what is refused."""

from __future__ import annotations

import pytest
from scripted_server import answer

from mock_server import MockServer
from qfkit.client import (
    BadRequestError,
    Client,
    ConfigurationError,
    InvalidReply,
    RateLimits,
    RetryPolicy,
    TokenCount,
)
from qfkit.protocol.tokens import estimate

V1 = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
USAGE = {"prompt_tokens": 12, "total_tokens": 12}


def embedding_list(*vectors, order=None):
    """An answer as section 3.6 has it."""
    order = range(len(vectors)) if order is None else order
    data = [{"object": "embedding", "embedding": vectors[index], "index": index} for index in order]
    return {"id": "as-gjs275mj6s", "object": "embedding_list", "created": 1687155816, "data": data, "usage": USAGE}


def reranker_list(*results):
    """(index, score) pairs, as section 3.6 has them."""
    rows = [{"document": f"d{index}", "relevance_score": score, "index": index} for index, score in results]
    return {"id": "as-nc3zn3k8gn", "object": "reranker_list", "created": 1714094015, "results": rows, "usage": USAGE}


TOKENIZED = {"id": "as-biv9bzt19n", "object": "tokenizer.erniebot", "created": 1698655037, "usage": USAGE}


# On the wire


def test_v1_embeds_at_the_path_of_the_model(server, connect):
    server.play(answer(embedding_list([0.5, -1], [2, 0.25])))
    client = connect("v1", auth="bce-auth-v1")
    found = client.embed(["你好", "world"], model="bge-large-zh")
    assert found.vectors == ((0.5, -1.0), (2.0, 0.25))
    assert (len(found), found[1], list(found)) == (2, (2.0, 0.25), [(0.5, -1.0), (2.0, 0.25)])
    assert (found.model, found.usage.total_tokens, found.usage.completion_tokens) == ("bge-large-zh", 12, 0)
    assert [attempt.number for attempt in found.attempts] == [1]
    (request,) = server.requests
    assert request.path == f"{V1}/embeddings/bge_large_zh"
    assert request.json == {"input": ["你好", "world"]}


def test_v2_embeds_with_the_model_in_the_body(server, connect):
    server.play(answer(embedding_list([1.0])))
    assert connect("v2").embed(["你好"]).vectors == ((1.0,),)
    assert server.requests[0].path == "/v2/embeddings"
    assert server.requests[0].json == {"model": "embedding-v1", "input": ["你好"]}


def test_vectors_are_put_in_the_order_of_the_texts(server, connect):
    server.play(answer(embedding_list([1.0], [2.0], [3.0], order=[2, 0, 1])))
    assert connect("v2").embed(["a", "b", "c"]).vectors == ((1.0,), (2.0,), (3.0,))


def test_more_texts_than_the_model_takes_go_in_several_requests(server, connect):
    texts = [str(number) for number in range(35)]
    server.play(
        *(answer(embedding_list(*([float(n)] for n in part))) for part in (range(16), range(16, 32), range(32, 35)))
    )
    found = connect("v2").embed(texts)
    assert [vector[0] for vector in found] == [float(number) for number in range(35)]
    assert [len(request.json["input"]) for request in server.requests] == [16, 16, 3]
    assert found.usage.total_tokens == 36
    assert (len(found.attempts), len(found.raw)) == (3, 3)


def test_a_model_that_takes_one_text_gets_one(server, connect):
    server.play(answer(embedding_list([1.0])), answer(embedding_list([2.0])))
    assert connect("v2").embed(["a", "b"], model="tao-8k").vectors == ((1.0,), (2.0,))


def test_rerank_on_the_wire(server, connect):
    for dialect, path, extra in (
        ("v1", f"{V1}/reranker/bce_reranker_base", {}),
        ("v2", "/v2/rerank", {"model": "bce-reranker-base"}),
    ):
        server.requests.clear()
        server.play(answer(reranker_list((1, 0.9), (0, 0.1))))
        keys = {"auth": "bce-auth-v1"} if dialect == "v1" else {}
        ranking = connect(dialect, **keys).rerank("q", ["d0", "d1"], top_n=2)
        assert server.requests[0].path == path
        assert server.requests[0].json == {**extra, "query": "q", "documents": ["d0", "d1"], "top_n": 2}
        assert [(one.index, one.score, one.document) for one in ranking] == [(1, 0.9, "d1"), (0, 0.1, "d0")]
        assert (len(ranking), ranking.model, ranking.request_id) == (2, "bce-reranker-base", "as-nc3zn3k8gn")


def test_the_best_document_comes_first_whatever_a_gateway_does(server, connect):
    server.play(answer(reranker_list((0, 0.1), (2, 0.7), (1, 0.7))))
    assert [one.index for one in connect("v2").rerank("q", ["a", "b", "c"])] == [2, 1, 0]
    assert "top_n" not in server.requests[0].json


@pytest.mark.parametrize(("model", "sent"), [("ernie-4.0-8k", {"model": "ernie-4.0-8k"}), ("/chat/mine", {})])
def test_v1_asks_the_tokenizer(server, connect, model, sent):
    server.play(answer(TOKENIZED))
    count = connect("v1", auth="bce-auth-v1").count_tokens("你好", model=model)
    assert (int(count), count.tokens, count.estimated, len(count.attempts)) == (12, 12, False, 1)
    assert server.requests[0].path == f"{V1}/tokenizer/erniebot"
    assert server.requests[0].json == {"prompt": "你好", **sent}


@pytest.mark.parametrize("dialect", ["v2", "text_generation"])
def test_other_dialects_estimate_and_say_so(server, connect, dialect):
    count = connect(dialect).count_tokens("你好 world")
    assert count == TokenCount(tokens=estimate("你好 world"), estimated=True)
    assert server.requests == []


def test_an_empty_text_has_no_tokens(server, connect):
    for dialect in ("v1", "v2"):
        assert connect(dialect).count_tokens("") == TokenCount(tokens=0, estimated=False)
    assert server.requests == []


# The same machinery as for a chat


def test_failures_are_retried_and_told(server, connect, clock):
    busy = answer({"error_code": 336100, "error_msg": "try again"})
    server.play(busy, answer(embedding_list([1.0])))
    found = connect("v1", auth="bce-auth-v1", retry=RetryPolicy(jitter="none", base=2.0)).embed(["a"])
    assert [(attempt.code, attempt.waited) for attempt in found.attempts] == [(336100, 0.0), (None, 2.0)]
    assert clock.sleeps == [2.0]


def test_a_stale_token_is_renewed_once(server, connect, only):
    token = {"access_token": "24.fresh", "expires_in": 2592000}
    server.play(
        answer({"error_code": 110, "error_msg": "Access token invalid or no longer valid"}),
        answer(token),
        answer(TOKENIZED),
    )
    count = connect("v1", only("ak", "sk", "access_token")).count_tokens("你好")
    assert [attempt.wait_reason for attempt in count.attempts] == [None, "token-refresh"]


def test_tokens_count_against_the_limit_as_the_service_counted_them(server, connect, clock):
    server.play(answer(embedding_list([1.0])), answer(embedding_list([1.0])))
    client = connect("v2", limits=RateLimits(tpm=13))
    assert client.embed(["a"]).attempts[0].queued == 0
    found = client.embed(["b"])  # 1 estimated beside 12 counted: 13 fit
    assert found.attempts[0].queued == 0
    server.play(answer(embedding_list([1.0])))
    assert client.embed(["c"]).attempts[0].queued == pytest.approx(60, abs=0.1)


# Refused before anything is sent


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda client: client.embed("text"), r"write \[text\]"),
        (lambda client: client.embed([]), "texts is empty"),
        (lambda client: client.embed(["a", 1]), "list of strings"),
        (lambda client: client.embed(["a"], model="ernie-4.0-8k"), "is a model for chat"),
        (lambda client: client.embed(["\ud800"]), "lone surrogate U\\+D800"),
        (lambda client: client.rerank("q", []), "documents is empty"),
        (lambda client: client.rerank(["q"], ["a"]), "query is a string"),
        (lambda client: client.rerank("q", "a"), r"write \[document\]"),
        (lambda client: client.rerank("q", ["a"], model="embedding-v1"), "is a model for embeddings"),
        (lambda client: client.count_tokens(["a"]), "text is a string"),
    ],
)
@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_what_makes_no_request_is_refused(server, connect, dialect, ask, words):
    with pytest.raises(ConfigurationError, match=words):
        ask(connect(dialect))
    assert server.requests == []


def test_v1_names_its_embedding_models(connect):
    with pytest.raises(ConfigurationError, match=r"knows no model 'embed'.*embedding-v1, bge-large-zh.*/embeddings/my"):
        connect("v1").embed(["a"], model="embed")


@pytest.mark.parametrize("ask", [lambda client: client.embed(["a"]), lambda client: client.rerank("q", ["a"])])
def test_text_generation_says_where_to_go(server, connect, ask):
    with pytest.raises(ConfigurationError, match=r"only chats.*dialect='v1'.*dialect='v2'"):
        ask(connect("text_generation"))
    assert server.requests == []


def test_a_closed_client_says_so(connect):
    client = connect("v2")
    client.close()
    for ask in (
        lambda: client.embed(["a"]),
        lambda: client.rerank("q", ["a"]),
        lambda: client.count_tokens("a"),
        lambda: client.map(["a"]),
    ):
        with pytest.raises(ConfigurationError, match="was closed"):
            ask()


# Answers that are none

GOOD_RANK = {"document": "a", "relevance_score": 0.5, "index": 0}


@pytest.mark.parametrize(
    "body",
    [
        {"object": "embedding_list"},
        {"data": None},
        embedding_list([1.0]),
        embedding_list([1.0], ["x"]),
        embedding_list([1.0], [True]),
        embedding_list([1.0], [2.0], [3.0]),
        {"data": [{"embedding": [1.0], "index": 0}, {"embedding": [1.0], "index": 0}]},
        {"data": [{"embedding": [1.0], "index": "0"}, {"embedding": [1.0], "index": 1}]},
    ],
)
def test_vectors_that_do_not_fit_the_texts_are_no_reply(server, connect, body):
    server.play(answer(body))
    with pytest.raises(InvalidReply, match="answered embeddings with something else"):
        connect("v2").embed(["a", "b"])


@pytest.mark.parametrize("change", [{"index": 1}, {"index": -1}, {"index": True}, {"relevance_score": "high"}])
def test_a_ranking_that_does_not_fit_the_documents_is_no_reply(server, connect, change):
    server.play(answer({"results": [GOOD_RANK | change]}))
    with pytest.raises(InvalidReply, match="answered rerank with something else"):
        connect("v2").rerank("q", ["a"])


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": -1}, {"total_tokens": "12"}, {"total_tokens": True}])
def test_a_count_that_is_none_is_no_reply(server, connect, usage):
    server.play(answer({"object": "tokenizer.erniebot", "usage": usage}))
    with pytest.raises(InvalidReply, match="answered tokenizer with something else"):
        connect("v1", auth="bce-auth-v1").count_tokens("a")


# Against the mock


@pytest.fixture(scope="module")
def mock():
    with MockServer(port=0) as server:
        yield server


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_the_mock_answers(mock, dialect, clock):
    account = mock.account()
    with Client(mock.url, account.credentials, dialect) as client:
        vectors = client.embed(["你好", "世界", "你好"])
        assert len(vectors) == 3
        assert vectors[0] == vectors[2] != vectors[1]
        ranking = client.rerank("天气", ["今天天气", "苹果", "天气预报"], top_n=2)
        assert len(ranking) == 2
        assert ranking.results[0].score >= ranking.results[1].score
        count = client.count_tokens("你好,世界")
        assert count.tokens > 0
        assert count.estimated == (dialect == "v2")
        with pytest.raises(BadRequestError):
            client.rerank("q", ["d"] * 65)
    assert all(entry.signature is None or entry.signature.ok for entry in account.requests)
