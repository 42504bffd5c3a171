"""The schemas of what isadmin prints as JSON, which its readers rely on: a change of one is a new version."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

SCHEMAS = Path(__file__).resolve().parent / "data" / "schemas"


def valid(document: str, schema: str = "output-1") -> dict[str, Any]:
    """A document of one line, which must follow the schema of that name."""
    found: dict[str, Any] = json.loads(document)
    _validator(schema).validate(found)
    return found


@cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    rules = json.loads((SCHEMAS / f"{schema}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(rules)
    return jsonschema.Draft202012Validator(rules)


def all_valid(output: str) -> list[dict[str, Any]]:
    """The documents of an output, one a line."""
    return [valid(line) for line in output.splitlines()]
