"""Jobs run as the owner of the database, who need be no superuser though row-level security is forced on owners too."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from content_orchestration.core.content.model import Changes, NewContent
from content_orchestration.core.content.spill import drain
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.integrity.findings import Comparison, Difference, Kind
from content_orchestration.core.integrity.report import IntegrityReport, Scope
from content_orchestration.core.integrity.report_store import read_differences, store_report
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.upkeep import reap
from content_orchestration.core.restore.request import RestoreRequest
from content_orchestration.core.schema.postgres import upgrade
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.settings import Settings
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.restore_model import restore
from content_orchestration_tests.tiers import Tiers, open_tiers

ROLES = ("content_app", "content_worker", "content_readonly")


@pytest.fixture
def owned(
    settings: Settings, empty_database: str, zerodb_project: str, bigquery_dataset: str, database_url: str
) -> Iterator[Tiers]:
    """Tiers whose PostgreSQL belongs to a role with no more than CREATEROLE. `database_url` made the three roles."""
    owner = f"owner_{uuid4().hex}"
    name = empty_database.rpartition("/")[2]
    with psycopg.connect(empty_database, autocommit=True) as admin:
        admin.execute(SQL("CREATE ROLE {} LOGIN CREATEROLE").format(Identifier(owner)))
        for role in ROLES:
            # They belong to the cluster, and another role made them: who made them has to let the owner in.
            admin.execute(SQL("GRANT {} TO {}").format(Identifier(role), Identifier(owner)))
        admin.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(name), Identifier(owner)))
        try:
            url = empty_database.replace("postgres@", f"{owner}@")
            with psycopg.connect(url) as connection:
                create_platform_tables(connection)
            with open_tiers(settings, url, zerodb_project, bigquery_dataset) as tiers:
                upgrade(tiers.database)
                yield tiers
        finally:
            admin.execute(SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(Identifier(owner)))
            admin.execute(SQL("DROP OWNED BY {}").format(Identifier(owner)))
            admin.execute(SQL("DROP ROLE {}").format(Identifier(owner)))


def test_everything_works_for_an_owner_who_is_no_superuser(owned: Tiers) -> None:
    tenant = uuid4()
    with owned.database.connection() as connection:
        connection.execute(
            "INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, 'T', 't', 'business')", [tenant]
        )
    store = ContentStore(owned.database, owned.store, QuotaLedger(owned.database), owned.warehouse)
    item = store.create(tenant, NewContent("Title", "first"), created_by="test")
    store.update(tenant, item.id, Changes(body="second"), expected_version=1, changed_by="test")
    drain(owned.database, owned.store)
    reap(owned.database)
    sync_id = sync(owned).last_sync_id
    assert sync_id is not None
    bodies = owned.warehouse.query(
        f"SELECT body FROM `{owned.warehouse.qualified('content_storage_current')}` WHERE entity_id = @id",
        {"id": str(item.id)},
    )
    assert [row["body"] for row in bodies] == ["second"]

    store.purge(tenant, item.id, may_purge=True, confirm=f"purge {item.id}")
    assert restore(owned, RestoreRequest(as_of=sync_id)).verified
    assert store.get(tenant, item.id).body == "second"

    found = [Difference(Kind.BODY_HASH_DIFFERS, "content_items", "x", str(tenant), {})]
    report = IntegrityReport(Scope.HOURLY, "run", datetime.now(UTC), [Comparison("bodies", 1, 1, {}, found)], 1.0)
    assert len(read_differences(owned.database, store_report(owned.database, report), list(Kind), 10)) == 1


def test_partitions_made_later_are_behind_the_wall_too(owned: Tiers) -> None:
    """A partition has no policies of its own: nobody but its owner may name it."""
    mine, theirs = uuid4(), uuid4()
    with owned.database.connection() as connection:
        connection.execute("SELECT prepare_change_log(20), prepare_usage_history(6)")
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        connection.execute(
            "INSERT INTO content_changes (entity, entity_id, tenant_id, op, changed_at) "
            "VALUES ('content_storage', %s, %s, 'I', now() + interval '15 days')",
            [uuid4(), theirs],
        )
    assert len(rows) > 20
    for role in ROLES:
        for row in rows:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                look(owned, role, mine, row["relname"])


def look(tiers: Tiers, role: str, tenant: UUID, table: str) -> None:
    with tiers.database.connection() as connection:
        connection.execute(
            "SELECT set_config('role', %s, true), set_config('app.tenant_id', %s, true)", [role, str(tenant)]
        )
        connection.execute(SQL("SELECT FROM {}").format(Identifier(table)))
