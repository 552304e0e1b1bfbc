"""How a mock behaves: one validated value, from keyword arguments or from one YAML file."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import yaml

from mock_server.faults.options import Options
from mock_server.faults.stream import Delivery
from mock_server.quota import Limits
from mock_server.scenario.data import STEPS, step_of
from qfkit.protocol.signing import ALL_FORMS, HmacForm

Auth: TypeAlias = Literal["strict", "warn", "off"]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class ConfigError(ValueError):
    """A configuration that cannot be used; the text names file, line, key and the nearest good one."""


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
