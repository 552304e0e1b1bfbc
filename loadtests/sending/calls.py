"""The kinds of calls that a load test makes with the reference client: whole answers, streams, tools, embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import NamedTuple

from loadtests.judging import slo
from loadtests.measuring.measures import StreamTimer
from loadtests.planning.plan import Kind, Plan, Traffic
from loadtests.planning.prompts import tokens_of
from loadtests.planning.spelling import PlanError
from qfkit.client import Attempt, Client, QianfanError
from qfkit.client.calls import Prompt, chat_call
from qfkit.client.replies import Reply
from qfkit.client.tools import Call, run_tools
from qfkit.protocol.dialects import INFERENCE_DIALECTS, InferenceDialect
from qfkit.protocol.messages import Message, Usage

#: Characters of a text to be embedded.
_PIECE = 500


class Answered(NamedTuple):
    """What a client says of a call that ended well.

    Attributes:
        attempts: its inference requests, in order.
        usage: tokens as the service counted them, None when it did not say.
        text: what was answered, for an estimate where it did not.
    """

    attempts: tuple[Attempt, ...]
    usage: Usage | None
    text: str = ""


def tokens(question: str, answered: Answered) -> tuple[int, int, bool]:
    """Tokens read, tokens written, and whether the service counted them; else they are estimated from the texts."""
    usage = answered.usage
    if usage is not None:
        return usage.prompt_tokens, usage.completion_tokens, True
    return tokens_of(question), tokens_of(answered.text), False


def _chat(client: Client, prompt: str, _timer: Callable[[], StreamTimer | None]) -> Answered:
    reply = client.chat(prompt)
    return Answered(reply.attempts, reply.usage, reply.text)


def _stream(client: Client, prompt: str, timer: Callable[[], StreamTimer | None]) -> Answered:
    with client.stream(prompt) as stream:
        moments = timer()
        for chunk in stream:
            if moments is not None and stream.arrived is not None:
                moments.chunk_arrived(stream.arrived, chunk.text, chunk.reasoning)
        return Answered(stream.attempts, stream.usage, stream.text)


def _embed(client: Client, prompt: str, _timer: Callable[[], StreamTimer | None]) -> Answered:
    # Every model takes 384 tokens of a text (wire reference 3.6): longer ones are cut up, as people do with documents.
    pieces = [prompt[start : start + _PIECE] for start in range(0, len(prompt), _PIECE)]
    vectors = client.embed(pieces)
    return Answered(vectors.attempts, vectors.usage)


def get_current_weather(location: str, unit: str = "celsius") -> str:
    """Tell the weather of a city.

    Args:
        location: the city, such as Beijing.
        unit: celsius or fahrenheit.
    """
    return f"{location}: 21 degrees {unit}, sunny"


def _tools(client: Client, prompt: str, _timer: Callable[[], StreamTimer | None]) -> Answered:
    replies: list[Reply] = []

    def ask(messages: Sequence[Message], call: Call) -> Reply:
        reply = call(messages, {})
        replies.append(reply)
        return reply

    try:
        result = run_tools(client, prompt, [get_current_weather], ask=ask)
    except QianfanError as error:
        # The attempts of an error are those of the request that failed; the rounds before it were sent, too.
        before = tuple(attempt for reply in replies for attempt in reply.attempts)
        error.attempts = (*before, *error.attempts)
        raise
    usages = [reply.usage for reply in replies]
    usage = None
    if None not in usages:
        counts = [(it.prompt_tokens, it.completion_tokens, it.total_tokens) for it in usages if it is not None]
        usage = Usage(*(sum(column) for column in zip(*counts, strict=True)))
    return Answered(tuple(it for reply in replies for it in reply.attempts), usage, result.text)


def _rehearse_chat(client: Client, prompt: Prompt) -> None:
    chat_call(client.dialect, prompt, model=client.model, system=None, params={}, stream=False)


def _rehearse_nothing(_client: Client, _prompt: Prompt) -> None:
    """Its requests are the same for every model."""


@dataclass(frozen=True)
class CallKind:
    """One kind of call.

    Attributes:
        make: makes one; is given the client, the prompt, and a function that gives the timer of the request under way.
        rehearse: finds out whether the client could make one, without sending anything.
        dialects: that know such calls.
    """

    make: Callable[[Client, str, Callable[[], StreamTimer | None]], Answered]
    rehearse: Callable[[Client, Prompt], None] = _rehearse_chat
    dialects: tuple[InferenceDialect, ...] = INFERENCE_DIALECTS


CALLS: dict[Kind, CallKind] = {
    "chat": CallKind(_chat),
    "stream": CallKind(_stream),
    "tools": CallKind(_tools, dialects=("v1", "v2")),
    "embed": CallKind(_embed, _rehearse_nothing, dialects=("v1", "v2")),
}

#: Scenarios that send one kind of call -> that kind. All others but ``mixed`` ask for whole answers.
_KIND_OF: dict[str, Kind] = {"stream": "stream", "tools": "tools", "embed": "embed"}


def kinds_of(scenario: str, traffic: Traffic) -> dict[InferenceDialect, dict[Kind, float]]:
    """Each dialect of a scenario, and the kinds of calls that it gets, by weight.

    Raises:
        PlanError: a kind of call is asked for that none of the dialects knows, or a weight cannot be read.
    """
    kinds: dict[Kind, float] = (
        traffic.kinds if scenario == "mixed" or traffic.mix else {_KIND_OF.get(scenario, "chat"): 1.0}
    )
    dialects = traffic.every_dialect if scenario == "mixed" else {traffic.dialect: 1.0}
    found: dict[InferenceDialect, dict[Kind, float]] = {dialect: {} for dialect in dialects}
    for kind, weight in kinds.items():
        able = {dialect: dialects[dialect] for dialect in dialects if dialect in CALLS[kind].dialects}
        if not able:
            raise PlanError(
                f"{', '.join(dialects)} has no calls of the kind {kind}: use --dialect {CALLS[kind].dialects[-1]}"
                + (", or another --mix" if scenario == "mixed" else "")
            )
        for dialect, part in able.items():
            found[dialect][kind] = weight * part / sum(able.values())
    return found


def check_scenarios(plan: Plan) -> None:
    """See that each SLO of a plan can be judged.

    Raises:
        PlanError: one speaks of a scenario that is not part of the plan, or of streams where there are none.
    """
    mix = Mix(plan.scenario, plan.traffic)
    kinds = kinds_of(plan.scenario, plan.traffic)
    names = {mix.name(dialect, kind): kind == "stream" for dialect, weighed in kinds.items() for kind in weighed}
    try:
        slo.check_scenarios(plan.slos, names, played=plan.scenario, open_load=plan.load.open)
    except slo.SloError as error:
        raise PlanError(str(error)) from error


class Mix:
    """Draws the dialect and the kind of each call of a scenario.

    Raises:
        PlanError: see `kinds_of`.
    """

    def __init__(self, scenario: str, traffic: Traffic) -> None:
        kinds = kinds_of(scenario, traffic)
        self.dialects = tuple(kinds)
        self._pairs = [(dialect, kind) for dialect, weighed in kinds.items() for kind in weighed]
        self._sums = list(accumulate(weight for weighed in kinds.values() for weight in weighed.values()))
        self._names = dict.fromkeys(self._pairs, scenario)
        if scenario == "mixed":
            for dialect, kind in self._pairs:
                self._names[dialect, kind] = f"{scenario} {kind}" + (f" {dialect}" if len(kinds) > 1 else "")

    def draw(self, random: Random) -> tuple[InferenceDialect, Kind]:
        """The next call's."""
        if len(self._pairs) == 1:
            return self._pairs[0]
        return random.choices(self._pairs, cum_weights=self._sums)[0]

    def name(self, dialect: InferenceDialect, kind: Kind) -> str:
        """Under which name such a call is counted: different kinds of calls have no percentile in common."""
        return self._names[dialect, kind]
