"""LangChain's ChatOpenAI on v2: the model calls a tool, the test says which and with what."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from mock_server import MockServer


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}:晴"


with MockServer() as server:
    account = server.account()
    account.call_tool("weather", {"city": "北京"}).then.reply("北京今天晴。")
    model = ChatOpenAI(
        model="ernie-4.0-turbo-8k", base_url=f"{server.url}/v2", api_key=account.credentials.bearer_token
    ).bind_tools([weather])

    question = HumanMessage("北京天气?")
    asked = model.invoke([question])
    [call] = asked.tool_calls
    result = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
    assert model.invoke([question, asked, result]).content == "北京今天晴。"
    assert account.requests[-1].json["messages"][-1]["content"] == "北京:晴"
