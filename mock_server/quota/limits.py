"""What may be limited, how much by default, and what a refusal is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, NamedTuple, get_args

from mock_server.quota.windows import WINDOWS, Window
from qfkit.protocol.errors.kin import KIN

#: The largest quota that can be set: more than anybody can send.
MOST: Final = 10**12

#: What v1 reports where no limit is set: the official SDK's own test server's, wide enough not to slow its limiter (6).
WIDE_REQUESTS: Final = 3000
WIDE_TOKENS: Final = 300_000


class Rule(NamedTuple):
    """One kind of quota.

    Attributes:
        field: its name in `Limits`.
        label: its name for people.
        kind: the kind of error it refuses with, a key of `qfkit.protocol.errors.KINDS`.
        counts: what is counted.
        span: in how long a time, where it is a rate.
    """

    field: str
    label: str
    kind: str
    counts: str
    span: str = ""


#: In the order in which they speak [guess]. No code for too many answers at the same time is known: it is answered as
#: too many requests a second [guess].
RULES: Final = (
    Rule("total", "total", "quota_total", "requests"),
    Rule("daily", "daily", "quota_daily", "requests"),
    Rule("qps", "QPS", "rate_limit_qps", "requests", "second"),
    Rule("concurrency", "concurrency", "rate_limit_qps", "answers"),
    Rule("rpm", "RPM", "rate_limit_rpm", "requests", "minute"),
    Rule("tpm", "TPM", "rate_limit_tpm", "tokens", "minute"),
)

#: Dialect -> kind of refusal -> code in its error table. text_generation documents one code for all of them.
ERROR_CODES: Final[Mapping[str, Mapping[str, int | str]]] = MappingProxyType(
    {
        "v1": MappingProxyType({rule.kind: KIN[rule.kind][0] for rule in RULES}),
        "v2": MappingProxyType({rule.kind: KIN[rule.kind][1] for rule in RULES}),
        "text_generation": MappingProxyType({rule.kind: 429 for rule in RULES}),
    }
)


def error_code(dialect: str, kind: str) -> int | str:
    """The code with which ``dialect`` refuses for ``kind``, that of a `Rule`.

    Raises:
        LookupError: there is no such dialect, or no quota refuses with that kind.
    """
    try:
        return ERROR_CODES[dialect][kind]
    except KeyError:
        raise LookupError(
            f"no quota refuses with kind {kind!r} in dialect {dialect!r}; dialects are {', '.join(ERROR_CODES)}, "
            f"kinds {', '.join(ERROR_CODES['v1'])}"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one account may ask of one model. None is no limit, 0 lets nothing in.

    Attributes:
        qps: requests a second.
        rpm: requests a minute.
        tpm: tokens a minute, input and output.
        daily: requests from midnight to midnight in China.
        total: requests ever.
        concurrency: requests whose answers are on their way at the same time.
        window: how ``qps``, ``rpm`` and ``tpm`` are counted: in ``fixed`` windows that begin with their first request,
            as documented; ``sliding``: no stretch as long as the window has more; or as a token ``bucket``.

    Raises:
        ValueError: a limit is no whole number from 0 to 10**12, or there is no such window.
    """

    qps: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    daily: int | None = None
    total: int | None = None
    concurrency: int | None = None
    window: Window = "fixed"

    def __post_init__(self) -> None:
        for rule in RULES:
            limit = getattr(self, rule.field)
            if limit is None:
                continue
            if not isinstance(limit, int) or isinstance(limit, bool) or not 0 <= limit <= MOST:
                a_span = f" a {rule.span}" if rule.span else ""
                raise ValueError(
                    f"{rule.field} is a whole number of {rule.counts}{a_span} from 0 (nothing is let in) to 10**12, "
                    f"or None for no limit; got {limit!r}"
                )
        if self.window not in get_args(Window):
            near = get_close_matches(str(self.window), WINDOWS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"window is one of {', '.join(WINDOWS)}; got {self.window!r}{hint}")

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return any(getattr(self, rule.field) is not None for rule in RULES)

    def to_dict(self) -> dict[str, Any]:
        """The limits that are set, and the window, as JSON-ready data: ``Limits(**limits.to_dict()) == limits``."""
        limits = {rule.field: getattr(self, rule.field) for rule in RULES}
        return {name: limit for name, limit in limits.items() if limit is not None} | {"window": self.window}


#: Limits that a source gives (wire reference 6): text_generation's, which hold unless others are set, and those of
#: ERNIE 3.5, for whoever asks for them: ``Quotas(models=DOCUMENTED)``.
DOCUMENTED: Final[Mapping[str, Limits]] = MappingProxyType(
    {"text_generation": Limits(qps=100), "ernie-3.5-8k": Limits(rpm=300, tpm=300_000)}
)
BUILT_IN: Final[Mapping[str, Limits]] = MappingProxyType({"text_generation": DOCUMENTED["text_generation"]})


class Remaining(NamedTuple):
    """RPM and TPM, and what is left of them; None where there is no limit."""

    rpm: int | None = None
    tpm: int | None = None
    requests: int | None = None
    tokens: int | None = None

    def headers(self, prompt_tokens: int = 0) -> list[tuple[str, str]]:
        """The four ``X-Ratelimit-*`` of a v1 answer (3.3). What is not limited reports wide limits.

        Args:
            prompt_tokens: what the request weighs; 0 for one that was refused.
        """
        requests, tokens = (self.rpm, self.requests), (self.tpm, self.tokens)
        if self.rpm is None:
            requests = WIDE_REQUESTS, WIDE_REQUESTS - 1
        if self.tpm is None:
            tokens = WIDE_TOKENS, max(0, WIDE_TOKENS - prompt_tokens)
        return [
            ("X-Ratelimit-Limit-Requests", str(requests[0])),
            ("X-Ratelimit-Limit-Tokens", str(tokens[0])),
            ("X-Ratelimit-Remaining-Requests", str(requests[1])),
            ("X-Ratelimit-Remaining-Tokens", str(tokens[1])),
        ]
