"""Short questions merged into one request, and their answers told apart again."""

import re

from mock_server import MockServer
from qfkit import Client


def model(question):
    """Stands for a model that does as it is told."""
    asked = re.findall(r"\[Q(\d+)-(\w+)\] (.*)", question.text)
    return "\n".join(f"[A{n}-{word}]关于{text}的回答[/A{n}-{word}]" for n, word, text in asked)


with MockServer() as server:
    account = server.account().reply(model)
    with Client(server.url, account.credentials, "v2") as client:
        for merged in client.merge(["天气", "股市", "足球"]):
            print(merged.question, "->", merged.text, f"(with {merged.together - 1} others)")
    assert len(account.requests) == 1
