"""Scenarios that do more than send: what is played on the mock, what it saw, the search for a ceiling, hours."""
