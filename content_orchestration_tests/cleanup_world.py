"""Renders, saves and files for the tests of cleanup, as the platform writes them, and a look at what is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from content_orchestration.core.cleanup.addresses import QUARANTINE_PREFIX, RenderPlaces
from content_orchestration.core.cleanup.context import OrphanContext
from content_orchestration.core.cleanup.model import OrphanRules
from content_orchestration.core.database import Database
from content_orchestration.resources.render_store import RenderBuckets

BUCKET = "renders"
PLACES = RenderPlaces((BUCKET,), frozenset({"storage.platform.example"}))
NOW_RULES = OrphanRules(timedelta(minutes=60), timedelta(0))
"""No grace, so that one delete pass ends what a quarantine pass began."""


class RenderWorld:
    """One tenant with one user; renders by id, their files in a folder."""

    def __init__(self, database: Database, folder: Path, rules: OrphanRules = NOW_RULES, **given: Any) -> None:
        self.database = database
        self.folder = folder / BUCKET
        self.tenant, self.user = uuid4(), uuid4()
        self.context = OrphanContext(
            database, given.pop("stores", None) or RenderBuckets(folder.as_uri()), PLACES, rules, **given
        )
        with database.connection() as connection:
            connection.execute(
                "INSERT INTO tenants (id, name, slug) VALUES (%s, 'T', %s)", [self.tenant, self.tenant.hex]
            )
            connection.execute("INSERT INTO users (id, tenant_id) VALUES (%s, %s)", [self.user, self.tenant])

    def render(
        self, *, age: str = "2 hours", path: str | None = None, status: str = "completed", url: str | None = None,
        file: bool = True, user: UUID | None = None, body: bytes | None = None,
    ) -> UUID:  # fmt: skip
        """A render of that age with its file; its id."""
        identity = uuid4()
        path = path or f"t/{identity}.mp4"
        if file:
            self.write(path, body or str(identity).encode())
        with self.database.connection() as connection:
            connection.execute(
                "INSERT INTO render_jobs (id, user_id, status, output_url, created_at, updated_at) "
                "VALUES (%s, %s, %s, %s, now() - %s::interval, now() - %s::interval)",
                [identity, user or self.user, status, f"s3://{BUCKET}/{path}" if url is None else url, age, age],
            )
        return identity

    def write(self, path: str, body: bytes) -> None:
        """A file of the platform."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)

    def save(self, render: UUID | str) -> UUID:
        """An asset that names the render; its id."""
        identity = uuid4()
        with self.database.connection() as connection:
            connection.execute(
                "INSERT INTO user_assets (id, user_id, asset_type, metadata, created_at) "
                "VALUES (%s, %s, 'generated_saved', jsonb_build_object('render_job_id', %s::text), now())",
                [identity, self.user, str(render)],
            )
        return identity

    def unsave(self, asset: UUID) -> None:
        """Take a save back."""
        with self.database.connection() as connection:
            connection.execute("DELETE FROM user_assets WHERE id = %s", [asset])

    def anchor(self) -> UUID:
        """A saved render, without which an empty table of references would stop every pass; the render."""
        render = self.render()
        self.save(render)
        return render

    def one(self, query: Any, *values: Any) -> Any:
        """The first value of the first row."""
        with self.database.connection() as connection:
            row = connection.execute(query, values).fetchone()
        return next(iter(row.values())) if row else None

    def all(self, query: Any, *values: Any) -> list[dict[str, Any]]:
        """Rows."""
        with self.database.connection() as connection:
            return connection.execute(query, values).fetchall()

    def run(self, query: Any, *values: Any) -> None:
        """A statement of the platform, or of somebody who meddles."""
        with self.database.connection() as connection:
            connection.execute(query, values)

    def renders(self) -> set[UUID]:
        """Which rows are there."""
        return {row["id"] for row in self.all("SELECT id FROM render_jobs")}

    def files(self) -> set[str]:
        """Files outside of quarantine."""
        return {name for name in self.stored() if not name.startswith(f"{QUARANTINE_PREFIX}/")}

    def waiting(self) -> set[str]:
        """Files in quarantine."""
        return self.stored() - self.files()

    def stored(self) -> set[str]:
        """Every file of the bucket."""
        found = (each for each in self.folder.rglob("*") if each.is_file() and ".part" not in each.parts)
        return {each.relative_to(self.folder).as_posix() for each in found}

    def state(self, render: UUID) -> tuple[str, str] | None:
        """State and file's fate of a render's latest row in quarantine."""
        rows = self.all(
            "SELECT state, file_fate FROM cleanup_quarantine WHERE subject_id = %s "
            "ORDER BY quarantined_at DESC LIMIT 1",
            str(render),
        )
        return (rows[0]["state"], rows[0]["file_fate"]) if rows else None

    @contextmanager
    def session(self) -> Iterator[Any]:
        """A connection of the platform's own, in a transaction."""
        with self.database.connection() as connection:
            yield connection
