"""Which requests a rule is for: what was asked, what is wanted, and why the one is not the other."""

from __future__ import annotations

from mock_server.matching.calling import CallableFailed, call, useless
from mock_server.matching.matcher import Matcher
from mock_server.matching.mismatch import Match, Mismatch
from mock_server.matching.question import Question

__all__ = ["CallableFailed", "Match", "Matcher", "Mismatch", "Question", "call", "useless"]
