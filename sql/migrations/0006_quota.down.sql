-- Removes the ledger, its notices and the history. Counters and limits of 0002 stay, without what was reserved.
DROP TRIGGER notice_insert ON content_quota_usage;
DROP TRIGGER notice_update ON content_quota_usage;
DROP TRIGGER notice_insert ON storage_quotas;
DROP TRIGGER notice_update ON storage_quotas;
DROP FUNCTION notice_tenant_usage(), notice_brand_usage(), quota_level(integer[], bigint, bigint),
    quota_still_told(integer[], integer, bigint, bigint), quota_month(), quota_stored(uuid, uuid), prepare_usage_history(integer),
    quota_open(uuid, uuid, date, text, bigint, bigint),
    quota_reserve(uuid, uuid, bigint, bigint, bigint, text, boolean, interval, text, jsonb),
    quota_settle(uuid, bigint, bigint, bigint, bigint, boolean, jsonb), quota_release(uuid), quota_reap(uuid, integer),
    quota_give_back(uuid, uuid, bigint, bigint, bigint, bigint), quota_apply_plan(uuid, jsonb);
DROP TABLE quota_reservations, quota_generation_usage, quota_notices, quota_notice_throttle, usage_history;
ALTER TABLE storage_quotas DROP COLUMN reserved_bytes, DROP COLUMN notified_percent;
UPDATE content_quota_usage SET reserved_bytes = 0, notified_percent = 0;
ALTER TABLE storage_quotas RESET (fillfactor);
ALTER TABLE content_quota_usage RESET (fillfactor);
