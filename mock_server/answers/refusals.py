"""How the service refuses in the form of an answer (wire reference 3.3, 4.2); for errors there is `fail`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mock_server.faults.options import OptionError, nearest


@dataclass(frozen=True, slots=True)
class Refusal:
    """One way to refuse.

    Attributes:
        meaning: what happened, for the documentation.
        text: what the answer says, in our words: no recording has the service's; None makes it up.
        options: options of `beside.Beside`.
    """

    meaning: str
    text: str | None
    options: Mapping[str, Any] = field(default_factory=dict)


_SORRY = "抱歉，这个问题我无法回答。"

#: Kind -> how the answer looks. The meanings of `flag` are documented; which of them come together is a guess.
REFUSALS: Final[Mapping[str, Refusal]] = {
    "sensitive-input": Refusal(
        "the question is unsafe: nothing of it may be shown, and the history has to go",
        _SORRY,
        {"finish_reason": "content_filter", "flag": 3, "need_clear_history": True, "ban_round": -1},
    ),
    "sensitive-history": Refusal(
        "an earlier round is unsafe: the first, unless `ban_round` says another",
        _SORRY,
        {"finish_reason": "content_filter", "flag": 3, "need_clear_history": True, "ban_round": 1},
    ),
    "sensitive-output": Refusal(
        "the answer turned out unsafe: what was shown of it has to be withdrawn",
        None,
        {"finish_reason": "content_filter", "flag": 4, "need_clear_history": True, "ban_round": -1},
    ),
    "banned-topic": Refusal("the topic is banned, the answer may be shown", _SORRY, {"flag": 2}),
    "low-risk": Refusal("an answer like any other, marked as of low risk", None, {"flag": 1}),
    "content_filter": Refusal("nothing but the reason for which it ended", "", {"finish_reason": "content_filter"}),
}


def refusal(kind: str) -> Refusal:
    """The refusal of that name.

    Raises:
        OptionError: there is none; the message names the nearest.
    """
    found = REFUSALS.get(kind)
    if found is None:
        raise OptionError("refuse", f"refuse() knows no kind {kind!r}; {nearest(str(kind), list(REFUSALS))}")
    return found
