"""The kinds of things that `Mask` finds: a table. A row is a pattern and, where digits alone prove nothing, a check.

Digits of any script are digits here (full-width ones, too). A number is looked for only where no further digit touches
it, so part of a longer number is not taken for a whole one. Every pattern takes time that is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from qfkit.client.exceptions import ConfigurationError

MISSING: Final = (
    'checksums of identity cards and bank cards need the package python-stdnum: pip install "qfkit[safety]"'
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of thing to find.

    Attributes:
        name: what it is called in findings; in capitals it is the name in the placeholder: ``[MOBILE-1]``.
        regex: finds candidates; a string, or a compiled one.
        check: says whether a candidate is one; None takes all.

    Raises:
        ConfigurationError: the expression is none, or finds empty text.
    """

    name: str
    regex: str | re.Pattern[str]
    check: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        try:
            compiled = re.compile(self.regex)
        except re.error as error:
            raise ConfigurationError(
                f"Pattern {self.name!r}: {self.regex!r} is no regular expression: {error}"
            ) from None
        if compiled.match("") is not None or not self.label.strip("_"):
            raise ConfigurationError(
                f"Pattern {self.name!r} needs a name with a letter in it, and an expression that finds at least one "
                f"character; got {self.regex!r}"
            )
        object.__setattr__(self, "regex", compiled)

    @property
    def label(self) -> str:
        """Its name in placeholders."""
        return re.sub(r"[^\w]+", "_", self.name).upper()

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where they stand: beginning and end."""
        for match in re.finditer(self.regex, text):
            if match.end() > match.start() and (self.check is None or self.check(match.group())):
                yield match.span()


@dataclass(frozen=True, slots=True)
class Cards(Pattern):
    """Bank cards: any 13 to 19 digits, in groups or not, among the groups of a run of digits.

    A run may hold more than the card: a phone number in front, the date until which it is valid behind. ``check`` is
    given the digits alone, in ASCII.
    """

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """As `Pattern.spans`; of several readings of a run the longest card that begins first."""
        for run in re.finditer(self.regex, text):
            groups = list(re.finditer(r"\d+", run.group()))
            numbers = [digits(it.group()) for it in groups]
            first = 0
            while first < len(groups):
                last = self._card(numbers, first)
                if last is not None:
                    yield run.start() + groups[first].start(), run.start() + groups[last].end()
                first = first + 1 if last is None else last + 1

    def _card(self, numbers: list[str], first: int) -> int | None:
        found, number = None, ""
        for last in range(first, len(numbers)):
            number += numbers[last]
            if len(number) > 19:
                break
            if len(number) >= 13 and self.check is not None and self.check(number):
                found = last
        return found


def digits(text: str) -> str:
    """The digits in ``text`` as ASCII, and an X at its end."""
    found = "".join(str(unicodedata.decimal(it)) for it in text if it.isdecimal())
    return found + "X" if text[-1:] in {"x", "X", "ｘ", "Ｘ"} else found


def _identity(text: str) -> bool:
    # Not ric.validate, which also wants the place to be in its table of districts: a district that it does not know
    # yet, or no longer, must not let a card through.
    from stdnum.cn import ric  # noqa: PLC0415 - an extra

    number = digits(text)
    return _is_day(number[6:14]) and ric.calc_check_digit(number) == number[-1]


def _identity_15(text: str) -> bool:
    return _is_day("19" + digits(text)[6:12])


def _is_day(text: str) -> bool:
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return False
    return True


def _luhn(number: str) -> bool:
    from stdnum import luhn  # noqa: PLC0415 - an extra

    return luhn.is_valid(number) and bool(number.strip("0"))


#: First digits of cards in use: UnionPay, Visa, Mastercard, American Express, JCB, Diners, Discover, Maestro.
_PREFIX = re.compile(r"62|4|5[1-5]|2[2-7]|3[4-9]|6[045]|50|5[6-9]|81")


def _known_card(number: str) -> bool:
    return _PREFIX.match(number) is not None and _luhn(number)


def _ipv4(text: str) -> bool:
    return all(int(part) <= 255 for part in text.split("."))


_NOT_IN_NUMBER = r"(?<!\d)(?<!\d\.)"
_END = r"(?!\d)"
_KEY_SHAPES = (
    r"bce-v3/[A-Za-z0-9-]{4,}/[A-Za-z0-9]{8,}",  # bearer tokens of v2 (wire reference 2.3)
    r"bce-auth-v1/[\w./:%;-]{16,}",  # signatures
    r"ALTAK-?[A-Za-z0-9]{16,}",  # access keys
    r"24\.[A-Za-z0-9]{16,}\.\d+\.\d+\.\d+-\d+",  # OAuth access tokens (2.1)
    r"sk-[A-Za-z0-9_-]{16,}",
    r"A(?:KIA|SIA)[0-9A-Z]{16}",
    r"gh[pousr]_[A-Za-z0-9]{36,}",
    r"AIza[0-9A-Za-z_-]{35}",
    r"(?<![_-])eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",  # a JSON web token
)
#: A private key; one that was cut off is masked to the end of the text.
_PEM = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----END ))*(?:-----END [A-Z0-9 ]{0,40}-----|\Z)"

KEY = Pattern("key", rf"(?<![A-Za-z0-9])(?:{'|'.join(_KEY_SHAPES)})|{_PEM}")

#: Name -> kind. Where two kinds claim the same text, the one further up has it.
KINDS: Final[dict[str, Pattern]] = {
    kind.name: kind
    for kind in (
        KEY,
        Pattern("email", r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]+[@＠](?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"),
        Pattern("identity", rf"{_NOT_IN_NUMBER}\d{{6}}[ -]?\d{{8}}[ -]?\d{{3}}[\dXxＸｘ](?![\dA-Za-z])", _identity),
        Pattern("identity_15", rf"{_NOT_IN_NUMBER}\d{{15}}{_END}", _identity_15),
        Cards("bank_card", rf"{_NOT_IN_NUMBER}\d(?:[ -]?\d){{12,}}{_END}", _luhn),
        Cards("bank_card_known", rf"{_NOT_IN_NUMBER}\d(?:[ -]?\d){{12,}}{_END}", _known_card),
        Pattern("mobile", rf"{_NOT_IN_NUMBER}(?:(?:\+|00)?86[ -]?)?[1１][3-9３-９]\d(?:[ -]?\d{{4}}){{2}}{_END}"),
        Pattern("ipv4", r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]*\d)", _ipv4),
    )
}
#: Kinds that are looked for unless one says otherwise. The others take too much that is something else: any 15 digits
#: with a date among them, any address of a machine.
DEFAULT_KINDS: Final = ("key", "email", "identity", "bank_card", "mobile")
#: Kinds whose check is python-stdnum's.
NEED_STDNUM: Final = frozenset({"identity", "bank_card", "bank_card_known"})
