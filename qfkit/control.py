"""A running mock's control API, from another process: one session, and every way in which it may not do as asked, told.

For commands and load tests, which reach a mock by its URL alone. In a test's own process `mock_server` is nearer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any


class ControlFailed(Exception):
    """The mock did not do what it was asked to; the message says why, and what to do."""


class ControlAPI:
    """Operations of ``/__admin``.

    Args:
        url: base URL of the mock.
        token: its admin token; it needs one off loopback.
        advice: for whoever finds no mock there: completes "no mock answers at URL (...): ".
        patience: seconds that it may take to answer.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        advice: str = "start one with qfkit mock, or give its --url",
        patience: float = 30.0,
    ) -> None:
        import requests  # noqa: PLC0415 - `qfkit --help` needs none

        self.url = url.rstrip("/")
        self._advice = advice
        self._patience = patience
        self._session = requests.Session()
        self._session.trust_env = False  # a mock is not behind the proxy that the environment names
        if ca := os.environ.get("REQUESTS_CA_BUNDLE"):
            self._session.verify = ca
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None, /, **query: Any) -> bytes:
        """One operation; the body of its answer.

        Args:
            method: of HTTP.
            path: below ``/__admin``.
            body: as JSON.
            query: parameters; those that are None are left out.

        Raises:
            ControlFailed: nobody answers there, or no mock of qfkit does, or it refuses; in its own words.
        """
        import requests  # noqa: PLC0415 - as above

        url = f"{self.url}/__admin/{path}"
        try:
            answer = self._session.request(method, url, json=body, params=query, timeout=self._patience)
        except requests.RequestException as error:
            raise ControlFailed(f"no mock answers at {self.url} ({type(error).__name__}): {self._advice}") from error
        if answer.status_code < 300:
            return answer.content
        try:
            message = str(answer.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            message = f"{url} answers {answer.status_code}: is that a mock of qfkit? {self._advice}"
        raise ControlFailed(message)

    def get(self, path: str, /, **query: Any) -> dict[str, Any]:
        """As `send`, of an operation that only looks; its answer as JSON.

        Raises:
            ControlFailed: as `send`; or the answer is no JSON object.
        """
        data = self.send("GET", path, **query)
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ControlFailed(f"{self.url}/__admin/{path} answers something else than JSON: is that a mock of qfkit?")
        return answer
