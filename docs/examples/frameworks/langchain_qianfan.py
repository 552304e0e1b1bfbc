"""LangChain's QianfanChatEndpoint and QianfanEmbeddingsEndpoint, unmodified: only the SDK's variables change."""

import os

from mock_server import MockServer

with MockServer() as server:
    account = server.account()
    os.environ.update(account.env())

    from langchain_community.chat_models import QianfanChatEndpoint  # the SDK reads the environment at its first use
    from langchain_community.embeddings import QianfanEmbeddingsEndpoint

    account.stream(["你", "好"])
    model = QianfanChatEndpoint(model="ERNIE-4.0-8K")
    assert "".join(chunk.content for chunk in model.stream("你好")) == "你好"
    assert account.requests[-1].dialect == "v1"
    assert len(QianfanEmbeddingsEndpoint().embed_query("你好")) == 384
