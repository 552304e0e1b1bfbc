"""Rules: what is answered depends on what is asked; the journal says which rule it was, or which was nearest."""

from mock_server import MockServer
from qfkit import Client, QianfanError, RetryPolicy

with MockServer() as server:
    account = server.account()
    account.on(model="ernie-4.0-8k", contains="天气").reply("晴")
    account.on(contains="天气", role="user").fail(18, times=1).then.reply("多云")
    client = Client(server.url, account.credentials, dialect="v2", retry=RetryPolicy(attempts=1))

    assert client.chat("杭州天气", model="ernie-4.0-8k").text == "晴"
    try:
        client.chat("杭州天气", model="ernie-3.5-8k")
    except QianfanError as error:
        print(error)
    assert client.chat("杭州天气", model="ernie-3.5-8k").text == "多云"

    client.chat("你好", model="ernie-4.0-8k")  # no rule wants it: a made-up answer
    for entry in account.requests:
        print(entry.answered_by)
    for line in account.requests[-1].near_misses:
        print(line)

    account.strict = True  # from here on it is refused
    refusal = ""
    try:
        client.chat("你好", model="ernie-4.0-8k")
    except QianfanError as error:
        refusal = str(error)
    print(refusal)
    assert "the nearest is rule 1" in refusal
    client.close()
