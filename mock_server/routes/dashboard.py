"""The page on which a person watches the mock. It is static: what it shows it asks of the control API."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, send_from_directory

from mock_server.routes.operation import PREFIX

_FILES = Path(__file__).resolve().parent.parent / "dashboard"

#: The page is made of these three files and asks this server alone.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

dashboard = Blueprint("dashboard", __name__)


@dashboard.get(f"{PREFIX}/", strict_slashes=False)
@dashboard.get(f"{PREFIX}/<any('dashboard.js', 'dashboard.css'):name>")
def page(name: str = "index.html") -> Response:
    """One file of the page. It holds nothing of anybody, so it needs no token; it asks for one when it has to."""
    response = send_from_directory(_FILES, name)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-cache"
    return response
