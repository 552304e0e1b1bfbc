"""How a mock behaves: one validated value, from keyword arguments or from one YAML file."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import yaml

from mock_server import scenario
from mock_server.faults.options import OptionError, Options, UnknownOption
from mock_server.faults.stream import Delivery
from mock_server.quota import Limits
from mock_server.scenario import Action
from qfkit.protocol.errors import UnknownErrorCode
from qfkit.protocol.signing import ALL_FORMS, HmacForm

Auth: TypeAlias = Literal["strict", "warn", "off"]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Times: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class ConfigError(ValueError):
    """A configuration that cannot be used; the text names file, line, key and the nearest good one."""


class ReplyStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- reply: text``: an answer; ``null`` makes it up. Options of `Delivery` go beside it."""

    reply: str | None
    times: Times = 1

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        return scenario.answer(self.reply, delivery=options)


class FailStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- fail: 18``: a Qianfan code, a v2 string code or an HTTP status."""

    fail: int | str
    times: Times = 1
    retry_after: Annotated[float, msgspec.Meta(ge=0, le=86400)] | None = None
    message: str | None = None

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        for name in options:
            raise UnknownOption(name, f"Object contains unknown field `{name}`")
        return scenario.Failure(code=self.fail, message=self.message, retry_after=self.retry_after)


class StreamStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- stream: [pieces]``, or a text with ``chunk``: an answer whose stream has these pieces.

    Options of `Delivery` go beside it.
    """

    stream: list[str] | str
    times: Times = 1

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        if isinstance(self.stream, str) and options.get("chunk") is None:
            raise OptionError("stream", "Expected `array` of pieces; a text needs `chunk: word` or the like beside it")
        return scenario.stream(self.stream, options)


class FaultStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- fault: reset``: a fault of a whole answer, by its name. Its own options go beside it."""

    fault: str
    times: Times = 1

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        from mock_server.faults.whole import fault_of  # noqa: PLC0415 - as in AccountHandle.fault

        return fault_of(self.fault, options)


Step: TypeAlias = ReplyStep | FailStep | StreamStep | FaultStep

#: The key that opens a step of a script -> its type.
STEPS: dict[str, type[Step]] = {
    "reply": ReplyStep,
    "fail": FailStep,
    "stream": StreamStep,
    "fault": FaultStep,
}


class AccountConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One account: its keys (those left out are generated) and its script."""

    name: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    ak: str | None = None
    sk: str | None = None
    bearer_token: str | None = None
    quota: Limits | None = None
    script: list[dict[str, Any]] = []


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that shapes a mock.

    Attributes:
        auth: ``strict`` refuses what the service would; ``warn`` lets it in and says what strict would have done;
            ``off`` asks nobody.
        seed: made-up answers, ids and generated keys are the same for the same seed.
        skew: seconds that a client's clock may be off.
        forms: which forms of the hmac string are accepted, in the order they are tried.
        models: ``known`` answers 401 to a v2 model that the table does not hold, as the service does; ``any`` takes it.
        quota: ``documented`` gives text_generation its 100 requests a second; ``none`` limits nobody who is not limited
            by `AccountConfig.quota` or a test.
        ttft, interval: seconds to the first content and between pieces, for streams whose step says nothing else.
        journal: how many requests are remembered.
        accounts: the first one is the default account.
    """

    auth: Auth = "strict"
    seed: int = 0
    skew: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    forms: tuple[HmacForm, ...] = ALL_FORMS
    models: Literal["known", "any"] = "known"
    quota: Literal["none", "documented"] = "none"
    ttft: Seconds = 0.0
    interval: Seconds = 0.0
    journal: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 10_000
    accounts: list[AccountConfig] = []


def load(path: str | Path, **overrides: Any) -> Settings:
    """Settings from a YAML file; keyword arguments win over it.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds something that is not a setting.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{file}:1: the file holds a mapping of settings, such as 'auth: strict'; got {type(data).__name__}"
        )
    return build(data | overrides, source=str(file), text=text)


def build(data: dict[str, Any], *, source: str = "settings", text: str | None = None) -> Settings:
    """Settings from plain values, scripts included.

    Raises:
        ConfigError: names what is wrong, where, and what would be right.
    """
    try:
        settings = msgspec.convert(data, Settings)
        for number, account in enumerate(settings.accounts):
            for index in range(len(account.script)):
                step_of(account.script[index], f"$.accounts[{number}].script[{index}]")
    except msgspec.ValidationError as error:
        raise ConfigError(_teach(str(error), source, text)) from error
    return settings


def step_of(step: dict[str, Any], where: str = "$") -> tuple[Action, int]:
    """One step of a script, told by the key it opens with: what it does, and how many requests meet it.

    Raises:
        msgspec.ValidationError: with the path of what is wrong.
    """
    kinds = [kind for kind in STEPS if kind in step]
    if len(kinds) != 1:
        raise msgspec.ValidationError(f"A step has exactly one of `{'`, `'.join(STEPS)}` - at `{where}`")
    kind = STEPS[kinds[0]]
    own = {name: value for name, value in step.items() if name in kind.__struct_fields__}
    options = {str(name): value for name, value in step.items() if name not in own}
    try:
        made = msgspec.convert(own, kind)
        return made.action(options), made.times
    except OptionError as error:
        path = f"{where}.{error.option}" if error.option in step else where
        raise msgspec.ValidationError(f"{error} - at `{path}`") from error
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{message} - at `{where}{path.rstrip('`')}`") from error
    except UnknownErrorCode as error:
        raise msgspec.ValidationError(f"{error} - at `{where}.{kinds[0]}`") from error


def _known() -> list[str]:
    """Every key that a file may hold."""
    from mock_server.faults.whole import FAULTS  # noqa: PLC0415 - as in AccountHandle.fault

    structs: tuple[type[msgspec.Struct], ...] = (Settings, AccountConfig, *STEPS.values())
    options: tuple[type[Options], ...] = (Delivery, *FAULTS.values())
    names = {name for kind in structs for name in kind.__struct_fields__}
    return sorted(names | {each.name for kind in options for each in fields(kind)})


def _teach(message: str, source: str, text: str | None) -> str:
    """Msgspec's message with the file's line and the nearest good key."""
    problem, _, path = message.partition(" - at `")
    keys = [key for key in path.rstrip("`").replace("[", ".[").split(".") if key and key != "$"]
    unknown = problem.split("`")[1] if "unknown field" in problem else None
    if unknown:
        near = get_close_matches(unknown, _known(), n=1)
        problem = f"{unknown!r} is not a setting" + (f"; did you mean {near[0]!r}?" if near else "")
        keys.append(unknown)
    line = _line_of(text, keys) if text else None
    place = f"{source}:{line}" if line else source
    return f"{place}: {problem}" + (f" (at {'.'.join(keys).replace('.[', '[')})" if keys else "")


def _line_of(text: str, keys: list[str]) -> int | None:
    """The line in which the value under ``keys`` begins, from 1."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line: int | None = None
    for key in keys:
        if isinstance(node, yaml.SequenceNode) and key.startswith("["):
            node = node.value[int(key[1:-1])]
        elif isinstance(node, yaml.MappingNode):
            pairs = [(name, value) for name, value in node.value if name.value == key]
            if not pairs:
                return line
            name, node = pairs[0]
            line = name.start_mark.line + 1
            continue
        else:
            return line
        line = node.start_mark.line + 1
    return line
