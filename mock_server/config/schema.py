"""The JSON Schema of the configuration file, from the same annotations and tables that the loader checks with.

It never refuses what the loader takes, but for placeholders (``${NAME}``) where a choice stands. It cannot say
everything: which options contradict each other, which error codes there are.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import msgspec

from mock_server.chaos import Chaos
from mock_server.config.scripts import RULE_EXAMPLE, example_of_step, options_of
from mock_server.faults.options import Options
from mock_server.faults.whole import FAULTS
from mock_server.matching import Matcher
from mock_server.scenario.data import STEPS

#: Where the schema is published, below the root of the project.
PUBLISHED = "docs/settings.schema.json"


def schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a file that holds ``kind``."""
    (reference,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    for name, struct in definitions.items():
        if "properties" in struct:
            _link(struct["properties"])
            struct["title"] = {kind.__name__: "Configuration of qfkit mock"}.get(name, struct["title"])
    for opener in STEPS:
        _, beneath = msgspec.json.schema_components([STEPS[opener]], ref_template="#/$defs/{name}")
        definitions |= {name: each for name, each in beneath.items() if name != STEPS[opener].__name__}
    definitions["Step"] = {
        "title": "Step",
        "description": "One step of a script, told by the key it opens with.",
        "oneOf": [_step(opener) for opener in STEPS],
    }
    definitions["Rule"] = {
        "title": "Rule",
        "description": "Which requests it is for, and what they meet.",
        "type": "object",
        "properties": {
            "on": {"$ref": "#/$defs/Matcher"},
            "priority": {"type": "integer", "default": 0, "description": "the highest goes first"},
            "script": {"type": "array", "items": {"$ref": "#/$defs/Step"}},
        },
        "additionalProperties": False,
        "examples": [RULE_EXAMPLE],
    }
    definitions["AccountConfig"]["properties"]["chaos"]["anyOf"] = [{"$ref": "#/$defs/Chaos"}, {"type": "null"}]
    definitions["Chaos"] = {
        "title": "Chaos",
        "description": "Faults at random, the same ones for the same seed.",
        "type": "object",
        "properties": _options(Chaos),
        "additionalProperties": False,
    }
    definitions["Matcher"] = {
        "title": "Matcher",
        "description": "What a request has to be; all of it.",
        "type": "object",
        "properties": {name: each for name, each in _options(Matcher).items() if name != "where"},
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **reference,
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text(kind: type[msgspec.Struct]) -> str:
    """The schema as it is published."""
    return json.dumps(schema_of(kind), ensure_ascii=False, indent=2) + "\n"


#: Field of an account -> what its items are.
_ITEMS = {"script": "Step", "rules": "Rule"}


def _link(properties: dict[str, Any]) -> None:
    for name, target in _ITEMS.items():
        if name in properties:
            properties[name]["items"] = {"$ref": f"#/$defs/{target}"}


def _step(opener: str) -> dict[str, Any]:
    """The schema of the steps that open with ``opener``."""
    _, definitions = msgspec.json.schema_components([STEPS[opener]], ref_template="#/$defs/{name}")
    own = definitions[STEPS[opener].__name__]
    beside = _faults() if opener == "fault" else _options(options) if (options := options_of(opener, {})) else {}
    return {
        "title": opener,
        "description": (STEPS[opener].__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": {**beside, **own["properties"]},
        "required": [opener],
        "additionalProperties": False,
        "examples": [example_of_step(opener)],
    }


def _faults() -> dict[str, Any]:
    """The options of all faults: which of them has which, only the loader says."""
    found: dict[str, list[dict[str, Any]]] = {}
    for fault in FAULTS.values():
        for name, schema in _options(fault).items():
            if schema not in found.setdefault(name, []):
                found[name].append(schema)
    return {name: schemas[0] if len(schemas) == 1 else {"anyOf": schemas} for name, schemas in found.items()}


def _options(options: type[Options]) -> dict[str, Any]:
    return {
        each.name: {
            **each.metadata["rule"].schema,
            "description": f"{each.metadata['doc']}; {each.metadata['rule'].says}",
        }
        for each in fields(options)
    }
