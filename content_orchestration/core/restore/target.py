"""The tables that a restore writes, and the statements made for them: names are composed, values bound.

Which rows go in is not decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import Connection, sql
from psycopg.errors import InsufficientPrivilege

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import Permanent
from content_orchestration.core.replication.tables import CONTENT_MEDIA, CONTENT_STORAGE, CONTENT_VERSIONS, Entity
from content_orchestration.core.restore.request import OnConflict, Target
from content_orchestration.core.sql import statement

TABLES: Mapping[str, str] = {
    CONTENT_STORAGE.name: "content_storage_metadata",
    CONTENT_VERSIONS.name: "content_versions",
    CONTENT_MEDIA.name: "media_assets",
}
# What tells the newer of two states of a row; a version record has one state, so its number and birth must do.
_AGE: Mapping[str, tuple[str, ...]] = {
    CONTENT_STORAGE.name: ("version", "updated_at"),
    CONTENT_VERSIONS.name: ("version", "created_at"),
    CONTENT_MEDIA.name: ("updated_at",),
}


@dataclass(frozen=True)
class TargetTable:
    """One table as it is now: its columns, and those of them that can be written."""

    entity: Entity
    name: sql.Identifier
    columns: tuple[str, ...]
    writable: tuple[str, ...]

    def insert(self) -> sql.Composed:
        """The statement that writes rows of which the target has none, and tells how many do not read back right."""
        return sql.SQL(statement("restore/insert")).format(
            target=self.name,
            columns=_list(self.writable),
            values=sql.SQL(", ").join(sql.SQL("(p.r).{}").format(sql.Identifier(name)) for name in self.writable),
        )

    def upsert(self, on_conflict: OnConflict, missing: Sequence[str] = (), *, exact: bool = True) -> sql.Composed:
        """The statement that writes staged rows and tells how many of them do not read back as they should.

        missing: columns that the rows do not have; they get their defaults. exact: whether PostgreSQL has to print the
        row as the history has it, character by character; else the values are compared as JSON.
        """
        names = [name for name in self.writable if name not in missing]
        return sql.SQL(statement("restore/upsert")).format(
            target=self.name,
            columns=_list(names),
            values=_list(names, "r"),
            conflict=self._conflict(on_conflict, names),
            printed=sql.SQL("row_to_json(t.*)::text" if exact else "to_jsonb(t.*) - %(missing)s::text[]"),
            expected=sql.SQL("s.doc" if exact else "s.doc::jsonb - %(extra)s::text[]"),
        )

    def kept(self, *, exact: bool = True) -> sql.Composed:
        """The statement that counts which staged rows are there, and which of them as the history has them."""
        return sql.SQL(statement("restore/kept")).format(
            target=self.name,
            printed=sql.SQL("row_to_json(t.*)::text" if exact else "to_jsonb(t.*) - %(missing)s::text[]"),
            expected=sql.SQL("s.doc" if exact else "s.doc::jsonb - %(extra)s::text[]"),
        )

    def in_scope(self) -> sql.Composed:
        """The statement that counts the rows of a scope."""
        key = "id" if self.entity is CONTENT_STORAGE else "content_id"
        return sql.SQL(statement("restore/in_scope")).format(target=self.name, content=sql.Identifier(key))

    def _conflict(self, on_conflict: OnConflict, names: Sequence[str]) -> sql.Composable:
        if on_conflict == "keep_existing":
            return sql.SQL("DO NOTHING")
        changed = [name for name in names if name != "id"]
        conditions = [sql.SQL("({}) IS DISTINCT FROM ({})").format(_texts(changed, "t"), _texts(changed, "excluded"))]
        if on_conflict == "keep_newer":
            age = _AGE[self.entity.name]
            conditions.append(sql.SQL("({}) > ({})").format(_list(age, "excluded"), _list(age, "t")))
        return sql.SQL("DO UPDATE SET ({}) = ROW ({}) WHERE {}").format(
            _list(changed), _list(changed, "excluded"), sql.SQL(" AND ").join(conditions)
        )


def read_tables(database: Database, target: Target, entities: Sequence[Entity]) -> dict[str, TargetTable]:
    """The target's tables, by entity name. Raises `Permanent` where one is not there."""
    with database.connection() as connection:
        return {entity.name: _read(connection, target, entity) for entity in entities}


def planned_columns(database: Database, target: Target, entities: Sequence[Entity]) -> dict[str, tuple[str, ...]]:
    """Columns by table. A scratch table that is not there yet will have those of the live one."""
    with database.connection() as connection:
        return {
            TABLES[entity.name]: (
                _columns(connection, _name(target, entity)) or _columns(connection, _name(Target(), entity))
                or _refuse(entity)
            )[0]
            for entity in entities
        }  # fmt: skip


def create_scratch(database: Database, target: Target, entities: Sequence[Entity]) -> None:
    """Create the scratch schema and what it lacks of its tables: like the live ones, without triggers."""
    if target.schema is None:
        return
    try:
        with database.connection() as connection:
            connection.execute(sql.SQL(statement("restore/create_schema")).format(schema=sql.Identifier(target.schema)))
            for entity in entities:
                if _columns(connection, _name(Target(), entity)) is None:
                    _refuse(entity)
                connection.execute(
                    sql.SQL(statement("restore/create_table")).format(
                        target=_name(target, entity), live=_name(Target(), entity)
                    )
                )
    except InsufficientPrivilege as error:
        raise Permanent(
            f"the role of DATABASE_PUBLIC_URL may not create schema {target.schema} ({str(error).strip()}): GRANT "
            "CREATE ON DATABASE to it, or restore into a schema that it owns"
        ) from error


def _read(connection: Connection[Row], target: Target, entity: Entity) -> TargetTable:
    name = _name(target, entity)
    found = _columns(connection, name) or _refuse(entity)
    return TargetTable(entity, name, *found)


def _columns(connection: Connection[Row], name: sql.Identifier) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    rows = connection.execute(statement("restore/columns"), {"table": name.as_string(connection)}).fetchall()
    if not rows:
        return None
    return (
        tuple(row["name"] for row in rows),
        tuple(row["name"] for row in rows if not row["generated"]),
    )


def _refuse(entity: Entity) -> tuple[tuple[str, ...], tuple[str, ...]]:
    raise Permanent(
        f"table {TABLES[entity.name]} is not there, so nothing can be restored into it: launch recreate_missing_tables "
        "(or materialize postgres_schema in a new database), then make the plan again"
    )


def _name(target: Target, entity: Entity) -> sql.Identifier:
    table = TABLES[entity.name]
    return sql.Identifier(table) if target.schema is None else sql.Identifier(target.schema, table)


def _list(names: Sequence[str], of: str | None = None) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(of, name) if of else sql.Identifier(name) for name in names)


def _texts(names: Sequence[str], of: str) -> sql.Composed:
    """As text: not every type can be compared, and 1.0 is not 1.00 to somebody who reads it."""
    return sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(of, name)) for name in names)
