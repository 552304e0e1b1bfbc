"""The OpenAPI document of the control API, made from its table of operations.

python -m mock_server.openapi > docs/openapi.json
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from typing import Any

import msgspec

from mock_server.routes.admin import OPERATIONS
from mock_server.routes.admin_accounts import create_account
from mock_server.routes.guard import TOKEN_HEADER
from mock_server.routes.operation import ERRORS, PREFIX, ErrorBody, Operation

_ABOUT = """\
What a test does with an account handle, over HTTP. A server on a loopback address takes requests of this machine; one \
with the setting `admin_token`, which every other address needs, asks for that token."""

_REF = "#/components/schemas/{name}"

#: Errors that any operation may answer.
_ALWAYS = (401, 403)


def document() -> dict[str, Any]:
    """The document, OpenAPI 3.1: its schemas are JSON Schema 2020-12, as msgspec makes them."""
    types = [ErrorBody, *(kind for row in OPERATIONS for kind in (row.body, row.answer, row.query) if kind is not None)]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    queries = {row.query.__name__ for row in OPERATIONS if row.query}
    paths: dict[str, dict[str, Any]] = {}
    for row in OPERATIONS:
        paths.setdefault(f"{PREFIX}{row.path}", {})[row.method.lower()] = _operation(row, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "qfkit mock: control API", "version": version("qfkit"), "description": _ABOUT},
        "tags": [{"name": tag} for tag in dict.fromkeys(row.tag for row in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in sorted(schemas.items()) if name not in queries},
            "responses": {
                code: {"description": words, "content": {"application/json": {"schema": _schema(ErrorBody)}}}
                for code, words in ERRORS.values()
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER},
            },
        },
    }


def _operation(row: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, rest = " ".join((row.view.__doc__ or "").split()).partition(". ")
    made: dict[str, Any] = {"operationId": row.name, "tags": [row.tag], "summary": summary.rstrip(".")}
    if rest:
        made["description"] = rest
    if row.python:
        made["x-python"] = row.python
    made["security"] = [] if row.open else [{"bearer": []}, {"header": []}, {}]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", row.path)
    ]
    if row.query:
        parameters += [_parameter(name, schema) for name, schema in schemas[row.query.__name__]["properties"].items()]
    if parameters:
        made["parameters"] = parameters
    if row.body is not None:
        made["requestBody"] = {"required": False, "content": {"application/json": {"schema": _schema(row.body)}}}
    made["responses"] = {str(row.status): _answer(row)} | {
        str(status): {"$ref": f"#/components/responses/{ERRORS[status][0]}"} for status in sorted(_errors(row))
    }
    return made


def _errors(row: Operation) -> set[int]:
    found = {*row.errors, 400}
    if not row.open:
        found |= {*_ALWAYS}
    if "{name}" in row.path:
        found.add(404)
    return found


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter: what is left out is not sent, so it is never null."""
    told = {key: value for key, value in schema.items() if key not in {"description", "default"}}
    if choices := [each for each in told.pop("anyOf", []) if each.get("type") != "null"]:
        told |= choices[0]
    if schema.get("default") is not None:
        told["default"] = schema["default"]
    return {"name": name, "in": "query", "description": schema.get("description", ""), "schema": told}


def _answer(row: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if row.answer is not None:
        content["application/json"] = {"schema": _schema(row.answer)}
    for media in row.media:
        content[media] = {"schema": {} if media.endswith("json") and "+" in media else {"type": "string"}}
    made: dict[str, Any] = {"description": "Done."}
    if content:
        made["content"] = content
    if row.view is create_account:
        made["links"] = {
            each.name: {"operationId": each.name, "parameters": {"name": "$response.body#/name"}}
            for each in OPERATIONS
            if "{name}" in each.path
        }
    return made


def _schema(kind: Any) -> dict[str, Any]:
    return dict(msgspec.json.schema_components([kind], ref_template=_REF)[0][0])


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document()), indent=2) + b"\n")
