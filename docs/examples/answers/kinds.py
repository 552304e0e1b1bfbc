"""Kinds of answers: templates, functions, sequences, echoes, tool calls, refusals."""

import json

from mock_server import MockServer
from qfkit import Client

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
                "required": ["city"],
            },
        },
    }
]

with MockServer() as server:
    account = server.account()
    account.template("第{{ number }}次, 您问: {{ text }}")
    account.reply(lambda q: f"{q.model} 收到 {len(q.messages)} 条消息")
    account.sequence(["晴", "雨"])
    account.echo("> ")
    account.call_tool()
    account.refuse("sensitive-input")
    account.on(operation="embeddings").reply(vectors=[[1.0, 0.0], [0.6, 0.8]])
    account.on(operation="rerank").reply(scores=[0.2, 0.9])
    account.reply("见参考", search_results=["https://example.com"], usage={"completion_tokens": 100})

    with Client(server.url, account.credentials, "v2") as client:
        print(client.chat("天气").text)
        print(client.chat("天气").text)
        print(client.chat("今天").text, client.chat("明天").text)
        print(client.chat("回声").text)

        called = client.chat("北京天气", tools=TOOLS)
        print(called.finish_reason, json.loads(called.tool_calls[0]["function"]["arguments"]))

        refused = client.chat("?")
        print(refused.finish_reason, refused.flag, refused.need_clear_history)
        print(client.chat("查一下").raw["search_results"])

        near = client.embed(["猫", "狗"], model="embedding-v1")
        assert near.vectors == ((1.0, 0.0), (0.6, 0.8))
        best = client.rerank("宠物", ["石头", "猫"]).results[0]
        print(best)

    # The same as data, as the configuration file and the control API have it.
    account.play([{"template": "{{ text }}", "times": 2}, {"sequence": ["一", "二"], "cycle": True}])
    print(account.waiting)
