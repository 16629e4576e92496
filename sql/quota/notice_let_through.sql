-- One notice a day for a tenant or brand and level: no row comes back when another one was let through since yesterday.
INSERT INTO quota_notice_throttle AS t (tenant_id, scope_id, level, notice_id, let_through_at)
VALUES (%(tenant_id)s, coalesce(%(brand_id)s::uuid, %(tenant_id)s::uuid), %(level)s, %(id)s, clock_timestamp())
ON CONFLICT (tenant_id, scope_id, level) DO UPDATE
SET notice_id = excluded.notice_id,
    let_through_at = CASE WHEN t.notice_id = excluded.notice_id THEN t.let_through_at ELSE excluded.let_through_at END
WHERE t.notice_id = excluded.notice_id OR t.let_through_at <= clock_timestamp() - interval '1 day'
RETURNING t.notice_id
