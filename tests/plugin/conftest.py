"""What runs of pytest inside this process would import anew each time: pytester forgets what they are first to import.

Some of it cannot be imported twice at all (cryptography, below trustme).
"""

from __future__ import annotations

import openai
import requests
import trustme

import mock_server
import mock_server.app
import qfkit.client
import qfkit.grading
import qfkit.testing.guard
import qfkit.testing.intercept
import qfkit.testing.live_run
import qfkit.testing.reporting
import qfkit.testing.strict

IMPORTED = (
    *(openai.OpenAI, requests.get, trustme.CA),
    *(mock_server.MockServer, mock_server.app.create_app, qfkit.client.Client, qfkit.grading.grade),
)
