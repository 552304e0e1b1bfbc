"""Safety of what goes in and what comes out: rules as values, composed into a `Safety`.

``cleaning`` and ``masking`` hold the input rules (``kinds`` is their table), ``words`` and ``topics`` the output
rules, ``screens`` how those look at an answer piece by piece. ``policy`` is the value that holds rules, ``guard`` what
they do to one call. python-stdnum and pyahocorasick are not imported before a rule needs them.
"""

from qfkit.client.safety.cleaning import MaxLength, StripControl
from qfkit.client.safety.findings import Finding
from qfkit.client.safety.kinds import Pattern
from qfkit.client.safety.masking import Mask
from qfkit.client.safety.policy import Safety
from qfkit.client.safety.topics import ServiceFlags, Topic, Topics
from qfkit.client.safety.words import WordList

__all__ = [
    "Finding",
    "Mask",
    "MaxLength",
    "Pattern",
    "Safety",
    "ServiceFlags",
    "StripControl",
    "Topic",
    "Topics",
    "WordList",
]
