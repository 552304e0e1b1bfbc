"""What can be set for the fixtures, and where: one table makes marker, command line, ini file and their help agree.

One precedence for all of them: the marker closest to the test, then the command line, then the ini file, then the
default. A setting of the whole session (the table says which) has no place in the marker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest

PRECEDENCE = "a test's marker goes before the command line, that before the ini file, that before the default"


class _Unfit(ValueError):
    """A value is none of the setting's; its text says what would be one."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unfit("is a text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unfit("is True or False")
    return value


def _whole(value: Any) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise _Unfit("is a whole number") from None


def _budget(value: Any) -> int:
    number = _whole(value)
    if number < 1:
        raise _Unfit("is a whole number from 1")
    return number


def _url(value: Any) -> str:
    text = _text(value).rstrip("/")
    if text and not text.startswith(("http://", "https://")):
        raise _Unfit("is a URL such as https://gateway.example.com")
    return text


def _one_of(*values: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not any(value is each or (isinstance(value, str) and value == each) for each in values):
            raise _Unfit(f"is one of {', '.join(map(str, values))}")
        return value

    return read


def _any(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes:
        name: the marker's argument; the option and the ini value are made of it.
        default: where nobody says anything.
        text: what it is for.
        read: makes the value of what was written, or raises `_Unfit`.
        places: where it can be said: m in the marker, c on the command line, i in the ini file.
        shown: stands for the value in the help of the command line.
    """

    name: str
    default: Any
    text: str
    read: Callable[[Any], Any] = _any
    places: str = "mci"
    shown: str = "N"

    @property
    def option(self) -> str:
        """On the command line."""
        return f"--qianfan-{self.name.replace('_', '-')}"

    @property
    def off(self) -> str:
        """On the command line, what switches it off."""
        return f"--qianfan-no-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        """In the ini file."""
        return f"qianfan_{self.name}"

    @property
    def switch(self) -> bool:
        """Whether it is on or off, outside the marker."""
        return isinstance(self.default, bool)

    def value(self, given: Any, where: str) -> Any:
        """What was given, checked.

        Raises:
            pytest.UsageError: it is no such value.
        """
        try:
            return self.read(given)
        except _Unfit as error:
            raise pytest.UsageError(f"{where} {error}; got {given!r}") from None


_DIALECTS = ("text_generation", "v1", "v2")

SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("config", "", "YAML file of settings for the mock server of the session", _text, "ci", "FILE"),
        Setting("seed", 0, "made-up answers of the mock are the same for the same seed", _whole, "ci"),
        Setting(
            "dialect",
            "text_generation",
            f"what qianfan_client speaks, one of {', '.join(_DIALECTS)}",
            _one_of(*_DIALECTS),
            shown="NAME",
        ),
        Setting("guard", False, "every test that uses a fixture of qfkit stays on this machine", _flag),
        Setting(
            "strict",
            True,
            "steps of the script that no request met, and requests that no rule expected, fail a test that passed; "
            '"script" or "requests" is for one of the two',
            _one_of(True, False, "script", "requests"),
        ),
        Setting(
            "allow",
            (),
            "what a guarded test may reach: hosts, addresses, networks, each with :port if wanted",
            places="m",
        ),
        Setting(
            "keys",
            {},
            "keys written into the code under qianfan_intercept, such as access_key and secret_key",
            places="m",
        ),
        Setting("hosts", (), "more hosts that qianfan_intercept sends to the mock", places="m"),
        Setting(
            "live",
            False,
            "send to the real service with the keys of QIANFAN_*, within the budget; skip tests that script the mock",
            _flag,
            "c",
        ),
        Setting("live_max_requests", 20, "requests that --qianfan-live may send in all, at most", _budget, "ci"),
        Setting("live_max_tokens", 20_000, "tokens after which --qianfan-live sends nothing any more", _budget, "ci"),
        Setting(
            "live_gateway",
            "",
            "URL that --qianfan-live sends to instead of the real hosts: a gateway, or a mock to rehearse with",
            _url,
            "c",  # as live itself: where keys are sent is said by whoever has them, and not by a file
            "URL",
        ),
        Setting("mock_only", False, "the test is skipped under --qianfan-live", _flag, "m"),
    )
}

_MARKED = [setting for setting in SETTINGS.values() if "m" in setting.places]

#: The marker's whole signature, and what each argument is for.
MARKER = (
    f"qianfan({', '.join(f'{setting.name}={setting.default!r}' for setting in _MARKED)}): "
    "how the qfkit fixtures behave in this test. "
    + "; ".join(f"{setting.name}: {setting.text}" for setting in _MARKED)
    + f". Where several say it, {PRECEDENCE}."
)


def add(parser: pytest.Parser) -> None:
    """Add every setting to the command line and to the ini file."""
    group = parser.getgroup("qianfan", f"qfkit: mock Qianfan ({PRECEDENCE})")
    for setting in SETTINGS.values():
        beside = [f"ini: {setting.ini}"] if "i" in setting.places else []
        beside += [f"default: {setting.default}"] if setting.default and not setting.switch else []
        text = f"{setting.text} ({', '.join(beside)})" if beside else setting.text
        if "c" in setting.places and setting.switch:
            group.addoption(setting.option, dest=setting.ini, action="store_true", default=None, help=text)
            off = f"switches {setting.option} off" + (" (default: on)" if setting.default else "")
            group.addoption(setting.off, dest=setting.ini, action="store_false", default=None, help=off)
        elif "c" in setting.places:
            group.addoption(setting.option, dest=setting.ini, default=None, metavar=setting.shown, help=text)
        if "i" in setting.places:
            kind: Literal["bool", "string"] = "bool" if setting.switch else "string"
            default = setting.default if setting.switch else str(setting.default)
            parser.addini(setting.ini, f"{setting.text} (command line: {setting.option})", type=kind, default=default)


def check(config: pytest.Config) -> None:
    """Look at all that was said for the whole run.

    Raises:
        pytest.UsageError: something is none.
    """
    for setting in SETTINGS.values():
        if "c" in setting.places:
            of_run(config, setting.name)


def check_marker(node: pytest.Item) -> None:
    """Look at all that the markers of a test say.

    Raises:
        pytest.UsageError: something is none.
    """
    known = {setting.name for setting in _MARKED}
    for marker in node.iter_markers("qianfan"):
        if (unknown := sorted(set(marker.kwargs) - known)) or marker.args:
            what = ", ".join(map(repr, [*marker.args, *unknown]))
            raise pytest.UsageError(f"{node.nodeid}: the qianfan marker knows no {what}; it is {MARKER}")
        for name in marker.kwargs:
            of_test(node, name)


def of_run(config: pytest.Config, name: str) -> Any:
    """A setting of the whole run: command line over ini file over default.

    Raises:
        pytest.UsageError: it is none.
    """
    setting = SETTINGS[name]
    given = config.getoption(setting.ini)
    if given is None and "i" in setting.places:
        given = config.getini(setting.ini)
    if given is None:
        given = setting.default
    named = f" (ini: {setting.ini})" if "i" in setting.places else ""
    return setting.value(given, f"{setting.option}{named}")


def of_test(node: pytest.Item, name: str) -> Any:
    """A setting of one test: the closest marker that says it, then as `of_run`.

    Raises:
        pytest.UsageError: it is none.
    """
    setting = SETTINGS[name]
    for marker in node.iter_markers("qianfan"):
        if name in marker.kwargs:
            return setting.value(marker.kwargs[name], f"{node.nodeid}: {name} of the qianfan marker")
    return of_run(node.config, name) if "c" in setting.places else setting.default
