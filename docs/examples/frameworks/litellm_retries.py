"""LiteLLM on v2: a limit is reached once, and its retry gets through."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches a price list when it is imported

import litellm

from mock_server import MockServer

with MockServer() as server:
    account = server.account()
    account.fail("rpm_rate_limit_exceeded", retry_after=0.01).then.reply("好")
    answer = litellm.completion(
        model="openai/ernie-4.0-turbo-8k",
        api_base=f"{server.url}/v2",
        api_key=account.credentials.bearer_token,
        messages=[{"role": "user", "content": "你好"}],
        max_retries=1,
    )
    assert answer.choices[0].message.content == "好"
    assert [entry.status for entry in account.requests] == [429, 200]
