"""A conversation: history, trimming, what the service strikes out, streams, undo, save and load."""

import tempfile
from pathlib import Path

from mock_server import MockServer
from qfkit import Client, ConfigurationError, HistoryLimits

with MockServer() as server, tempfile.TemporaryDirectory() as folder:
    account = server.account()
    client = Client(server.url, account.credentials, dialect="v1", model="ernie-4.0-8k")

    account.reply("你好, 小明!")
    account.reply("你叫小明。")
    talk = client.conversation(system="你是一个助手")
    print(talk.say("你好, 我叫小明", temperature=0.5).text)
    print(talk.say("我叫什么?").text)  # the first turn goes along
    assert len(talk) == 2
    assert len(talk.messages) == 4

    # A stream enters the history when it has been read to its end, and not before.
    account.stream(["床前", "明月光"])
    for chunk in talk.stream("背一句诗"):
        print(chunk.text, end="", flush=True)
    print()
    assert talk.messages[-1]["content"] == "床前明月光"
    talk.undo()  # question and answer

    # Save and go on later: JSON, for the owner's eyes only, without keys.
    path = Path(folder) / "talk.json"
    talk.save(path)
    again = client.conversation(load=path)
    assert again.messages == talk.messages

    # What does not fit is dropped, the oldest turns first; the system prompt and the question stay.
    short = client.conversation(load=path, limits=HistoryLimits(chars=30))
    account.reply("好")
    short.say("再说一遍")
    print("turns dropped:", short.trimmed)
    assert short.trimmed == 1
    try:
        short.say("问" * 100)
    except ConfigurationError as error:
        print(error)  # refused before it is sent, with the numbers

    client.close()
