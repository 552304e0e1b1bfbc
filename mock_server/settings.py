"""How a mock behaves: one validated value, from keyword arguments or from one YAML file.

Every field says in its annotation what it does and what it may be: from there come the checks, the messages, the
published JSON Schema and the tables of ``docs/configuration.md``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from mock_server.config.checking import problems_of
from mock_server.config.problems import Problem
from mock_server.quota import Limits, Window
from qfkit.protocol.credentials import Credentials, mask
from qfkit.protocol.signing import ALL_FORMS, HmacForm

_Auth: TypeAlias = Literal["strict", "warn", "off"]
_Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=3600)]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
_Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]


class ConfigError(ValueError):
    """A configuration that cannot be used; each line of its text names file, line, key and what would be right.

    Attributes:
        problems: what is wrong, in the order of the file.
    """

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems

    @classmethod
    def of(cls, problems: tuple[Problem, ...], source: str) -> ConfigError:
        """The error that tells these problems of ``source``, a line each."""
        return cls("\n".join(problem.render(source) for problem in problems), problems)


def _about(description: str, example: Any, **extra: Any) -> msgspec.Meta:
    """What a field does, and a value that it may have."""
    return msgspec.Meta(description=description, examples=[example], extra=extra or None)


class LimitsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What may be asked; a limit that is not given does not hold, 0 lets nothing in."""

    qps: Annotated[_Count | None, _about("requests a second", 5)] = None
    rpm: Annotated[_Count | None, _about("requests a minute", 60)] = None
    tpm: Annotated[_Count | None, _about("tokens a minute, of questions and answers", 10_000)] = None
    daily: Annotated[_Count | None, _about("requests from midnight to midnight in China", 1000)] = None
    total: Annotated[_Count | None, _about("requests ever", 5000)] = None
    concurrency: Annotated[_Count | None, _about("answers under way at the same time", 4)] = None
    window: Annotated[Window, _about("how a second and a minute are counted", "sliding")] = "fixed"

    def limits(self) -> Limits:
        """The limits as the mock counts them."""
        return Limits(**{name: getattr(self, name) for name in LimitsConfig.__struct_fields__})


class QuotaConfig(LimitsConfig, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The limits of an account, counted for each model by itself."""

    models: Annotated[
        dict[str, LimitsConfig],
        _about("limits of single models, instead of the account's", {"ernie-4.0-8k": {"rpm": 60}}),
    ] = {}


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Keys for the four auth schemes. ``${NAME}`` takes them from the environment."""

    access_key: Annotated[
        _Text | None, _about("IAM access key; signs text_generation and v1", "${QIANFAN_ACCESS_KEY}", secret=True)
    ] = None
    secret_key: Annotated[_Text | None, _about("its secret key", "${QIANFAN_SECRET_KEY}", secret=True)] = None
    ak: Annotated[
        _Text | None, _about("API Key of the application; buys OAuth access tokens", "${QIANFAN_AK}", secret=True)
    ] = None
    sk: Annotated[_Text | None, _about("its Secret Key", "${QIANFAN_SK}", secret=True)] = None
    bearer_token: Annotated[_Text | None, _about("API key of v2", "${QIANFAN_BEARER_TOKEN}", secret=True)] = None

    def credentials(self) -> Credentials:
        """The keys as the protocol knows them; those not given are None."""
        return Credentials(**{name: getattr(self, name) for name in Keys.__struct_fields__})

    def __repr__(self) -> str:
        return _redacted(self)


class AccountConfig(Keys, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One account: its keys (those left out are generated), its quota, and what its requests will meet."""

    name: Annotated[_Text | None, _about("shown in the journal; made up when it is not given", "shop")] = None
    previous: Annotated[
        Keys | None, _about("keys from before a rotation, which still open this account", {"access_key": "old-key"})
    ] = None
    quota: Annotated[
        QuotaConfig | None, _about("what this account may ask; nothing but text_generation is limited else", {"qps": 5})
    ] = None
    strict: Annotated[
        bool | None, _about("refuse what neither a rule nor the script wants; not given, `unmatched` decides", True)
    ] = None
    chaos: Annotated[
        dict[str, Any] | None,
        _about("faults at random, the same ones for the same seed", {"seed": 7, "error_rate": 0.1}, holds="chaos"),
    ] = None
    rules: Annotated[
        list[dict[str, Any]],
        _about(
            "what answers which requests; the highest priority first",
            [{"on": {"contains": "天气"}, "script": [{"reply": "晴"}]}],
            holds="rules",
        ),
    ] = []
    script: Annotated[
        list[dict[str, Any]],
        _about("steps, met one after the other by what no rule wants", [{"fail": 18, "times": 2}], holds="script"),
    ] = []


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Everything that shapes a mock. What each field does stands beside it."""

    auth: Annotated[
        _Auth,
        _about(
            "`strict` refuses what the service would; `warn` lets it in and says what strict would have done; `off` "
            "asks nobody",
            "warn",
        ),
    ] = "strict"
    seed: Annotated[int, _about("made-up answers, ids and generated keys are the same for the same seed", 7)] = 0
    skew: Annotated[Annotated[float, msgspec.Meta(gt=0)], _about("seconds that a client's clock may be off", 300)] = (
        300.0
    )
    forms: Annotated[
        tuple[HmacForm, ...],
        _about("which forms of the hmac string are accepted, in the order they are tried", ["B/path"]),
    ] = ALL_FORMS
    models: Annotated[
        Literal["known", "any"],
        _about("`known` answers 401 to a v2 model that the table does not hold; `any` takes it", "any"),
    ] = "known"
    quota: Annotated[
        Literal["documented", "none"],
        _about(
            "`documented` gives text_generation its 100 requests a second; `none` limits nobody whose account has no "
            "quota of its own",
            "none",
        ),
    ] = "documented"
    unmatched: Annotated[
        Literal["answer", "refuse"],
        _about(
            "what a request gets that neither a rule nor the script wants: a made-up answer, or a refusal", "refuse"
        ),
    ] = "answer"
    ttft: Annotated[_Seconds, _about("seconds to the first content of a stream whose step says nothing else", 0.2)] = (
        0.0
    )
    interval: Annotated[
        _Seconds, _about("seconds between the pieces of a stream whose step says nothing else", 0.03)
    ] = 0.0
    journal: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=10_000_000)], _about("how many requests are remembered; 0 is none", 1000)
    ] = 10_000
    journal_bytes: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=2**40)],
        _about("how many bytes of their heads and bodies are remembered at most", 16_777_216),
    ] = 67_108_864
    admin_token: Annotated[
        _Text | None,
        _about("what whoever controls the mock has to show; needed off loopback", "${QFKIT_ADMIN_TOKEN}", secret=True),
    ] = None
    accounts: Annotated[
        list[AccountConfig],
        _about("the first one is the default account; without any, one is made", [{"name": "shop"}]),
    ] = []

    def __repr__(self) -> str:
        return _redacted(self)


def load(path: str | Path, *, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from a YAML file; keyword arguments win over it.

    Args:
        path: the file.
        environ: where ``${NAME}`` is looked up; None is the environment of the process.
        overrides: fields of `Settings`.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds something that is not a setting.
    """
    from mock_server.config.document import read  # noqa: PLC0415 - YAML is for those who have a file

    document = read(Path(path), os.environ if environ is None else environ)
    if document.problems:
        raise ConfigError.of(document.problems, str(path))
    if found := problems_of(document.data, Settings):
        raise ConfigError.of(document.placed(found), str(path))
    if found := _clashes(msgspec.convert(document.data, Settings)):
        raise ConfigError.of(document.placed(found), str(path))
    build(overrides)  # a mistake in a keyword is no mistake of the file
    return msgspec.convert(document.data | overrides, Settings)


def build(data: Mapping[str, Any], *, source: str = "settings") -> Settings:
    """Settings from plain values, scripts included.

    Raises:
        ConfigError: names what is wrong, where, and what would be right.
    """
    if data and (found := problems_of(data, Settings)):
        raise ConfigError.of(found, source)
    settings = msgspec.convert(data, Settings)
    if found := _clashes(settings):
        raise ConfigError.of(found, source)
    return settings


def _clashes(settings: Settings) -> tuple[Problem, ...]:
    """Names and keys that two accounts share, which nobody could tell apart."""
    found: list[Problem] = []
    seen: dict[tuple[str, str], str] = {}
    for index, account in enumerate(settings.accounts):
        path: tuple[str | int, ...] = ("accounts", index)
        own = [("name", account.name, (*path, "name"))]
        for keys, at in ((account, path), (account.previous, (*path, "previous"))):
            own += [
                (field, getattr(keys, field), (*at, field)) for field in ("access_key", "ak", "bearer_token") if keys
            ]
        for field, value, at in own:
            if value is None:
                continue
            if (field, value) in seen:
                message = f"this {field} is that of {seen[field, value]} too"
                found.append(Problem(path=at, message=message, hint=f"every account has a {field} of its own"))
            seen.setdefault((field, value), f"accounts[{index}]")
    return tuple(found)


def _redacted(value: msgspec.Struct) -> str:
    """Like the repr of a struct, fields at their defaults left out and secrets masked."""
    shown = []
    for field in msgspec.structs.fields(value):
        held = getattr(value, field.name)
        if held != field.default and held not in ([], ()):
            secret = field.name == "admin_token" or field.name in Keys.__struct_fields__
            shown.append(f"{field.name}={mask(held)!r}" if secret else f"{field.name}={held!r}")
    return f"{type(value).__name__}({', '.join(shown)})"
