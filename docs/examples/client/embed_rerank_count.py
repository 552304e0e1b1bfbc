"""Vectors, the best of several documents, and the tokens of a text."""

from mock_server import MockServer
from qfkit import Client, ConfigurationError

texts = [f"第{number}段" for number in range(40)]

with MockServer() as server:
    account = server.account()
    with Client(server.url, account.credentials, dialect="v1") as client:
        vectors = client.embed(texts)  # 16 texts at most in a request: three requests
        print(len(vectors), "vectors of", len(vectors[0]), "numbers,", len(vectors.attempts), "requests")
        assert len(vectors) == 40

        ranking = client.rerank("明天的天气", ["苹果的价格", "明天的天气预报", "昨天的比赛"], top_n=2)
        for ranked in ranking:
            print(f"{ranked.score:.3f}", ranked.document)

        count = client.count_tokens("你好,世界")
        print(count.tokens, "tokens,", "estimated" if count.estimated else "as the service counts")
        assert not count.estimated

    with Client(server.url, account.credentials, dialect="text_generation") as client:
        assert client.count_tokens("你好,世界").estimated  # no such call there
        try:
            client.embed(texts)
        except ConfigurationError as error:
            print(error)
