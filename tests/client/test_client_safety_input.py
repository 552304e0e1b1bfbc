"""Input rules: what is taken out, what stays, what is masked. Truth: unicodedata, python-stdnum, re."""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.cn import ric

from qfkit.client import ConfigurationError, InputRefused, Mask, MaxLength, Pattern, Safety, StripControl, WordList
from qfkit.client.safety.kinds import KINDS

ANY = st.text(st.characters(codec=None, categories=None))
#: Characters that the rule must know, one of each kind and more.
TRICKY = st.text(
    st.sampled_from(
        "a1字 \t\n\r\x00\x7f\x85\u200b\u200c\u200d\u202e\u2066\u2028\ufeff\ufe0f\ufe0e\U000e0041\ud800\ufffe"
    )
    | st.sampled_from("👩💻🏴❤می\u0915\u094d\u0600\u00ad")
)


def strip(text):
    return Safety(input=[StripControl()]).clean(text)


def kinds_in(text, **options):
    cleaned, found = Safety(input=[Mask(**options)]).clean(text)
    return cleaned, {it.kind: it.count for it in found}


# StripControl


@given(ANY | TRICKY)
def test_nothing_invisible_is_left_but_where_it_means_something(text):
    cleaned, _ = strip(text)
    for before, character in zip(" " + cleaned, cleaned, strict=False):
        category = unicodedata.category(character)
        assert category not in {"Cs", "Zl", "Zp"}
        assert category != "Cc" or character in "\t\n"
        assert (
            character
            not in "\u200b\u2060\ufeff\u00ad\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
        )
        if character in "\u200c\u200d":
            assert unicodedata.category(before)[0] in "LMS" or before == "\ufe0f"
    assert strip(cleaned)[0] == cleaned


@given(ANY | TRICKY)
def test_what_one_can_see_stays(text):
    def visible(text):
        return [it for it in text if unicodedata.category(it)[0] in "LNPSZ" and it not in "\u2028\u2029"]

    assert visible(strip(text)[0]) == visible(text)


@pytest.mark.parametrize(
    "text",
    [
        "可以,\t没有问题\n",
        "👨‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈 ❤️‍🔥 1️⃣ ☎︎",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿 England",
        "می‌خواهم کتاب‌ها",
        "क्‍ष श्रीमान् ക്‍",
        "؀١٢٣",  # the Arabic number sign is Cf, and visible
        "葛󠄀城市",  # an ideographic variation sequence
        "한국어 ﬁne é",
    ],
)
def test_writing_stays_whole(text):
    assert strip(text) == (text, ())


@pytest.mark.parametrize(
    ("text", "left", "kind"),
    [
        ("ig\u200bnore", "ignore", "zero_width"),
        ("a\u200db", "ab", "zero_width"),
        ("字\u200c字", "字字", "zero_width"),
        ("ab\u202ecd", "abcd", "bidi"),
        ("a\x1b[31mb", "a[31mb", "control"),
        ("a\x9bb", "ab", "control"),
        ("hi\U000e0068\U000e0069", "hi", "tag"),
        ("a\ufe01\ufe02\ufe03", "a\ufe01", "selector"),
        ("a\ufffeb\U0002ffff", "ab", "other"),
        ("a\ud800b", "ab", "other"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd", "newline"),
    ],
)
def test_what_is_taken_out(text, left, kind):
    cleaned, found = strip(text)
    assert cleaned == left
    assert {it.kind for it in found} == {kind}
    assert all(it.action == "strip" for it in found)


# MaxLength


def test_length_in_characters_and_bytes():
    rule = Safety(input=[MaxLength()])
    assert rule.clean("字" * 4096)[0] == "字" * 4096
    with pytest.raises(InputRefused, match="4097 characters") as caught:
        rule.clean("字" * 4097)
    assert (caught.value.rule, caught.value.where) == ("MaxLength", "messages[0]")
    with pytest.raises(InputRefused, match="32769 bytes"):
        Safety(input=[MaxLength(chars=100_000)]).clean("a" * 32769)


@given(st.text(max_size=80), st.integers(1, 60), st.integers(1, 60))
def test_cut_keeps_to_both_bounds(text, chars, size):
    text = text.encode("utf-8", "ignore").decode()
    try:
        cleaned, found = Safety(input=[MaxLength(chars=chars, bytes=size, action="cut")]).clean(text)
    except InputRefused:
        assert len(text[:1].encode()) > size or size < 1
        return
    assert text.startswith(cleaned)
    assert len(cleaned) <= chars
    assert len(cleaned.encode()) <= size
    assert bool(found) == (cleaned != text)


def test_what_the_model_said_is_not_too_long():
    guard = Safety(input=[MaxLength(chars=5)]).guard(())
    talk = [
        {"role": "user", "content": "short"},
        {"role": "assistant", "content": "a long answer"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "short"}, {"type": "image_url", "image_url": {"url": "x"}}],
        },
    ]
    assert guard.inbound(talk, None) == (talk, None)
    with pytest.raises(InputRefused, match="system has 9 characters"):
        guard.inbound(talk, "system it")


# Mask: the table against the ones who made the checksums

day = st.dates(date(1920, 1, 1), date(2020, 12, 31)).map(lambda it: it.strftime("%Y%m%d"))
place = st.sampled_from(["110105", "310101"])
serial = st.text(string.digits, min_size=3, max_size=3)
card17 = st.tuples(place, day, serial).map("".join)
before = st.sampled_from(["", "我的号码", "id:", " ", "x, "])
after = st.sampled_from(["", "谢谢", "。", " end", ", y"])


@given(card17, before, after)
def test_identity_cards(number, left, right):
    whole = number + ric.calc_check_digit(number + "0")
    assert ric.is_valid(whole)
    for shown in (whole, whole.lower(), f"{whole[:6]} {whole[6:14]} {whole[14:]}"):
        cleaned, kinds = kinds_in(left + shown + right, kinds=["identity"])
        assert kinds == {"identity": 1}
        assert cleaned == f"{left}[IDENTITY-1]{right}"


@given(card17, st.sampled_from(string.digits + "X"))
def test_what_the_checksum_denies_is_no_identity_card(number, digit):
    _, kinds = kinds_in(number + digit, kinds=["identity"])
    assert bool(kinds) == ric.is_valid(number + digit)


@given(st.text(string.digits, min_size=12, max_size=18).filter(lambda it: it.strip("0")), before, after)
def test_bank_cards(digits, left, right):
    whole = digits + luhn.calc_check_digit(digits)
    grouped = " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
    full_width = whole.translate({ord(it): ord(it) + 0xFEE0 for it in string.digits})
    for shown in (whole, full_width):
        assert kinds_in(left + shown + right, kinds=["bank_card"]) == (f"{left}[BANK_CARD-1]{right}", {"bank_card": 1})
    cleaned, kinds = kinds_in(left + grouped + right, kinds=["bank_card"])
    assert kinds["bank_card"] >= 1
    assert whole[-4:] not in cleaned


@given(st.text(string.digits, min_size=13, max_size=19))
def test_what_luhn_denies_is_no_bank_card(digits):
    _, kinds = kinds_in(digits, kinds=["bank_card"])
    assert bool(kinds) == (luhn.is_valid(digits) and bool(digits.strip("0")))


def test_a_card_among_other_numbers_of_a_run():
    card = "6222021234567890" + luhn.calc_check_digit("6222021234567890")
    cleaned, kinds = kinds_in(f"13812345678 {card} 1225", kinds=["bank_card", "mobile"])
    assert card not in cleaned
    assert "bank_card" in kinds


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), before, after)
def test_mobile_numbers(number, left, right):
    for shown in (number, f"+86 {number}", f"0086{number}", f"{number[:3]}-{number[3:7]}-{number[7:]}"):
        assert kinds_in(left + shown + right, kinds=["mobile"]) == (f"{left}[MOBILE-1]{right}", {"mobile": 1})


@pytest.mark.parametrize(
    "text",
    [
        "12812345678",
        "138123456789",
        "213812345678",
        "3.13812345678",
        "1381234567",
        "订单 20240501123456 号",
        "2024-05-01",
    ],
)
def test_what_is_no_mobile_number(text):
    assert kinds_in(text, kinds=["mobile"]) == (text, {})


@given(st.emails())
@example("a.b+c@mail.example.com")
def test_addresses(address):
    local = address.partition("@")[0]
    cleaned, kinds = kinds_in(f"写信到{address}, 谢谢", kinds=["email"])
    if re.fullmatch(r"[A-Za-z0-9._%+-]+", local) and re.search(r"\.[A-Za-z]+$", address):
        assert (cleaned, kinds) == ("写信到[EMAIL-1], 谢谢", {"email": 1})


@pytest.mark.parametrize(
    "key",
    [
        "bce-v3/ALTAK-FAKE0000000000000/0123456789abcdef0123456789abcdef01234567",
        "ALTAKFAKEACCESSKEY000000",
        "24.6c5e1ff107f0e8bcef8c46d3424a0e78.2592000.1485516651.282335-8574074",
        "sk-abcdefghijklmnopqrstuvwx",
        "AKIAIOSFODNN7EXAMPLE",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nMIIB\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIB cut off",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ],
)
def test_keys(key):
    assert kinds_in(f"密钥是{key}", kinds=["key"]) == ("密钥是[KEY-1]", {"key": 1})


def test_the_kinds_that_one_asks_for():
    assert kinds_in("110105491231002", kinds=["identity_15"])[1] == {"identity_15": 1}
    assert kinds_in("110105493231002", kinds=["identity_15"])[1] == {}
    assert kinds_in("10.0.0.1 1.2.3.400 1.2.3.4.5", kinds=["ipv4"]) == ("[IPV4-1] 1.2.3.400 1.2.3.4.5", {"ipv4": 1})
    assert kinds_in("工号 E123456", kinds=[Pattern("工号", r"E\d{6}")])[0] == "工号 [工号-1]"
    assert kinds_in("E2 E3", kinds=[Pattern("even", r"E\d", lambda it: int(it[1]) % 2 == 0)])[0] == "[EVEN-1] E3"
    assert Safety(input=[re.compile("secret")]).clean("a secret")[0] == "a [PATTERN-1]"


def test_placeholders_tell_values_apart_and_are_no_ones_own_words():
    text = "13812345678 找 13912345678, 再找 13812345678; [MOBILE-2] 是他写的"
    assert kinds_in(text)[0] == "[MOBILE-1] 找 [MOBILE-3], 再找 [MOBILE-1]; [MOBILE-2] 是他写的"


def test_finds_that_overlap_are_one():
    assert kinds_in("13812345678@qq.com") == ("[EMAIL-1]", {"email": 1})


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    "text", ["1" * 30_000, "1 " * 15_000, "a" * 30_000, "a@" * 15_000, "a." * 15_000, "-" * 30_000]
)
@pytest.mark.parametrize("seed", ["", "-----BEGIN PRIVATE KEY-----", "eyJ"])
def test_every_pattern_is_linear(kind, text, seed):
    # Quadratic ones would take minutes, and the time-out of the test.
    list(kind.spans((seed + text)[:30_000] * 4))
    list(kind.spans(seed * 2000))


# The values


def test_own_rules():
    def shout(text):
        return text.upper()

    cleaned, found = Safety(input=[shout]).clean("abc")
    assert cleaned == "ABC"
    assert [(it.rule, it.action) for it in found] == [("shout", "change")]
    with pytest.raises(TypeError, match="returns NoneType"):
        Safety(input=[lambda text: None]).clean("abc")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mask(kinds=["mobil"]), "did you mean 'mobile'"),
        (lambda: Mask(kinds="mobile"), r"kinds=\['mobile'\]"),
        (lambda: Pattern("x", "("), "no regular expression"),
        (lambda: Pattern("x", "a*"), "at least one"),
        (lambda: MaxLength(chars=0), "1 or more"),
        (lambda: MaxLength(action="drop"), "'raise' or 'cut'"),
        (lambda: Safety(input=StripControl()), "list of rules"),
        (lambda: Safety(input=[StripControl]), r"write StripControl\(\)"),
        (lambda: Safety(output=[StripControl()]), "other direction"),
        (lambda: Safety(input=[WordList(["x"])]), "other direction"),
        (lambda: Safety(input=["mobile"]), "no input rule"),
    ],
)
def test_mistakes_are_explained(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_a_missing_package_names_the_extra(monkeypatch):
    for name in ("stdnum", "stdnum.luhn", "ahocorasick"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"python-stdnum: pip install \"qfkit\[safety\]\""):
        Mask()
    with pytest.raises(ConfigurationError, match=r"pyahocorasick: pip install \"qfkit\[safety\]\""):
        WordList(["x"])
    assert Mask(kinds=["mobile"])
