"""What an account's requests will meet: rules, steps, state, chaos."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from mock_server.chaos import Chaos
from mock_server.config.problems import Problem, written
from mock_server.config.scripts import check_chaos, check_rules, check_script
from mock_server.routes.operation import Call, ControlError, Operation, refusal
from mock_server.scenario.data import Loop, Step, step_of
from mock_server.scenario.rules import Rule, add_steps, rule_of
from mock_server.scenario.script import Script

_Made = TypeVar("_Made")

Data: TypeAlias = dict[str, Any]

#: A state of the scenario, as `Scenario.state` takes it.
StateName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Steps(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Steps as the configuration file has them: ``{"fail": 18, "times": 2}``."""

    steps: list[Data]


class NewRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule as the configuration file has it."""

    on: Annotated[Data, msgspec.Meta(description="which requests it is for; nothing is all of them")] = {}
    priority: Annotated[int, msgspec.Meta(description="the highest goes first")] = 0
    script: Annotated[list[Data], msgspec.Meta(description="what they meet; the last step stays")] = []


class NewScenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole scenario. What is left out is as at the beginning."""

    rules: list[NewRule] = []
    script: list[Data] = []
    state: StateName = "start"
    strict: bool | None = None


class NewState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The state to be in."""

    state: StateName


class NewChaos(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens at random, as the configuration file has it: ``{"seed": 7, "error_rate": 0.1}``."""

    chaos: Data


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether a request that no rule and no step wants is refused."""

    strict: bool


class RuleInfo(msgspec.Struct, kw_only=True):
    """A rule of an account."""

    name: str
    on: Data
    priority: int
    script: list[str]
    waiting: list[str]
    met: Annotated[int, msgspec.Meta(description="requests that met one of its steps")]


class ScenarioInfo(msgspec.Struct, kw_only=True):
    """What an account's requests will meet: rules in the order they are asked, then the script."""

    state: str
    strict: bool
    chaos: Annotated[str | None, msgspec.Meta(description="what happens at random, as it would be written in a call")]
    rules: list[RuleInfo]
    script: list[str]
    waiting: Annotated[list[str], msgspec.Meta(description="steps of the script that wait for a request")]
    met: Annotated[int, msgspec.Meta(description="requests that met a step of the script")]


def get_scenario(call: Call) -> ScenarioInfo:
    """Show what an account's requests will meet."""
    return msgspec.convert(call.owner.scenario.to_data(), ScenarioInfo)


def replace_scenario(call: Call) -> ScenarioInfo:
    """Replace an account's rules, steps and state, and forget its chaos. A scenario with a mistake changes nothing."""
    new: NewScenario = call.body
    rules = _rules([msgspec.structs.asdict(rule) for rule in new.rules])
    steps = _steps(new.script, "script")
    _queue(steps, Script(), "script")
    scenario = call.owner.scenario
    scenario.clear()
    for rule in rules:
        scenario.add(rule)
    add_steps(scenario.script, steps)
    scenario.state = new.state
    if new.strict is not None:
        scenario.strict = new.strict
    return get_scenario(call)


def clear_scenario(call: Call) -> ScenarioInfo:
    """Forget an account's rules, steps, chaos and state."""
    call.owner.scenario.clear()
    return get_scenario(call)


def queue_steps(call: Call) -> ScenarioInfo:
    """Queue steps behind those that wait."""
    new: Steps = call.body
    _queue(_steps(new.steps, "steps"), call.owner.scenario.script, "steps")
    return get_scenario(call)


def add_rule(call: Call) -> ScenarioInfo:
    """Add a rule."""
    (rule,) = _rules([msgspec.structs.asdict(call.body)], alone=True)
    call.owner.scenario.add(rule)
    return get_scenario(call)


def set_state(call: Call) -> ScenarioInfo:
    """Enter a state, for rules that ask for it."""
    call.account.state = call.body.state
    return get_scenario(call)


def set_strict(call: Call) -> ScenarioInfo:
    """Refuse requests that no rule and no step wants, or answer them with something made up."""
    call.account.strict = call.body.strict
    return get_scenario(call)


def set_chaos(call: Call) -> ScenarioInfo:
    """Let requests fail at random from now on; the same ones for the same seed."""
    new: NewChaos = call.body
    _refuse(check_chaos(new.chaos, ("chaos",)))
    call.account.chaos(Chaos.of(new.chaos, "chaos"))
    return get_scenario(call)


def end_chaos(call: Call) -> ScenarioInfo:
    """Let no more requests fail at random."""
    call.account.chaos(None)
    return get_scenario(call)


def _steps(data: list[Data], key: str) -> tuple[Step | Loop, ...]:
    """Steps from data, of which every mistake is told."""
    _refuse(check_script(data, (key,)))
    return tuple(_made(step_of, step, f"$.{key}[{index}]") for index, step in enumerate(data))


def _rules(data: list[Data], *, alone: bool = False) -> list[Rule]:
    """Rules from data; ``alone`` when the one rule is all of the body."""
    _refuse(check_rules(data, ("rules",)), "rules[0]." if alone else "")
    return [_made(rule_of, rule, "$" if alone else f"$.rules[{index}]") for index, rule in enumerate(data)]


def _queue(steps: tuple[Step | Loop, ...], script: Script, key: str) -> None:
    try:
        add_steps(script, steps)
    except ValueError as error:
        raise ControlError(400, str(error), path=f"$.{key}") from error


def _refuse(problems: Iterable[Problem], prefix: str = "") -> None:
    found = list(problems)
    if not found:
        return
    paths = [written(problem.path).removeprefix(prefix) for problem in found]
    lines = [
        f"{problem.message} (at {path})" + (f"; {problem.hint}" if problem.hint else "")
        for problem, path in zip(found, paths, strict=True)
    ]
    raise ControlError(400, "\n".join(lines), path=f"$.{paths[0]}")


def _made(make: Callable[[Data, str], _Made], data: Data, where: str) -> _Made:
    try:
        return make(data, where)
    except msgspec.ValidationError as error:
        raise refusal(error, None) from error


_TAG = "scenario"
_PATH = "/accounts/{name}/scenario"

OPERATIONS = (
    Operation(method="GET", path=_PATH, view=get_scenario, tag=_TAG, answer=ScenarioInfo, python="Scenario.to_data"),
    Operation(
        method="PUT",
        path=_PATH,
        view=replace_scenario,
        tag=_TAG,
        body=NewScenario,
        answer=ScenarioInfo,
        python="AccountHandle.play",
    ),
    Operation(method="DELETE", path=_PATH, view=clear_scenario, tag=_TAG, answer=ScenarioInfo, python="Scenario.clear"),
    Operation(
        method="POST",
        path=f"{_PATH}/steps",
        view=queue_steps,
        tag=_TAG,
        body=Steps,
        answer=ScenarioInfo,
        python="AccountHandle.play",
    ),
    Operation(
        method="PUT",
        path=f"{_PATH}/chaos",
        view=set_chaos,
        tag=_TAG,
        body=NewChaos,
        answer=ScenarioInfo,
        python="AccountHandle.chaos",
    ),
    Operation(
        method="DELETE",
        path=f"{_PATH}/chaos",
        view=end_chaos,
        tag=_TAG,
        answer=ScenarioInfo,
        python="AccountHandle.chaos",
    ),
    Operation(
        method="POST",
        path=f"{_PATH}/rules",
        view=add_rule,
        tag=_TAG,
        body=NewRule,
        answer=ScenarioInfo,
        python="AccountHandle.add_rule",
    ),
    Operation(
        method="PUT",
        path=f"{_PATH}/state",
        view=set_state,
        tag=_TAG,
        body=NewState,
        answer=ScenarioInfo,
        python="AccountHandle.state",
    ),
    Operation(
        method="PUT",
        path=f"{_PATH}/strict",
        view=set_strict,
        tag=_TAG,
        body=Strict,
        answer=ScenarioInfo,
        python="AccountHandle.strict",
    ),
)
