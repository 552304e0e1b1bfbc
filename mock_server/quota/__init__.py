"""Quotas: QPS, RPM, TPM, requests a day and in all, answers at the same time; of each account, for each model.

``windows`` counts, ``limits`` says what may be limited and how a refusal is named, ``meter`` decides over one request,
``registry`` finds the quota of a model.

What is decided here about the service, all of it [guess] but for the first two:

* limits belong to account *and* model (wire reference 6); text_generation, which has no model, documents 100 QPS;
* the tokens of a minute are input and output. The prompt is counted when a request is let in: that is what
  ``X-Ratelimit-Remaining-Tokens`` fell by (3.3). The rest is counted when it is known. So the last answer may go over
  the quota, and it is the requests after it that are refused, as the documentation words it;
* a request is let in by all of its quotas or by none: one that is refused counts nowhere;
* when several refuse, the gateway's (19, 17, 18) speak before the model service's (336501, 336502): see `RULES`;
* all dialects that serve a model share its counters.
"""

from __future__ import annotations

from mock_server.quota.limits import DOCUMENTED, ERROR_CODES, RULES, Limits, Remaining, error_code
from mock_server.quota.meter import UNLIMITED, Admission, Granted, Quota, Refused
from mock_server.quota.registry import Quotas
from mock_server.quota.windows import Window

__all__ = [
    "DOCUMENTED",
    "ERROR_CODES",
    "RULES",
    "UNLIMITED",
    "Admission",
    "Granted",
    "Limits",
    "Quota",
    "Quotas",
    "Refused",
    "Remaining",
    "Window",
    "error_code",
]
