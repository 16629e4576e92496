"""Loads SQL statements from the `sql/` folder. Statements live there, one a file; nothing builds SQL text elsewhere."""

from functools import cache
from pathlib import Path
from typing import LiteralString

_PACKAGE = Path(__file__).resolve().parent.parent


def sql_folder() -> Path:
    """The folder of SQL files: inside the package in a wheel, beside it in a checkout."""
    packaged = _PACKAGE / "_sql"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "sql"


@cache
def statement(name: str) -> LiteralString:
    """The text of `sql/<name>.sql`, for example `statement("replication/window_bounds")`.

    `LiteralString`, because a file of the project is as constant as a literal: values are always bound.
    """
    return (sql_folder() / f"{name}.sql").read_text(encoding="utf-8")


def on_table(name: str, table: str) -> str:
    """A BigQuery statement of `sql/` on one table. `table` is a qualified name, made of constants and settings.

    BigQuery binds no identifiers, so the name is put into the text; values are bound there as everywhere.
    """
    lines = [line.strip() for line in statement(name).splitlines() if not line.startswith("--")]
    return " ".join(lines).replace("{table}", table)
