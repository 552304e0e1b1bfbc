"""`Safety`: the rules of a client, or of one call, as one value."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from qfkit.client.exceptions import ConfigurationError
from qfkit.client.safety.cleaning import MaxLength, StripControl
from qfkit.client.safety.findings import Finding
from qfkit.client.safety.guard import Guard
from qfkit.client.safety.kinds import Pattern
from qfkit.client.safety.masking import Mask
from qfkit.client.safety.screens import OutputRule
from qfkit.client.safety.topics import ServiceFlags

InputRule: TypeAlias = StripControl | MaxLength | Mask | Pattern | re.Pattern[str] | Callable[[str], str]
AnyOutputRule: TypeAlias = OutputRule | ServiceFlags | Callable[[str], str]


@dataclass(frozen=True)
class Safety:
    """What may be sent, and what may be shown. ``Client(…, safety=Safety(input=[…], output=[…]))``.

    Attributes:
        input: rules for each text that is sent, in order: `StripControl`, `Mask`, `MaxLength`; a `Pattern` or a
            compiled expression, whose finds are masked; any function from a text to the text to send instead (it raises
            `InputRefused` to refuse). Cut after masking, not before: half a phone number is not recognized.
        output: rules for the answer, in order: `WordList`, `Topics`, `ServiceFlags`; any function from a sentence to
            what is said instead (it raises `UnsafeContent` to refuse), for which streams are held back sentence by
            sentence.

    Raises:
        ConfigurationError: something is no rule, or is one for the other direction.
    """

    input: Sequence[InputRule] = ()
    output: Sequence[AnyOutputRule] = ()

    def __post_init__(self) -> None:
        for name, check in (("input", _input_rule), ("output", _output_rule)):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise ConfigurationError(f"Safety.{name} is a list of rules; got {type(given).__name__}")
            object.__setattr__(self, name, tuple(check(rule) for rule in given))

    @classmethod
    def default(cls) -> Safety:
        """What the tutorial advises. Needs the extra: ``pip install "qfkit[safety]"``.

        No control characters, personal data masked, 4096 characters and 32 KB at most; and the service's own marks are
        heeded.
        """
        return cls(input=(StripControl(), Mask(), MaxLength()), output=(ServiceFlags(),))

    def clean(self, text: str) -> tuple[str, tuple[Finding, ...]]:
        """One text of a user as it would be sent, and what was done to it: for what you write to a file or a log.

        Raises:
            InputRefused: a rule does not let it pass.
        """
        guard = self.guard(())
        messages, _ = guard.inbound([{"role": "user", "content": text}], None)
        return str(messages[0]["content"]), guard.findings

    def guard(self, own: Sequence[str]) -> Guard:
        """These rules at work on one call; ``own`` are the client's credentials."""
        return Guard(self.input, self.output, own)


def check_safety(value: object) -> Safety | None:
    """What a client or call is given as ``safety``, False meaning none.

    Raises:
        ConfigurationError: it is neither.
    """
    if value is None or value is False:
        return None
    if isinstance(value, Safety):
        return value
    raise ConfigurationError(
        f"safety is a Safety, such as Safety.default(), or False for none; got {type(value).__name__}"
    )


def _input_rule(rule: Any) -> Any:
    if isinstance(rule, re.Pattern):
        rule = Pattern("pattern", rule)
    if isinstance(rule, Pattern):
        return Mask(kinds=(rule,), own=False)
    if isinstance(rule, type) or hasattr(rule, "screen") or isinstance(rule, ServiceFlags) or not _works(rule, "apply"):
        raise ConfigurationError(f"{_named(rule)} is no input rule: see Safety.input for what is{_hint(rule)}")
    return rule


def _output_rule(rule: Any) -> Any:
    if isinstance(rule, type) or hasattr(rule, "apply"):
        raise ConfigurationError(f"{_named(rule)} is no output rule: see Safety.output for what is{_hint(rule)}")
    if not isinstance(rule, ServiceFlags) and not _works(rule, "screen"):
        raise ConfigurationError(f"{_named(rule)} is no output rule: see Safety.output for what is")
    return rule


def _works(rule: Any, method: str) -> bool:
    return hasattr(rule, method) or callable(rule)


def _hint(rule: Any) -> str:
    if isinstance(rule, type):
        return f". A rule is a value: write {rule.__name__}()"
    return ". It belongs to the other direction" if hasattr(rule, "apply") or hasattr(rule, "screen") else ""


def _named(rule: Any) -> str:
    return rule.__name__ if isinstance(rule, type) else type(rule).__name__
