"""Masking of what should not leave the house, and putting it back into the answer.

A placeholder is ``[MOBILE-1]``: plain ASCII in brackets, so that a model copies it as one thing, Markdown and HTML
leave it alone, and JSON needs no escape; the number is the order in which values occur in the request. The same value
has the same placeholder everywhere in a request, so a model can tell two people apart. A number whose placeholder the
user wrote literally is skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

from qfkit.client.exceptions import ConfigurationError
from qfkit.client.safety.findings import Place
from qfkit.client.safety.kinds import DEFAULT_KINDS, KINDS, MISSING, NEED_STDNUM, Pattern

_PLACEHOLDER = re.compile(r"\[\w+-\d+\]")
#: Shorter credentials are none, and masking them would shred the text.
_SHORTEST_OWN = 8


class Vault:
    """What was masked in one call, and what stands for it.

    Args:
        texts: all texts of the request: placeholders that occur in them are not used.
        own: the client's own credentials, which are masked wherever they occur.
    """

    __slots__ = ("_counts", "_known", "_taken", "own", "values")

    def __init__(self, texts: Iterable[str], own: Iterable[str] = ()) -> None:
        self._taken = {found for text in texts for found in _PLACEHOLDER.findall(text)}
        self._counts: dict[str, int] = {}
        self._known: dict[tuple[str, str], str] = {}
        self.own = tuple(sorted({it for it in own if len(it) >= _SHORTEST_OWN}, key=len, reverse=True))
        #: Placeholder -> the value to put back; those that shall stay masked are not in it.
        self.values: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Vault, {len(self._known)} values>"

    def put(self, label: str, value: str, *, unmask: bool) -> str:
        """The placeholder for ``value``."""
        key = (label, value)
        if key not in self._known:
            count = self._counts.get(label, 0) + 1
            while f"[{label}-{count}]" in self._taken:
                count += 1
            self._counts[label] = count
            self._known[key] = f"[{label}-{count}]"
        placeholder = self._known[key]
        if unmask:
            self.values[placeholder] = value
        return placeholder

    def restore(self, text: str) -> str:
        """``text`` with the values put back."""
        if not self.values or "[" not in text:
            return text
        return _PLACEHOLDER.sub(lambda match: self.values.get(match.group(), match.group()), text)

    def restore_json(self, value: Any) -> Any:
        """The same in every string of a tool call; ``arguments`` is JSON in a string, and stays JSON."""
        if isinstance(value, dict):
            return {
                name: self._restore_encoded(it)
                if name == "arguments" and isinstance(it, str)
                else self.restore_json(it)
                for name, it in value.items()
            }
        if isinstance(value, list):
            return [self.restore_json(it) for it in value]
        return self.restore(value) if isinstance(value, str) else value

    def _restore_encoded(self, text: str) -> str:
        def encoded(match: re.Match[str]) -> str:
            value = self.values.get(match.group())
            return match.group() if value is None else json.dumps(value, ensure_ascii=False)[1:-1]

        return _PLACEHOLDER.sub(encoded, text)


class Restorer:
    """Puts values back into a stream; a placeholder may come in pieces. Holds back what may be the start of one."""

    __slots__ = ("_held", "_vault")

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be said now."""
        text = self._held + text
        start = text.rfind("[")
        tail = text[start:] if start >= 0 else ""
        self._held = tail if tail and any(it != tail and it.startswith(tail) for it in self._vault.values) else ""
        return self._vault.restore(text[: len(text) - len(self._held)])

    def finish(self) -> str:
        """What was held back: nothing more comes."""
        held, self._held = self._held, ""
        return held


@dataclass(frozen=True, slots=True)
class Mask:
    """Replaces personal data and keys in what is sent by placeholders.

    Attributes:
        kinds: names from the table (``key``, ``email``, ``identity``, ``identity_15``, ``bank_card``,
            ``bank_card_known``, ``mobile``, ``ipv4``), and any `Pattern` of your own. Where two claim the same text,
            the one named first has it.
        unmask: put the values back into the answer, in `Reply.text`, `Reply.reasoning` and the arguments of tool calls.
        own: mask the client's own credentials, whatever they look like.

    Raises:
        ConfigurationError: a kind is unknown, or a package is missing.
    """

    kinds: tuple[str | Pattern, ...] = DEFAULT_KINDS
    unmask: bool = True
    own: bool = True
    name: str = "Mask"

    def __post_init__(self) -> None:
        given: object = self.kinds
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise ConfigurationError(f"Mask.kinds is a list, as in kinds=['mobile']; got {type(given).__name__}")
        object.__setattr__(self, "kinds", tuple(given))
        for kind in self.kinds:
            if isinstance(kind, str) and kind not in KINDS:
                near = get_close_matches(kind, KINDS, n=1)
                raise ConfigurationError(
                    f"Mask knows no kind {kind!r}{f': did you mean {near[0]!r}?' if near else ''} There are "
                    f"{', '.join(KINDS)}; for one of your own give a Pattern(name, regex)"
                )
        if NEED_STDNUM & {kind for kind in self.kinds if isinstance(kind, str)}:
            try:
                import stdnum.luhn  # noqa: F401, PLC0415 - an extra
            except ImportError:
                raise ConfigurationError(MISSING) from None

    def apply(self, text: str, place: Place, vault: Vault) -> str:
        """``text`` with placeholders."""
        found: list[_Found] = []
        if self.own:
            found += [
                _Found(match.start(), -1, match.end(), KINDS["key"])
                for value in vault.own
                for match in re.finditer(re.escape(value), text)
            ]
        for rank, kind in enumerate(self.kinds):
            pattern = KINDS[kind] if isinstance(kind, str) else kind
            found += [_Found(start, rank, end, pattern) for start, end in pattern.spans(text)]
        if not found:
            return text
        pieces: list[str] = []
        end = 0
        for it in _without_overlaps(found):
            place.note(self.name, it.kind.name, "mask", it.start)
            pieces += [text[end : it.start], vault.put(it.kind.label, text[it.start : it.end], unmask=self.unmask)]
            end = it.end
        return "".join([*pieces, text[end:]])


class _Found(NamedTuple):
    start: int
    rank: int
    end: int
    kind: Pattern


def _without_overlaps(found: list[_Found]) -> list[_Found]:
    """The finds in the order of the text. One that overlaps an earlier one joins it: no part of either is left."""
    kept: list[_Found] = []
    for item in sorted(found, key=lambda it: it[:3]):
        if kept and item.start < kept[-1].end:
            before = kept[-1]
            named = min(before, item, key=lambda it: it.rank)
            kept[-1] = named._replace(start=before.start, end=max(before.end, item.end))
        else:
            kept.append(item)
    return kept
