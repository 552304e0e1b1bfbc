"""Every mistake in the steps, rules and chaos of an account."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import msgspec

from mock_server.answers.beside import AnswerOptions
from mock_server.config.problems import Path, Problem, listed, near
from mock_server.faults.options import OptionError, Options
from mock_server.scenario.data import STEPS, step_of

#: The key that opens a step -> such a step, on one line of YAML.
EXAMPLES = {
    "reply": "- reply: 你好",
    "template": "- template: '第{{ number }}次: {{ text }}'",
    "echo": "- echo: '你问的是: '",
    "sequence": "- {sequence: [一, 二, 三], cycle: true}",
    "file": "- file: answer.txt",
    "corpus": "- {corpus: answers.jsonl, order: random}",
    "call_tool": "- call_tool: get_weather",
    "refuse": "- refuse: sensitive-input",
    "fail": "- {fail: 18, times: 2}",
    "stream": "- {stream: [你, 好], ttft: 0.2}",
    "fault": "- fault: reset",
    "loop": "- loop: forever",
}


def example_of_step(opener: str) -> str:
    """A step that opens so."""
    return EXAMPLES.get(opener, f"- {opener}: ...")


def check_script(value: Any, path: Path) -> Iterator[Problem]:
    """What is wrong with a list of steps."""
    if not isinstance(value, list):
        yield Problem(
            path=path,
            message=f"{path[-1]} is a list of steps; got {_kind(value)}",
            hint="each step begins with a dash and a space",
            example=EXAMPLES["reply"],
        )
        return
    good = True
    for index, step in enumerate(value):
        for problem in _step(step, (*path, index)):
            good = False
            yield problem
    if good:
        yield from _queued(value, path)


def _queued(steps: list[dict[str, Any]], path: Path) -> Iterator[Problem]:
    """What is wrong with good steps in this order."""
    from mock_server.scenario.rules import rule_of  # noqa: PLC0415 - for those who have scripts

    try:
        rule_of({"script": steps})
    except (ValueError, TypeError) as error:
        message, _, _ = str(error).partition(" - at `$")
        yield Problem(path=path, message=message)


def options_of(opener: str, step: Mapping[str, Any]) -> type[Options] | None:
    """The options that may stand beside the own keys of a step; None where there are none, or none are known."""
    from mock_server.faults.whole import fault_of  # noqa: PLC0415 - as in AccountHandle.fault

    if opener == "fault":
        try:
            return type(fault_of(step["fault"], {}))
        except ValueError:  # no such fault: that is told by itself
            return None
    return None if opener in {"fail", "loop"} else AnswerOptions


def _step(step: Any, path: Path) -> Iterator[Problem]:
    openers = ", ".join(STEPS)
    if not isinstance(step, Mapping):
        hint = near(step, STEPS) if isinstance(step, str) else ""
        message = f"a step is a mapping that has exactly one of {openers}; got {_kind(step)}"
        yield Problem(path=path, message=message, hint=hint, example=EXAMPLES["reply"])
        return
    found = [opener for opener in STEPS if opener in step]
    if len(found) != 1:
        slips = [(key, hint) for key in step if (hint := near(key, STEPS))]
        key, hint = slips[0] if slips and not found else ("", "make a step of each" if found else "")
        meant = hint.split("'")[1] if key else "reply"
        yield Problem(
            path=(*path, key) if key else path,
            message=f"a step has exactly one of {openers}; got {' and '.join(found or map(str, step)) or 'nothing'}",
            hint=hint,
            example="" if found else example_of_step(meant),
            of_key=True,
        )
        return
    (opener,) = found
    good, unknown = _known(opener, step)
    for key in unknown:
        hint = near(key, good) or f"there are {listed(good)}"
        message = f"{opener} has no option {key!r}"
        yield Problem(path=(*path, key), message=message, hint=hint, example=example_of_step(opener), of_key=True)
    yield from _made({key: value for key, value in step.items() if key not in unknown}, path, example_of_step(opener))


def _known(opener: str, step: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The keys that a step may have, and those that it has and may not."""
    own = list(STEPS[opener].__struct_fields__)
    options = options_of(opener, step)
    if options is None and opener == "fault":
        return own, []  # the name of the fault is what is wrong
    good = [*(each.name for each in fields(options)), *own] if options else own
    return good, [key for key in step if key not in good]


def _made(step: dict[str, Any], path: Path, example: str) -> Iterator[Problem]:
    """What the step's own making says against it."""
    try:
        step_of(step, "$")
    except msgspec.ValidationError as error:
        message, _, inside = str(error).partition(" - at `$")
        yield Problem(path=(*path, *_steps(inside.rstrip("`"))), message=message, example=example)
    except (ValueError, TypeError) as error:
        yield Problem(path=path, message=str(error), example=example)


def _steps(inside: str) -> Iterable[str | int]:
    """``.stream[1]`` as the steps of a path."""
    for part in inside.replace("[", ".[").split("."):
        if part.startswith("["):
            number = part.strip("[]")
            yield int(number) if number.isdigit() else number
        elif part:
            yield part


#: A rule, on one line of YAML.
RULE_EXAMPLE = "- {on: {contains: 天气}, script: [{reply: 晴}]}"

#: The keys of a rule.
RULE_KEYS = ("on", "priority", "script")


def check_rules(value: Any, path: Path) -> Iterator[Problem]:
    """What is wrong with a list of rules."""
    if not isinstance(value, list):
        message = f"{path[-1]} is a list of rules; got {_kind(value)}"
        yield Problem(path=path, message=message, hint="each rule begins with a dash and a space", example=RULE_EXAMPLE)
        return
    for index, rule in enumerate(value):
        at = (*path, index)
        if isinstance(rule, Mapping):
            yield from _rule(rule, at)
        else:
            message = f"a rule is a mapping of {', '.join(RULE_KEYS)}; got {_kind(rule)}"
            yield Problem(path=at, message=message, example=RULE_EXAMPLE)


def _rule(rule: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    from mock_server.matching import Matcher  # noqa: PLC0415 - for those who have rules

    names = [each.name for each in fields(Matcher)]
    for key in rule:
        if key not in RULE_KEYS:
            hint = "it belongs under on" if key in names else near(key, RULE_KEYS) or f"there are {listed(RULE_KEYS)}"
            message = f"a rule has no key {key!r}"
            yield Problem(path=(*path, key), message=message, hint=hint, example=RULE_EXAMPLE, of_key=True)
    if type(rule.get("priority", 0)) is not int:
        message = f"priority is a whole number, the highest goes first; got {_kind(rule['priority'])}"
        yield Problem(path=(*path, "priority"), message=message, example="priority: 10")
    on = rule.get("on", {})
    if isinstance(on, Mapping):
        yield from _options(Matcher, on, (*path, "on"), "on")
    else:
        message = f"on is a mapping of what a request has to be; got {_kind(on)}"
        yield Problem(path=(*path, "on"), message=message, example="on: {contains: 天气}")
    if "script" in rule:
        yield from check_script(rule["script"], (*path, "script"))


def check_chaos(value: Any, path: Path) -> Iterator[Problem]:
    """What is wrong with the options of chaos."""
    from mock_server.chaos import Chaos  # noqa: PLC0415 - for those who have chaos

    if isinstance(value, Mapping):
        yield from _options(Chaos, value, path, "chaos")
    else:
        message = f"chaos is a mapping of its options; got {_kind(value)}"
        yield Problem(path=path, message=message, example="chaos: {seed: 7, error_rate: 0.1}")


def _options(kind: type[Options], given: Mapping[str, Any], path: Path, owner: str) -> Iterator[Problem]:
    """What is wrong with options that stand in a mapping of their own."""
    names = [each.name for each in fields(kind)]
    for key in given:
        if key not in names:
            hint = near(key, names) or f"there are {listed(names, 20)}"
            yield Problem(path=(*path, key), message=f"{owner} has no option {key!r}", hint=hint, of_key=True)
    try:
        kind.of({key: value for key, value in given.items() if key in names}, owner)
    except OptionError as error:
        inside = (error.option,) if error.option in given else ()
        yield Problem(path=(*path, *inside), message=str(error))
    except (ValueError, TypeError) as error:
        yield Problem(path=path, message=str(error))


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", type(None): "nothing"}
    return names.get(type(value)) or repr(value)[:60]
