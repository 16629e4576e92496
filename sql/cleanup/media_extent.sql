-- Rows of deleted files past their plan: how many may go, up to what a pass believes and one more, and how many are kept; of how many rows.
WITH extent AS (
    SELECT greatest(c.reltuples, 0)::bigint AS objects FROM pg_class c WHERE c.oid = 'media_assets'::regclass
), past AS (
    SELECT i.deleted_at FROM tenants t JOIN media_assets i ON i.tenant_id = t.id
    WHERE t.id <> ALL (%(kept_tenants)s::uuid[])
      AND i.deleted_at <= clock_timestamp() - make_interval(
          days => (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer)
    LIMIT (SELECT greatest(%(floor)s::bigint, (objects * %(percent)s::numeric / 100)::bigint) + 1 FROM extent)
), kept AS (
    SELECT FROM tenants t JOIN media_assets i ON i.tenant_id = t.id
    WHERE t.id = ANY (%(kept_tenants)s::uuid[])
      AND i.deleted_at <= clock_timestamp() - make_interval(
          days => (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer)
    LIMIT %(most)s
)
SELECT count(*) AS candidates, (SELECT count(*) FROM kept) AS kept, (SELECT objects FROM extent) AS objects,
       extract(epoch FROM clock_timestamp() - min(deleted_at) FILTER (WHERE isfinite(deleted_at)))::float8 AS oldest_seconds
FROM past
