"""Tenants and brands to reserve for, and whether the ledger's books add up. For the tests of the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg

from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.plans import Plan
from content_orchestration.resources.postgres_client import PostgresClient

# Small numbers, so that every limit is met. The names are the plans': a CHECK allows no other.
SMALL = {
    plan.tier: plan
    for plan in (
        Plan("free", 1_000, 30, 10, 0),
        Plan("starter", 2_000, 90, 20, 29),
        Plan("enterprise", None, None, None, None),
    )
}

_TABLES = (
    "brands", "tenants", "content_storage_metadata", "media_assets", "content_quota_usage", "storage_quotas",
    "quota_generation_usage", "quota_reservations", "quota_notices", "usage_history",
)  # fmt: skip

# Counters beside what the reservations say, a row for each that differs.
_UNTRUE = """
WITH said AS (
    SELECT 'tenant' AS scope, tenant_id AS id, sum(held_bytes) AS held,
           sum(settled_bytes + settled_media_bytes) AS settled
    FROM quota_reservations GROUP BY 2
    UNION ALL
    SELECT 'brand', brand_id, sum(held_bytes), sum(settled_bytes + settled_media_bytes)
    FROM quota_reservations WHERE brand_id IS NOT NULL GROUP BY 2
    UNION ALL
    SELECT 'generation', tenant_id, sum(held_items), sum(settled_items)
    FROM quota_reservations WHERE month IS NOT NULL GROUP BY 2
), counted AS (
    SELECT 'tenant' AS scope, tenant_id AS id, reserved_bytes AS held, used_bytes AS settled FROM content_quota_usage
    UNION ALL SELECT 'brand', brand_id, reserved_bytes, used_bytes FROM storage_quotas
    UNION ALL SELECT 'generation', tenant_id, reserved_items, used_items FROM quota_generation_usage
)
SELECT scope, id, c.held AS held_counted, coalesce(s.held, 0) AS held_said,
       c.settled AS settled_counted, coalesce(s.settled, 0) AS settled_said
FROM counted c LEFT JOIN said s USING (scope, id)
WHERE (c.held, c.settled) IS DISTINCT FROM (coalesce(s.held, 0), coalesce(s.settled, 0))
"""

# Writes down every moment at which a limit is overshot: a look from outside could miss one. The row stays locked for
# three milliseconds more, so that many wait behind it with a look that is no longer true: else few races happen.
WITNESS = """
CREATE TABLE overshoots (scope text, over bigint, seen_at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.used_bytes + NEW.reserved_bytes > NEW.limit_bytes THEN
        INSERT INTO overshoots VALUES (TG_TABLE_NAME, NEW.used_bytes + NEW.reserved_bytes - NEW.limit_bytes);
    END IF;
    PERFORM pg_sleep(0.003);
    RETURN NULL;
END $$;
CREATE FUNCTION witness_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.used_items + NEW.reserved_items > NEW.limit_items THEN
        INSERT INTO overshoots VALUES (TG_TABLE_NAME, NEW.used_items + NEW.reserved_items - NEW.limit_items);
    END IF;
    PERFORM pg_sleep(0.003);
    RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER INSERT OR UPDATE ON content_quota_usage FOR EACH ROW EXECUTE FUNCTION witness();
CREATE TRIGGER witness AFTER INSERT OR UPDATE ON storage_quotas FOR EACH ROW EXECUTE FUNCTION witness();
CREATE TRIGGER witness AFTER INSERT OR UPDATE ON quota_generation_usage FOR EACH ROW EXECUTE FUNCTION witness_items();
"""


@contextmanager
def database_of_its_own(server: psycopg.Connection[Any], port: int, template: str) -> Iterator[str]:
    """The URL of a copy of the migrated database, for the tests of one module: emptying it is quicker than copying."""
    name = f"test_{uuid4().hex}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/{name}"
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def emptied(url: str, pool_size: int = 40) -> Iterator[PostgresClient]:
    """A client; what was written is gone afterwards."""
    with PostgresClient(url, pool_size=pool_size, statement_timeout=60.0) as database:
        try:
            yield database
        finally:
            # content_changes last: deleting content fills it.
            run(database, "; ".join(f"DELETE FROM {table}" for table in (*_TABLES, "content_changes")))


def run(database: PostgresClient, query: str, values: Any = None) -> list[dict[str, Any]]:
    """Execute in a transaction of its own; the rows, if there are any."""
    with database.connection() as connection:
        cursor = connection.execute(query, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def add_tenant(database: PostgresClient, plan: str | None = "free") -> UUID:
    made = uuid4()
    run(
        database,
        "INSERT INTO tenants (id, name, slug, plan_tier, created_at) VALUES (%s, 'Acme', %s, %s, now())",
        [made, str(made), plan],
    )
    return made


def add_brand(database: PostgresClient, tenant: UUID, limit: int | None = None) -> UUID:
    """A brand; with a `limit` it has its counters already."""
    made = uuid4()
    run(database, "INSERT INTO brands (id, tenant_id, name) VALUES (%s, %s, 'Brand')", [made, tenant])
    if limit is not None:
        values = [made, tenant, limit]
        run(database, "INSERT INTO storage_quotas (brand_id, tenant_id, limit_bytes) VALUES (%s, %s, %s)", values)
    return made


def set_plan(database: PostgresClient, tenant: UUID, plan: str | None) -> None:
    """What the platform does: our counters are not told."""
    run(database, "UPDATE tenants SET plan_tier = %s WHERE id = %s", [plan, tenant])


def expire(database: PostgresClient, *reservations: UUID) -> None:
    """Let the time of these reservations pass, or of all that are open."""
    run(
        database,
        "UPDATE quota_reservations SET expires_at = clock_timestamp() - interval '1 second' "
        "WHERE state = 'reserved' AND (cardinality(%(ids)s::uuid[]) = 0 OR id = ANY (%(ids)s::uuid[]))",
        {"ids": list(reservations)},
    )


def counters(database: PostgresClient, tenant: UUID) -> tuple[int, int]:
    """Used and reserved bytes of a tenant."""
    (row,) = run(database, "SELECT used_bytes, reserved_bytes FROM content_quota_usage WHERE tenant_id = %s", [tenant])
    return row["used_bytes"], row["reserved_bytes"]


def brand_counters(database: PostgresClient, brand: UUID) -> tuple[int, int]:
    """Used and reserved bytes of a brand."""
    (row,) = run(database, "SELECT used_bytes, reserved_bytes FROM storage_quotas WHERE brand_id = %s", [brand])
    return row["used_bytes"], row["reserved_bytes"]


def assert_books_add_up(database: PostgresClient) -> None:
    """Every counter is the sum of its reservations."""
    assert run(database, _UNTRUE) == []


def notices(database: PostgresClient, subject: UUID) -> list[tuple[int, int, str | None, str]]:
    """Level, crossing, suppression and cause of each notice of a tenant or a brand, in the order of writing."""
    rows = run(
        database,
        "SELECT level, crossing, suppressed, cause FROM quota_notices WHERE coalesce(brand_id, tenant_id) = %s "
        "ORDER BY id",
        [subject],
    )
    return [(row["level"], row["crossing"], row["suppressed"], row["cause"]) for row in rows]


def small_ledger(database: PostgresClient) -> QuotaLedger:
    """A ledger whose plans hold some hundred bytes."""
    return QuotaLedger(database, plans=SMALL)
