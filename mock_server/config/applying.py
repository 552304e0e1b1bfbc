"""Settings become accounts: when a mock starts, and again when its file has changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mock_server.chaos import Chaos, Storm
from mock_server.quota import Limits, Quotas
from mock_server.scenario import Scenario
from mock_server.scenario.data import step_of
from mock_server.scenario.rules import add_steps, rule_of
from qfkit.protocol.credentials import Credentials

if TYPE_CHECKING:
    from mock_server.settings import AccountConfig, Settings
    from mock_server.state import Account, State


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the accounts of a file, by name."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{what} {', '.join(names)}" for what, names in self._told() if names]
        return "; ".join(parts) or "no account changed"

    def _told(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (("added", self.added), ("changed", self.changed), ("removed", self.removed))


def named(settings: Settings) -> dict[str, AccountConfig]:
    """The accounts by their names; one without a name is called by its place, ``account-1``."""
    return {config.name or f"account-{number}": config for number, config in enumerate(settings.accounts, 1)}


def set_up(state: State) -> None:
    """Add the accounts that the settings of ``state`` name, with all that they have.

    Raises:
        DuplicateCredentials: an account has one of their keys or names already.
    """
    for name, config in named(state.settings).items():
        _add(state, name, config, state.settings)


def apply(state: State, settings: Settings) -> Applied:
    """Make ``settings`` those of a running mock.

    Journals and tokens stay. Of the accounts that the former settings named, those that are no longer named go; of
    those that have changed, just what has changed begins anew: script and rules, quota, keys (the former ones end).
    Accounts that a test or the control API added are left alone. Seed and size of the journals stay as they are until
    the mock is started again.

    Raises:
        DuplicateCredentials: an account that stays has one of the keys or names; nothing was changed.
    """
    former, wanted = named(state.settings), named(settings)
    before = state.settings
    removed = [name for name in former if name not in wanted]
    _check(state, former, wanted)
    state.settings = settings
    for name in removed:
        state.remove_account(name)
    there = {account.name: account for account in state.accounts()}
    added, changed = [], []
    for name, config in wanted.items():
        if name not in former or name not in there:
            _add(state, name, config, settings)
            added.append(name)
        elif config != former[name] or _defaults(before) != _defaults(settings):
            _change(state, there[name], former[name], config, before)
            if config != former[name]:
                changed.append(name)
    return Applied(tuple(added), tuple(changed), tuple(removed))


def _check(state: State, former: dict[str, AccountConfig], wanted: dict[str, AccountConfig]) -> None:
    """Refuse before anything is changed what would be refused half-way."""
    from mock_server.state import DuplicateCredentials  # noqa: PLC0415 - it knows Settings

    lookups = {"access_key": state.by_access_key, "ak": state.by_ak, "bearer_token": state.by_api_key}
    names = {account.name for account in state.accounts()}
    for name, config in wanted.items():
        if name in names and name not in former:
            raise DuplicateCredentials(f"another account of this server is named {name!r}: choose another name")
        keys = config.credentials()
        for field, lookup in lookups.items():
            holder = lookup(getattr(keys, field) or "")
            if holder is None or (holder.account.name in former and holder.account.name not in wanted):
                continue
            if holder.account.name != name:
                other = holder.account.name
                raise DuplicateCredentials(
                    f"{field} of account {name!r}: account {other!r} of this server has it already"
                )
            pair = [field, _SECRETS.get(field, field)]
            if keys != former[name].credentials() and any(
                getattr(holder.account.credentials, each) != getattr(keys, each) for each in pair
            ):
                raise DuplicateCredentials(
                    f"{field} of account {name!r} was its key before, or gets another secret: give it a new one, or "
                    "start the mock anew"
                )


#: The key of a pair -> its secret.
_SECRETS = {"access_key": "secret_key", "ak": "sk"}


def _defaults(settings: Settings) -> tuple[str, str]:
    """What accounts take from the settings where they say nothing."""
    return settings.quota, settings.unmatched


def _add(state: State, name: str, config: AccountConfig, settings: Settings) -> None:
    account = state.add_account(config.credentials(), name)
    account.scenario = _scenario(config, settings, state.clock.time())
    account.quotas = _quotas(state, config, settings)
    if config.previous is not None:
        state.add_old_keys(account, config.previous.credentials())


def _change(state: State, account: Account, former: AccountConfig, config: AccountConfig, before: Settings) -> None:
    settings = state.settings
    if config.credentials() != former.credentials():
        given = config.credentials()
        keys = {name: value for name in Credentials.__slots__ if (value := getattr(given, name)) is not None}
        state.rotate(account, replace(account.credentials, **keys), keep_old=False)
    if config.previous != former.previous:
        state.retire_old_keys(account)
        if config.previous is not None:
            state.add_old_keys(account, config.previous.credentials())
    if (config.rules, config.script, config.chaos) != (former.rules, former.script, former.chaos):
        account.scenario = _scenario(
            config, settings, state.clock.time()
        )  # one assignment: a request meets the old one or the new one
    else:
        account.scenario.strict = _strict(config, settings)
    if config.quota != former.quota or (config.quota is None and settings.quota != before.quota):
        account.quotas = _quotas(state, config, settings)


def _scenario(config: AccountConfig, settings: Settings, now: float) -> Scenario:
    scenario = Scenario(strict=_strict(config, settings))
    for rule in config.rules:
        scenario.add(rule_of(rule))
    if config.chaos is not None:
        scenario.chaos = Storm(Chaos.of(config.chaos, "chaos"), now)
    add_steps(scenario.script, tuple(step_of(step) for step in config.script))
    return scenario


def _strict(config: AccountConfig, settings: Settings) -> bool:
    return settings.unmatched == "refuse" if config.strict is None else config.strict


def _quotas(state: State, config: AccountConfig, settings: Settings) -> Quotas:
    if config.quota is None:
        return Quotas(state.clock, default=None if settings.quota == "documented" else Limits())
    models = {model: each.limits() for model, each in config.quota.models.items()}
    return Quotas(state.clock, default=config.quota.limits(), models=models)
