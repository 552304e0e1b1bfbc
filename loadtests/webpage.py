"""Our figures in Locust's web page: a tab beside its own, a page for reading, and the report as JSON.

Locust's page knows extra tabs with a table, whose rows come with its own statistics every two seconds. The table has a
row for each kind of duration; its Aggregated row stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, request

from loadtests.reporting.page import page as page_of

if TYPE_CHECKING:
    from locust.env import Environment

KEY = "qfkit"
_PATH = "/qfkit"

#: Member of a row -> its head. Locust's page turns names from snake_case into camelCase, so they are single words.
_COLUMNS = {
    "scenario": "Scenario",
    "figure": "Milliseconds",
    "count": "Count",
    "mean": "Mean",
    "p50": "p50",
    "p90": "p90",
    "p95": "p95",
    "p99": "p99",
    "p999": "p99.9",
    "max": "Max",
}


def rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each kind of duration of each scenario, other tools' variants last."""
    found = []
    for scenario, data in report["scenarios"].items():
        for figure, row in (*data["milliseconds"].items(), *data.get("variants", {}).items()):
            quantiles = {name: row[name.replace("p999", "p99.9")] for name in _COLUMNS if name[0] == "p"}
            found.append(
                {"scenario": scenario, "figure": figure, "count": row["count"], "mean": row["mean"]}
                | quantiles
                | {"max": row["max"]}
            )
    return found


def add_tab(environment: Environment, report: Callable[[], dict[str, Any]]) -> None:
    """Add the tab ``qfkit``, ``/qfkit`` and ``/qfkit/report.json`` to Locust's web page."""
    web = environment.web_ui
    assert web is not None
    app = web.app
    assert app is not None
    blueprint = Blueprint("qfkit", __name__)

    @blueprint.route(_PATH)
    def page() -> Response:
        return Response(page_of(report()), mimetype="text/html; charset=utf-8")

    @blueprint.route(f"{_PATH}/report.json")
    def data() -> Response:
        return jsonify(report())

    def extend(response: Response) -> Response:
        if request.path.endswith("/stats/requests") and response.is_json:
            shown = response.get_json()
            # Locust keeps an answer for two seconds and sends it again: ours may stand in it already.
            others = [it for it in shown.get("extended_stats", []) if it["key"] != KEY]
            shown["extended_stats"] = [*others, {"key": KEY, "data": rows(report())}]
            response.set_data(app.json.dumps(shown))
        return response

    app.after_request(extend)
    app.register_blueprint(blueprint)
    structure = [{"key": key, "title": title} for key, title in _COLUMNS.items()]
    web.template_args["extended_tabs"] = [
        *web.template_args.get("extended_tabs", []),
        {"title": "qfkit", "key": KEY},
    ]
    web.template_args["extended_tables"] = [
        *web.template_args.get("extended_tables", []),
        {"key": KEY, "structure": structure},
    ]
