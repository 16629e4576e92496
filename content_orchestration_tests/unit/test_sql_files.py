"""The statements of `sql/`: each is used, each use is there, each gives its reason, and values are always bound."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from content_orchestration.core.sql import sql_folder, statement
from content_orchestration.settings import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "content_orchestration"
MODULES = sorted(path for folder in (PACKAGE, PROJECT_ROOT / "benchmarks") for path in folder.rglob("*.py"))
FILES = {str(path.relative_to(sql_folder()).with_suffix("")): path for path in sql_folder().rglob("*.sql")}
STATEMENTS = {name for name in FILES if not name.startswith("migrations/")}
SQL = re.compile(
    r"^\s*(SELECT\s|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|WITH\s+\w+\s+AS|CREATE\s|ALTER\s|DROP\s|TRUNCATE\s|"
    r"COPY\s|LOCK\s+TABLE|SET\s+\w+\s*=)"
)
# BigQuery binds no identifiers, so names of tables, views and columns are put into the text; all come from constants.
NAMES = {"qualified_name", "listed"}


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every string in the code as a pattern of statement names; the parts of an f-string match one path segment."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = re.escape(node.value)
            elif isinstance(node, ast.JoinedStr):
                text = "".join(
                    re.escape(part.value) if isinstance(part, ast.Constant) else "[a-z0-9_.]+" for part in node.values
                )
            else:
                continue
            if "/" in text and " " not in text:
                yield str(path.relative_to(PROJECT_ROOT)), re.compile(text)


def calls() -> Iterator[tuple[str, str]]:
    """The name in every `statement("...")` of the code."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "statement":
                name = node.args[0]
                if isinstance(name, ast.Constant):
                    yield str(path.relative_to(PROJECT_ROOT)), str(name.value)


@pytest.mark.parametrize(("module", "name"), sorted(set(calls())))
def test_every_statement_that_the_code_names_is_there(module: str, name: str) -> None:
    assert name in FILES, f"{module} names {name}"
    assert statement(name) == FILES[name].read_text(encoding="utf-8")


def test_every_file_is_used() -> None:
    named = list(patterns())
    unused = {
        name
        for name in STATEMENTS
        # What people run by hand is run, each file of it, by integration/test_validation_sql.py.
        if not name.startswith(("platform/", "validation/"))
        and not any(pattern.fullmatch(name) for _, pattern in named)
    }
    assert unused == set()


def test_every_revision_has_its_two_files_and_no_other_is_there() -> None:
    revisions = {path.stem for path in (sql_folder() / "migrations" / "versions").glob("[0-9]*.py")}
    files = {name.removeprefix("migrations/") for name in FILES if name.startswith("migrations/")}
    assert revisions
    assert files == {f"{revision}.{way}" for revision in revisions for way in ("up", "down")}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_begins_with_its_reason(name: str) -> None:
    first = FILES[name].read_text(encoding="utf-8").splitlines()[0]
    assert re.match(r"-- [A-Z]\S*( \S+){3,}", first), f"{name} begins with {first!r}"


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_file_holds_one_statement_with_bound_values(name: str) -> None:
    text = "\n".join(line for line in FILES[name].read_text(encoding="utf-8").splitlines() if line[:2] != "--")
    assert ";" not in re.sub(r"'[^']*'", "", text).rstrip().rstrip(";"), f"{name} holds several statements"
    # psycopg reads % only where values are given, and then every other one must be doubled.
    for mark in re.findall(r"%(?!%)\S{0,20}", text) if "%(" in text else ():
        assert re.match(r"%\(\w+\)s", mark), f"{name}: {mark} is not a named parameter"


def test_only_names_are_put_into_sql() -> None:
    """An f-string of SQL holds names of BigQuery's tables and columns and nothing else; `%` and `.format` make none."""
    found: set[str] = set()
    for path in MODULES:
        if path.is_relative_to(PACKAGE / "local") or not path.is_relative_to(PACKAGE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr) and SQL.match(text_of(node)):
                found |= {where}
                inserted = {ast.unparse(p.value) for p in node.values if isinstance(p, ast.FormattedValue)}
                assert inserted <= NAMES, f"{where} puts {inserted - NAMES} into SQL"
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
                assert not (isinstance(node.left, ast.Constant) and SQL.match(str(node.left.value))), where
            elif isinstance(node, ast.Attribute) and node.attr == "format" and isinstance(node.value, ast.Constant):
                assert not SQL.match(str(node.value.value)), where
    assert found, "the search finds nothing any more"


def text_of(node: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def test_a_wheel_carries_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "content_orchestration"
    (package / "_sql").mkdir(parents=True)
    monkeypatch.setattr("content_orchestration.core.sql._PACKAGE", package)
    assert sql_folder() == package / "_sql"
