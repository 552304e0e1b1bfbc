"""The OpenAPI document is true: schemathesis makes up requests from it and holds every answer to it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import CHECKS, load_all_checks

from mock_server import Settings, State, create_app
from mock_server.openapi import document
from mock_server.routes import admin_journal
from mock_server.routes.admin import OPERATIONS
from qfkit.testing.clock import SkippingClock

ROOT = Path(__file__).resolve().parents[2]

load_all_checks()
NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
EFFORT = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch):
    monkeypatch.setattr(admin_journal, "clock", SkippingClock())


def described():
    state = State(Settings(seed=1))
    state.add_account(name="shop")
    return schemathesis.openapi.from_wsgi("/__admin/openapi.json", create_app(state=state))


SCHEMA = described()
CHECKED = CHECKS.get_by_names(NAMES)


def test_the_guide_lists_every_operation_and_no_other():
    text = (ROOT / "docs" / "control-api.md").read_text("utf-8")
    table = text.partition("<!-- operations -->")[2].partition("<!-- end of operations -->")[0]
    listed = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| (.+) \|$", table, re.MULTILINE)
    wanted = [
        (row.method, row.path, " ".join((row.view.__doc__ or "").split()).partition(". ")[0].rstrip("."))
        for row in OPERATIONS
    ]
    assert listed == wanted


@SCHEMA.parametrize()
@settings(max_examples=8, **EFFORT)
def test_every_answer_is_as_described(case):
    if case.path_parameters:
        case.path_parameters = {"name": "shop"} if len(str(case.path_parameters["name"])) % 2 else case.path_parameters
    case.call_and_validate(checks=CHECKED)


def test_operations_on_what_others_made_are_as_described():
    class Machine(described().as_state_machine()):
        def validate_response(self, response, case, **_more):
            case.validate_response(response, checks=CHECKED)

    machine = Machine
    run_state_machine_as_test(machine, settings=settings(max_examples=10, stateful_step_count=8, **EFFORT))


def test_the_published_document_is_current():
    published = json.loads((ROOT / "docs" / "openapi.json").read_text("utf-8"))
    made = json.loads(msgspec.json.encode(document()))
    published["info"].pop("version")
    made["info"].pop("version")
    assert published == made, "run `python -m mock_server.openapi > docs/openapi.json`"
