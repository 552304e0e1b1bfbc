from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mock_server.journal import Journal, redact, redact_target
from qfkit.protocol.http import HttpRequest

SECRET = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", min_size=16, max_size=80)


@given(SECRET, st.sampled_from(["access_token", "client_id", "client_secret"]), st.sampled_from(["?", "?a=1&"]))
def test_no_key_or_token_of_a_query_is_written(secret, name, before):
    written = redact_target(f"/oauth/2.0/token{before}{name}={secret}&z=2")
    assert secret not in written
    assert written.endswith("&z=2")


@given(
    SECRET,
    st.sampled_from(["Authorization", "X-Bce-Signature", "Cookie", "Api-Key"]),
    st.sampled_from(["{}", "Bearer {}", "bce-auth-v1/AK/2024-05-01T08:00:00Z/300/host/{}"]),
)
def test_no_key_token_or_signature_of_a_header_is_written(secret, name, form):
    ((_, written),) = redact(((name, form.format(secret)),))
    assert secret not in written


def test_what_remains_of_a_signature_still_says_whose_it_is():
    value = "bce-auth-v1/AK/2024-05-01T08:00:00Z/300/host;x-bce-date/0123456789abcdef"
    assert redact((("authorization", value),)) == (
        ("authorization", "bce-auth-v1/AK/2024-05-01T08:00:00Z/300/host;x-bce-date/***"),
    )


def test_it_holds_the_last_entries_and_counts_them_all():
    journal = Journal(3)
    for number in range(5):
        journal.add(journal.open(HttpRequest("POST", f"/{number}"), now=float(number)))
    assert [entry.target for entry in journal.entries()] == ["/2", "/3", "/4"]
    assert journal.count == 5
    assert journal.entries()[-1].number == 5
    journal.clear()
    assert repr(journal.entries()) == "(no requests)"


def test_an_entry_says_itself_in_one_line():
    journal = Journal(3)
    entry = journal.open(HttpRequest("POST", "/v2/chat/completions?a=1"), now=0.0)
    entry.status, entry.answered_by, entry.error_code = 429, "fail 18", 18
    assert str(entry) == "#1 POST /v2/chat/completions [nobody] -> 429 code 18 by fail 18"
    assert entry.to_dict()["status"] == 429
