"""openai-python, unmodified, against the mock."""

import openai

from mock_server import MockServer

with MockServer() as server:
    account = server.account()
    account.reply("你好")
    client = openai.OpenAI(base_url=f"{server.url}/v2", api_key=account.credentials.bearer_token)
    answer = client.chat.completions.create(
        model="ernie-4.0-turbo-8k", messages=[{"role": "user", "content": "你好"}], temperature=0.8
    )
    assert answer.choices[0].message.content == "你好"
    client.close()
