"""LlamaIndex: Qianfan on v1, and OpenAILike on v2."""

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from llama_index.llms.qianfan import Qianfan

from mock_server import MockServer

with MockServer() as server:
    account = server.account()
    keys = account.credentials
    account.reply("好", times=2)

    signed = Qianfan(
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        model_name="ERNIE-4.0-8K",
        endpoint_url=f"{server.url}/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions_pro",
        context_window=8192,
    )
    compatible = OpenAILike(
        model="ernie-4.0-turbo-8k", api_base=f"{server.url}/v2", api_key=keys.bearer_token, is_chat_model=True
    )
    for llm in (signed, compatible):
        assert llm.chat([ChatMessage(role="user", content="你好")]).message.content == "好"
    assert [entry.dialect for entry in account.requests] == ["v1", "v2"]
