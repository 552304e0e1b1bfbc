r"""Input rules that take characters away: what nobody can see, and what is too much.

What `StripControl` removes, by Unicode's general category:

* Cc (C0 and C1 controls) but tab and newline. ``\r\n`` and a lone ``\r`` become a newline.
* Cf (format) but the visible ones, which stand before a number or a word in Arabic, Syriac and Kaithi. Among Cf are the
  zero-width characters, the soft hyphen, the marks and overrides that make text look other than it reads ("Trojan
  source"), and the tag characters, in which instructions can be hidden that a model reads and a person does not see.
* Cn and Cs, as far as they are no text at all: noncharacters (U+FFFE …) and halves of a character (surrogates).
* Zl and Zp, the separators of lines and paragraphs, become a newline.
* Variation selectors (Mn, invisible) that do not follow a character which they could vary, such as one after another:
  a run of them can carry hidden bytes.

Some of these mean something where they stand, and stay there: U+200D and U+200C after a letter or mark of a script that
uses them (Arabic and its relatives, Mongolian, the Indic family), U+200D between two emoji, and tags that spell a
flag after U+1F3F4. Directional marks are removed: they change how text is displayed, never what it says.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

from qfkit.client.exceptions import ConfigurationError, InputRefused
from qfkit.client.safety.findings import Place

#: Cf that one can see: prepended concatenation marks (Unicode 16, PropList).
_VISIBLE: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
#: Formatting that a script needs: Egyptian quadrats, shorthand, musical beams.
_SCRIPT_FORMAT: Final = re.compile("[\U00013430-\U00013440\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]")
_ZERO_WIDTH: Final = frozenset("\u00ad\u180e\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff")
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NEWLINES: Final = frozenset("\r\u2028\u2029")

#: Scripts whose letters change shape by U+200C and U+200D.
_JOINING: Final = re.compile(
    "[\u0600-\u109f\u1700-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefe\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
_PICTURE: Final = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_FLAG: Final = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,8}\U000e007f")
_SELECTOR: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")

#: Nothing but these can need a closer look; most texts have none.
_SUSPECT: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\ufff0-\uffff"
    "\U000110bd\U000110cd\U00013430-\U00013440\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    "|[\U0001fffe\U0001ffff\U0002fffe\U0002ffff\U0003fffe\U0003ffff\U0004fffe-\U0004ffff\U0005fffe\U0005ffff"
    "\U0006fffe\U0006ffff\U0007fffe\U0007ffff\U0008fffe\U0008ffff\U0009fffe\U0009ffff\U000afffe\U000affff"
    "\U000bfffe\U000bffff\U000cfffe\U000cffff\U000dfffe\U000dffff\U000efffe\U000effff\U000ffffe\U000fffff"
    "\U0010fffe\U0010ffff]"
)


@dataclass(frozen=True, slots=True)
class StripControl:
    """Takes out control and invisible characters; see the top of this module for which, and why.

    Applying it twice changes nothing more. Emoji sequences, flags, Persian and Indic spelling stay whole.
    """

    name: str = "StripControl"

    def apply(self, text: str, place: Place) -> str:
        """``text`` without them; notes ``control``, ``zero_width``, ``bidi``, ``tag``, ``selector`` or ``other``."""
        if _SUSPECT.search(text) is None:
            return text
        kept: list[str] = []
        flags = {at for match in _FLAG.finditer(text) for at in range(match.start() + 1, match.end())}
        last = len(text) - 1
        for index, character in enumerate(text):
            if _SUSPECT.match(character) is None or index in flags:
                kept.append(character)
            elif character in _NEWLINES:
                if character != "\r" or text[index + 1 : index + 2] != "\n":
                    kept.append("\n")
                place.note(self.name, "newline", "strip", index)
            elif _stays(character, kept[-1] if kept else "", text[index + 1] if index < last else ""):
                kept.append(character)
            else:
                place.note(self.name, _kind(character), "strip", index)
        return "".join(kept)


def _stays(character: str, before: str, after: str) -> bool:
    if character in _VISIBLE or _SCRIPT_FORMAT.match(character):
        return True
    if _SELECTOR.match(character):
        return bool(before) and not before.isspace() and not _is_invisible(before)
    if character not in "\u200c\u200d" or not before:
        return False
    if _JOINING.match(before) and unicodedata.category(before)[0] in "LM":
        return True
    picture = before == "\ufe0f" or bool(_PICTURE.match(before))
    return character == "\u200d" and picture and bool(_PICTURE.match(after))


def _is_invisible(character: str) -> bool:
    return bool(_SELECTOR.match(character)) or unicodedata.category(character) in {"Cf", "Cc"}


def _kind(character: str) -> str:
    if character in _ZERO_WIDTH:
        return "zero_width"
    if character in _BIDI:
        return "bidi"
    if _SELECTOR.match(character):
        return "selector"
    if "\U000e0000" <= character <= "\U000e0fff":
        return "tag"
    return "control" if unicodedata.category(character) == "Cc" else "other"


@dataclass(frozen=True, slots=True)
class MaxLength:
    """Bounds what is sent.

    Attributes:
        chars: characters of one message of the user, or of the system prompt; 4096 is the tutorial's advice. Messages
            of the assistant and of tools are not the user's to shorten.
        bytes: of all texts of a request together, in UTF-8: 32 KB is what the service takes.
        action: ``raise``, or ``cut``: what is over ``chars`` is left out from the end of the message; what is over
            ``bytes`` is left out from the end of the user's last one.

    Raises:
        ConfigurationError: a bound is less than 1, or the action is none.
    """

    chars: int = 4096
    bytes: int = 32 * 1024
    action: Literal["raise", "cut"] = "raise"
    name: str = "MaxLength"

    def __post_init__(self) -> None:
        if self.chars < 1 or self.bytes < 1:
            raise ConfigurationError(f"MaxLength: chars and bytes are 1 or more; got {self.chars!r} and {self.bytes!r}")
        if self.action not in {"raise", "cut"}:
            raise ConfigurationError(f"MaxLength.action is 'raise' or 'cut'; got {self.action!r}")

    def apply(self, text: str, place: Place) -> str:
        """``text``, within ``chars``.

        Raises:
            InputRefused: it is longer, and ``action`` is ``raise``.
        """
        if place.role not in {"user", "system"} or len(text) <= self.chars:
            return text
        if self.action == "raise":
            raise InputRefused(
                f"{place.where} has {len(text)} characters, more than MaxLength.chars = {self.chars}: shorten it, "
                "raise the bound, or let MaxLength(action='cut') leave out its end",
                rule=self.name,
                where=place.where,
            )
        place.note(self.name, "chars", "cut", self.chars)
        return text[: self.chars]

    def total(self, texts: list[str], last: int | None, place: Place) -> list[str]:
        """All texts of a request, within ``bytes``; ``last`` is the index of the user's last one.

        Raises:
            InputRefused: they are more, and ``action`` is ``raise``, or what may be cut is not enough.
        """
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        over = size - self.bytes
        if over <= 0:
            return texts
        room = 0 if last is None else len(texts[last].encode("utf-8", "surrogatepass")) - over
        if self.action == "raise" or last is None or room <= 0:
            raise InputRefused(
                f"the texts of the request have {size} bytes in UTF-8, more than MaxLength.bytes = {self.bytes}: send "
                "less of the conversation, or ask in several requests",
                rule=self.name,
                where=place.where,
            )
        cut = texts[last].encode("utf-8", "surrogatepass")[:room].decode("utf-8", "ignore")
        place.note(self.name, "bytes", "cut", len(cut))
        return [cut if index == last else text for index, text in enumerate(texts)]
