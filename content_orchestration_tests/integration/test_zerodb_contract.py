"""Schemathesis proves the running ZeroDB stand-in against the contract file: every check, every phase.

Where the contract states a rule in words (filter operators, `confirm = true`, table names), `_with_words` writes it as
schema, so that requests which break it must be refused and all others must be taken.
"""

import copy
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from schemathesis.engine import events, from_schema

from content_orchestration.local.zerodb.app import CONTRACT
from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.integration.zerodb_process import KEY, PROJECT, ZeroDBProcess

SHARED = PROJECT_ROOT.parent / "shared" / "contracts" / "zerodb.openapi.yaml"
EXAMPLES = 150 if os.environ.get("SOAK") == "1" else 8
TABLE = "things"

_FIELD_NAME = "^([^$]|$)"
_SCALAR = {"type": ["string", "number"]}
_OPERATORS = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        "$eq": {},
        "$ne": {},
        "$in": {"type": "array"},
        "$nin": {"type": "array"},
        "$gt": _SCALAR,
        "$gte": _SCALAR,
        "$lt": _SCALAR,
        "$lte": _SCALAR,
        "$exists": {"type": "boolean"},
    },
}
_CONDITION = {
    "anyOf": [
        {"type": ["string", "number", "boolean", "null", "array"]},
        {"type": "object", "propertyNames": {"pattern": _FIELD_NAME}},
        _OPERATORS,
    ]
}
_FIELDS = {"type": "object", "patternProperties": {_FIELD_NAME: _CONDITION}}
_SIMPLE = {**_FIELDS, "propertyNames": {"pattern": _FIELD_NAME}}
_LOGICAL = {"type": "array", "minItems": 1, "items": _SIMPLE}
_FILTER = {
    **_FIELDS,
    "properties": {"$and": _LOGICAL, "$or": _LOGICAL},
    "propertyNames": {"pattern": "^([^$]|$|[$]and$|[$]or$)"},
}
_UPDATE = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        "$set": {"type": "object"},
        "$unset": {"type": "object"},
        "$inc": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}


def _names(given: Any) -> Iterator[str]:
    for name, value in given.items() if isinstance(given, dict) else ():
        if name in ("$and", "$or") and isinstance(value, list):
            for item in value:
                yield from _names(item)
        else:
            yield name


def _depends_on_rows(body: Any) -> bool:
    """Whether an update may rightly be refused for what it meets: a path through a scalar, or a sum with a string."""
    update = body.get("update") if isinstance(body, dict) else None
    if not isinstance(update, dict):
        return False
    fields = [name for changes in update.values() if isinstance(changes, dict) for name in changes]
    if body.get("upsert") is True:
        fields += set(_names(body.get("filter"))) - set(fields)
    return bool(update.get("$inc")) or any("." in name for name in fields) or len(set(fields)) < len(fields)


def filter_body(_context: schemathesis.HookContext, body: Any) -> bool:
    """Schemathesis finds this hook by its name."""
    return not _depends_on_rows(body)


def _body(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    return found


def _with_words(contract: dict[str, Any]) -> dict[str, Any]:
    """The contract with its rules in words as schema, and the answers that it gives elsewhere only."""
    contract = copy.deepcopy(contract)
    contract["components"]["schemas"]["Filter"] = _FILTER
    tables, table, rows, query = (
        found for path, found in contract["paths"].items() if path.startswith("/projects/{project_id}")
    )
    _body(tables["post"])["table_name"] = contract["components"]["parameters"]["table"]["schema"]
    _body(table["delete"])["confirm"] = {"const": True}
    _body(rows["put"])["update"] = _UPDATE
    _body(query["post"])["projection"] = {
        "type": "object",
        "anyOf": [{"additionalProperties": {"const": 1}}, {"additionalProperties": {"const": 0}}],
    }
    _body(query["post"])["sort"]["propertyNames"] = {"pattern": _FIELD_NAME}
    for operation in (table["get"], table["delete"], rows["put"], rows["delete"]):
        operation["responses"]["401"] = {"$ref": "#/components/responses/Unauthorized"}
    table["delete"]["responses"]["422"] = {"$ref": "#/components/responses/Invalid"}
    return contract


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ZeroDBProcess]:
    found = ZeroDBProcess(tmp_path / "zerodb.sqlite3").start()
    yield found
    output = found.stop()
    assert "Traceback" not in output, output


def _violations(
    server: ZeroDBProcess, *, parameters: dict[str, str], without_drop: bool = False
) -> tuple[str, set[str]]:
    """Runs every phase; returns what was violated, as text, and the phases that really ran."""
    config = schemathesis.Config.from_dict(
        {
            "base-url": f"{server.root}/api/v1",
            "headers": {"X-API-Key": KEY},
            "parameters": parameters,
            "continue-on-failure": True,
            "generation": {"max-examples": EXAMPLES, "database": "none"},
        }
    )
    schema = schemathesis.openapi.from_dict(_with_words(yaml.safe_load(CONTRACT.read_text())), config=config)
    if without_drop:
        schema = schema.exclude(method="DELETE", path="/projects/{project_id}/database/tables/{table}")
    schema.hook(filter_body)
    found: dict[str, str] = {}
    ran: Counter[str] = Counter()
    for event in from_schema(schema).execute():
        if isinstance(event, events.FatalError):
            raise event.exception
        if isinstance(event, events.NonFatalError):
            found.setdefault(f"{event.label}: {event.value!r}", "")
        if isinstance(event, events.ScenarioFinished):
            ran[event.phase.name] += len(event.recorder.cases)
            for case_id, checks in event.recorder.checks.items():
                for check in checks:
                    if check.failure_info is None:
                        continue
                    failure = check.failure_info.failure
                    exchange = event.recorder.interactions[case_id]
                    sent, got = exchange.request, exchange.response
                    answer = got.content[:300] if got else b"no answer"
                    example = f"{sent.method} {sent.uri} {sent.body!r:.3000}\n  answered {answer!r}"
                    found.setdefault(f"{failure.operation}: {failure}", example)
    lines = [f"{text}\n  {example}" for text, example in found.items()]
    return "\n\n".join([f"seed {config.seed}", *lines] if lines else []), set(ran)


def test_server_keeps_the_contract(server: ZeroDBProcess) -> None:
    """Drawn projects and tables, and the stateful phase that follows what was created."""
    violations, ran = _violations(server, parameters={})
    assert not violations, violations
    assert {"COVERAGE", "FUZZING", "STATEFUL_TESTING"} <= ran


def test_server_keeps_the_contract_on_a_table_with_rows(server: ZeroDBProcess) -> None:
    """Pinned to a table that exists, so that filters, sorts and updates reach the rows."""
    answer = server.client.post(server.tables, json={"table_name": TABLE, "schema": {}, "indexes": ["id", "kind"]})
    assert answer.status_code == 201
    rows = [{"id": f"item-{number}", "kind": number % 3, "nested": {"value": number / 7}} for number in range(50)]
    assert server.client.post(f"{server.tables}/{TABLE}/rows", json={"rows": rows}).status_code == 200
    violations, ran = _violations(server, parameters={"project_id": PROJECT, "table": TABLE}, without_drop=True)
    assert not violations, violations
    assert "FUZZING" in ran
    answers = server.client.get("/_control/stats").json()["answers"]
    assert answers["200"] > EXAMPLES, f"too little of it reached the rows: {answers}"


def test_served_contract_is_the_packaged_one(server: ZeroDBProcess) -> None:
    answer = server.client.get("/openapi.yaml", headers={"X-API-Key": ""})
    assert (answer.status_code, answer.content) == (200, CONTRACT.read_bytes())


@pytest.mark.skipif(not SHARED.exists(), reason=f"no shared contract at {SHARED}")
def test_packaged_contract_equals_the_shared_one() -> None:
    assert CONTRACT.read_bytes() == SHARED.read_bytes()
