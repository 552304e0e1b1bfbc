"""Python functions that a model may call, and a loop that ends."""

from typing import Literal

from mock_server import MockServer
from qfkit import Client, ToolLoopExceeded


def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> dict[str, object]:
    """The weather in a city, now.

    Args:
        city: its name, in Chinese.
        unit: of the temperature.
    """
    return {"city": city, "temperature": 22, "unit": unit}


with MockServer() as server:
    account = server.account()
    client = Client(server.url, account.credentials, dialect="v2", model="ernie-4.0-8k")

    # What a model would do: ask for a call with wrong arguments, then for the right one, then answer.
    account.reply(tool_calls=[{"name": "get_weather", "arguments": {"town": "北京"}}])
    account.reply(tool_calls=[{"name": "get_weather", "arguments": {"city": "北京"}}])
    account.reply("北京 22 度。")
    result = client.run_tools("北京天气怎么样?", tools=[get_weather], max_rounds=5)
    for step in result.steps:
        print(step.round, step.name, step.arguments, "->", step.error or step.result)
    print(result.reply.text)
    assert [step.error is None for step in result.steps] == [False, True]

    # The same call over and over: the loop ends.
    account.reply(tool_calls=[{"name": "get_weather", "arguments": {"city": "北京"}}], times=3)
    try:
        client.run_tools("天气?", tools=[get_weather], max_repeats=2)
    except ToolLoopExceeded as error:
        print(error)
    client.close()
