"""What is allowed in a configuration and yet is seldom meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mock_server.config.problems import Path, Problem, near
from qfkit.protocol.models import MODELS, by_name

if TYPE_CHECKING:
    from mock_server.settings import Settings


def notes_on(settings: Settings) -> tuple[Problem, ...]:
    """Models that the table does not know: a user's own, if not a slip of the pen."""
    names = [alias for model in MODELS for alias in (model.name, *model.aliases)]
    found = []
    for path, name in _models(settings):
        if by_name(name) is None:
            hint = near(name, names) or "if it is your own, requests for it need models: any"
            found.append(Problem(path=path, message=f"no model of Qianfan is named {name!r}", hint=hint))
    return tuple(found)


def _models(settings: Settings) -> Iterator[tuple[Path, str]]:
    if settings.models == "any":
        return
    for index, account in enumerate(settings.accounts):
        for number, rule in enumerate(account.rules):
            if (name := rule.get("on", {}).get("model")) is not None:
                yield ("accounts", index, "rules", number, "on", "model"), name
        for name in account.quota.models if account.quota else ():
            yield ("accounts", index, "quota", "models", name), name
