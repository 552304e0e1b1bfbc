"""Letting a model call Python functions: an answer that asks for calls, their results, the next answer, and an end.

The loop always ends: after ``max_rounds`` rounds of calls, or when the model asks once more for a call that it has had
``max_repeats`` times with the same arguments.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from qfkit.client.calls import Prompt, as_messages
from qfkit.client.exceptions import ConfigurationError, ToolError, ToolLoopExceeded
from qfkit.client.history import answer_message
from qfkit.client.replies import Reply
from qfkit.client.schemas import Tool, ToolFunction
from qfkit.protocol.messages import Json, Message
from qfkit.protocol.models import by_endpoint, by_name

if TYPE_CHECKING:
    from qfkit.client.client import Client

logger = logging.getLogger("qfkit.client")

__all__ = ["Tool", "ToolFunction", "ToolResult", "ToolStep", "run_tools"]

_MOST_THREADS: Final = 8
_LONGEST_ERROR: Final = 500

Call: TypeAlias = Callable[[Sequence[Message], dict[str, Any]], Reply]
#: Sends the messages of the turn so far; a conversation puts its history in front.
Ask: TypeAlias = Callable[[Sequence[Message], Call], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStep:
    """One call that the model asked for.

    Attributes:
        round: of calls, from 1; calls of one answer share it.
        id: the model's name for the call (v2), None where it gave none.
        name: of the tool.
        arguments: decoded; the text as it came when it is no JSON.
        result: what the model was told, as text.
        error: what went wrong, in one line, None when nothing did.
        elapsed: seconds.
    """

    round: int
    id: str | None
    name: str
    arguments: Any
    result: str
    error: str | None = None
    elapsed: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """The last answer, and what happened on the way. ``str(result)`` is its text.

    Attributes:
        reply: the last answer, which asks for no more calls.
        steps: every call, in the order in which the model asked.
        rounds: answers that asked for calls.
        messages: the whole turn: question, calls, results, answer.
        replies: every answer, the last one too; each has the usage of its own request.
    """

    reply: Reply
    steps: tuple[ToolStep, ...]
    rounds: int
    messages: tuple[Json, ...] = field(repr=False)
    replies: tuple[Reply, ...] = field(repr=False)

    @property
    def text(self) -> str:
        """The text of the last answer."""
        return self.reply.text

    def __str__(self) -> str:
        return self.reply.text


def run_tools(
    client: Client,
    prompt: Prompt,
    tools: Sequence[ToolFunction | Tool],
    *,
    max_rounds: int = 5,
    max_repeats: int = 2,
    parallel: bool = False,
    strict: bool = False,
    on_text: Callable[[str], None] | None = None,
    params: Mapping[str, Any] | None = None,
    ask: Ask = lambda messages, call: call(messages, {}),
) -> ToolResult:
    """Ask, and let the model call Python functions until it has its answer (v1, v2).

    What goes wrong with a call is told to the model as its result: an unknown tool, arguments that do not fit the
    annotations, an exception (type and message only). It may then try again.

    Args:
        client: asks.
        prompt: as `Client.chat`.
        tools: functions with annotated arguments; name, docstring and annotations are shown to the model.
        max_rounds: how many answers may ask for calls, from 1.
        max_repeats: how often the same call with the same arguments may come, from 1.
        parallel: carry out the calls of one answer in threads; else in their order.
        strict: raise what goes wrong with a call instead of telling the model.
        on_text: is given the text of the answers as it is written; the requests are then streams.
        params: as `Client.chat`: ``model``, ``system``, ``temperature`` …
        ask: sends the messages of the turn so far; a conversation puts its history in front.

    Raises:
        ToolLoopExceeded: the model did not come to an end.
        ToolError: with ``strict``, what a call failed with.
        ConfigurationError: a function cannot be a tool, or the dialect has none.
        QianfanError: as `Client.chat`.
    """
    dialect = client.dialect
    if dialect == "text_generation":
        raise ConfigurationError("text_generation has no tools: use dialect='v2', or 'v1' with a model for functions")
    counts: tuple[tuple[str, object], ...] = (("max_rounds", max_rounds), ("max_repeats", max_repeats))
    for name, value in counts:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigurationError(f"{name} is a whole number from 1; got {value!r}")
    known = _named(tools)
    fields = {**(params or {}), **_FIELDS[dialect](list(known.values()))}
    answer = _asker(client, fields, on_text)
    turn: list[Json] = as_messages(prompt)
    runner = _Runner(dialect, known, max_repeats, parallel, strict)
    replies: list[Reply] = []
    for number in range(1, max_rounds + 2):
        reply = ask(turn, answer)
        replies.append(reply)
        message = answer_message(dialect, reply)
        if not reply.tool_calls:
            return ToolResult(
                reply=reply,
                steps=tuple(runner.steps),
                rounds=number - 1,
                messages=(*turn, message),
                replies=tuple(replies),
            )
        if number <= max_rounds:
            turn += [message, *runner.run(number, _calls(message, number))]
    raise ToolLoopExceeded(
        f"the model still asks for calls after {max_rounds} rounds: {runner.told()}. Allow more with max_rounds=, or "
        "make the results say more clearly that they are final",
        rounds=max_rounds,
        steps=runner.steps,
    )


class _Runner:
    """Carries out calls, and keeps count of them."""

    def __init__(self, dialect: str, tools: Mapping[str, Tool], max_repeats: int, parallel: bool, strict: bool) -> None:
        self.steps: list[ToolStep] = []
        self._dialect = dialect
        self._tools = tools
        self._max_repeats = max_repeats
        self._parallel = parallel
        self._strict = strict
        self._seen: Counter[str] = Counter()

    def told(self) -> str:
        """The calls so far, for a message."""
        counts = Counter(step.name for step in self.steps)
        return ", ".join(f"{name} {count} times" for name, count in counts.items())

    def run(self, number: int, calls: Sequence[_Wanted]) -> list[Json]:
        """The results of one answer's calls, as messages in the same order.

        Raises:
            ToolLoopExceeded: one was asked for too often; none of this answer's calls is carried out.
        """
        for call in calls:
            key = f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"
            self._seen[key] += 1
            if self._seen[key] > self._max_repeats:
                raise ToolLoopExceeded(
                    f"in round {number} the model asks again for {call.name} with arguments that it has used "
                    f"{self._max_repeats} times: it goes round in circles. Allow more with max_repeats=",
                    rounds=number,
                    steps=self.steps,
                )
        if self._parallel and len(calls) > 1:
            with ThreadPoolExecutor(min(len(calls), _MOST_THREADS)) as pool:
                steps = list(pool.map(lambda call: self._step(number, call), calls))
        else:
            steps = [self._step(number, call) for call in calls]
        self.steps += steps
        return [_RESULTS[self._dialect](call, step.result) for call, step in zip(calls, steps, strict=True)]

    def _step(self, number: int, call: _Wanted) -> ToolStep:
        began = time.perf_counter()
        result, error = self._carry_out(call)
        elapsed = time.perf_counter() - began
        logger.info("tool %s: %s in %.3f s", call.name, "failed" if error else "done", elapsed)
        return ToolStep(
            round=number,
            id=call.id,
            name=call.name,
            arguments=call.arguments,
            result=result,
            error=error,
            elapsed=elapsed,
        )

    def _carry_out(self, call: _Wanted) -> tuple[str, str | None]:
        tool = self._tools.get(call.name)
        if tool is None:
            near = get_close_matches(call.name, self._tools, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            return self._failed(call, f"there is no tool {call.name!r}.{meant} Tools: {', '.join(self._tools)}", None)
        if not isinstance(call.arguments, dict):
            return self._failed(call, "the arguments are not a JSON object", None)
        try:
            value = tool.call(call.arguments)
        except msgspec.ValidationError as error:
            return self._failed(call, f"wrong arguments: {error}", error)
        except Exception as error:  # noqa: BLE001 - whatever a tool fails with, the model is told, or the caller
            return self._failed(call, f"{type(error).__name__}: {error}", error)
        try:
            return _SPOKEN[self._dialect](value), None
        except (TypeError, ValueError) as error:
            return self._failed(call, f"its result cannot be written as JSON: {error}", error)

    def _failed(self, call: _Wanted, words: str, error: Exception | None) -> tuple[str, str]:
        # Type and message only: a traceback tells a model nothing, and shows it the inside of the program.
        said = " ".join(words.split())[:_LONGEST_ERROR]
        if self._strict:
            raise ToolError(f"the tool {call.name} failed: {said}", name=call.name, arguments=call.arguments) from error
        return json.dumps({"error": said}, ensure_ascii=False), said


@dataclass(frozen=True, slots=True)
class _Wanted:
    id: str | None
    name: str
    arguments: Any


def _calls(message: Json, number: int) -> list[_Wanted]:
    """The calls in an answer; those of v2 without an id get one, in the answer too, so that results can refer to it."""
    if "function_call" in message:
        call = message["function_call"]
        return [_Wanted(None, str(call.get("name")), _decoded(call.get("arguments")))]
    wanted = []
    for place, call in enumerate(message["tool_calls"]):
        call.setdefault("type", "function")
        call["id"] = call.get("id") or f"call_{number}_{place}"
        function = call.get("function")
        function = function if isinstance(function, Mapping) else {}
        wanted.append(_Wanted(call["id"], str(function.get("name")), _decoded(function.get("arguments"))))
    return wanted


def _decoded(arguments: object) -> Any:
    if not isinstance(arguments, str):
        return arguments if arguments is not None else {}
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def _named(tools: Sequence[ToolFunction | Tool]) -> dict[str, Tool]:
    given_tools: object = tools
    if not isinstance(given_tools, Sequence) or not tools:
        raise ConfigurationError("tools is a list of Python functions, at least one: tools=[get_weather]")
    known: dict[str, Tool] = {}
    for given in tools:
        tool = given if isinstance(given, Tool) else Tool.of(given)
        if tool.name in known:
            raise ConfigurationError(f"two tools are called {tool.name!r}: the model could not tell them apart")
        known[tool.name] = tool
    return known


def _asker(client: Client, fields: dict[str, Any], on_text: Callable[[str], None] | None) -> Call:
    def answer(messages: Sequence[Message], arguments: dict[str, Any]) -> Reply:
        given = {**arguments, **fields}
        model = given.get("model") or client.model
        _warn(client.dialect, model)
        if on_text is None:
            return client.chat(messages, **given)
        with client.stream(messages, **given) as stream:
            for chunk in stream:
                if chunk.text:
                    on_text(chunk.text)
            return stream.reply()

    return answer


def _warn(dialect: str, model: str) -> None:
    known = by_endpoint(model) if model.startswith("/") else by_name(model)
    if dialect == "v1" and known is not None and "functions" not in known.params:
        logger.warning("v1's %s is not listed as taking functions (3.1): it may ignore the tools", model)


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _v1_text(value: Any) -> str:
    # The content is JSON text (3.3), in every example of an object.
    text = _json_text(value)
    return text if text.startswith("{") else f'{{"result":{text}}}'


def _v2_text(value: Any) -> str:
    return value if isinstance(value, str) and value else _json_text(value)  # an empty content would be refused


def _described(tool: Tool) -> Json:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


#: Dialect -> the fields of a request that offer tools (3.2, 4.1), a result as text, and as a message.
_FIELDS: Final[Mapping[str, Callable[[list[Tool]], Json]]] = {
    "v1": lambda tools: {"functions": [_described(tool) for tool in tools]},
    "v2": lambda tools: {"tools": [{"type": "function", "function": _described(tool)} for tool in tools]},
}
_SPOKEN: Final[Mapping[str, Callable[[Any], str]]] = {"v1": _v1_text, "v2": _v2_text}
_RESULTS: Final[Mapping[str, Callable[[_Wanted, str], Json]]] = {
    "v1": lambda call, text: {"role": "function", "name": call.name, "content": text},
    "v2": lambda call, text: {"role": "tool", "tool_call_id": call.id, "content": text},
}
