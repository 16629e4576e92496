-- Back to one look for the key.
CREATE OR REPLACE FUNCTION quota_reserve(
    p_tenant uuid, p_brand uuid, p_bytes bigint, p_items bigint, p_media_bytes bigint, p_reason text, p_generated boolean,
    p_ttl interval, p_key text, p_plans jsonb,
    OUT outcome text, OUT reservation_id uuid, OUT reservation_state text, OUT ends_at timestamptz,
    OUT scope text, OUT used bigint, OUT reserved bigint, OUT quota bigint, OUT plan text, OUT plan_recognised boolean)
LANGUAGE plpgsql
AS $$
DECLARE
    total constant bigint := p_bytes + p_media_bytes;
    this_month constant date := CASE WHEN p_generated AND p_items > 0 THEN quota_month() END;
    tier text;
    owner uuid;
    storage_limit bigint;
    items_limit bigint;
    known quota_reservations;
BEGIN
    SELECT t.plan_tier INTO tier FROM tenants t WHERE t.id = p_tenant;
    IF NOT FOUND THEN
        outcome := 'unknown_tenant';
        RETURN;
    END IF;
    plan_recognised := coalesce(p_plans ? tier, false);
    plan := CASE WHEN plan_recognised THEN tier ELSE 'free' END;
    storage_limit := (p_plans #>> ARRAY[plan, 'bytes'])::bigint;
    items_limit := (p_plans #>> ARRAY[plan, 'items'])::bigint;
    IF p_brand IS NOT NULL THEN
        SELECT b.tenant_id INTO owner FROM brands b WHERE b.id = p_brand;
        IF NOT FOUND OR owner IS DISTINCT FROM p_tenant THEN
            outcome := 'unknown_brand';
            RETURN;
        END IF;
    END IF;

    FOR attempt IN 1..10 LOOP
        IF p_key IS NOT NULL THEN
            SELECT * INTO known FROM quota_reservations WHERE tenant_id = p_tenant AND idempotency_key = p_key;
            IF FOUND THEN
                outcome := CASE WHEN (known.brand_id, known.bytes, known.items, known.media_bytes, known.reason)
                                     IS NOT DISTINCT FROM (p_brand, p_bytes, p_items, p_media_bytes, p_reason)
                                THEN 'replayed' ELSE 'key_reused' END;
                reservation_id := known.id;
                reservation_state := known.state;
                ends_at := known.expires_at;
                scope := 'tenant';
                SELECT u.used_bytes, u.reserved_bytes, u.limit_bytes INTO used, reserved, quota
                FROM content_quota_usage u WHERE u.tenant_id = p_tenant;
                RETURN;
            END IF;
        END IF;

        -- A look without a lock, so that asking in vain writes nothing and makes nobody wait.
        outcome := NULL;
        IF this_month IS NOT NULL THEN
            scope := 'generation';
            quota := items_limit;
            SELECT g.used_items, g.reserved_items INTO used, reserved
            FROM quota_generation_usage g WHERE g.tenant_id = p_tenant AND g.month = this_month;
            IF coalesce(used, 0)::numeric + coalesce(reserved, 0) + p_items > quota THEN
                outcome := 'exceeded';
            ELSIF used IS NULL THEN
                PERFORM quota_open(p_tenant, p_brand, this_month, plan, storage_limit, items_limit);
            END IF;
        END IF;
        IF outcome IS NULL AND p_brand IS NOT NULL THEN
            scope := 'brand';
            SELECT s.used_bytes, s.reserved_bytes, s.limit_bytes INTO used, reserved, quota
            FROM storage_quotas s WHERE s.brand_id = p_brand;
            IF NOT FOUND THEN
                PERFORM quota_open(p_tenant, p_brand, this_month, plan, storage_limit, items_limit);
                CONTINUE;
            ELSIF used::numeric + reserved + total > quota THEN
                outcome := 'exceeded';
            END IF;
        END IF;
        IF outcome IS NULL THEN
            scope := 'tenant';
            quota := storage_limit;
            SELECT u.used_bytes, u.reserved_bytes INTO used, reserved FROM content_quota_usage u WHERE u.tenant_id = p_tenant;
            IF NOT FOUND THEN
                PERFORM quota_open(p_tenant, p_brand, this_month, plan, storage_limit, items_limit);
                CONTINUE;
            ELSIF used::numeric + reserved + total > quota THEN
                outcome := 'exceeded';
            END IF;
        END IF;
        IF outcome = 'exceeded' THEN
            used := coalesce(used, 0);
            reserved := coalesce(reserved, 0);
            -- A plan that was lowered shows here first; its notice must not wait for a reservation that fits.
            UPDATE content_quota_usage u SET plan_tier = plan, limit_bytes = storage_limit, updated_at = clock_timestamp()
            WHERE u.tenant_id = p_tenant AND (u.plan_tier, u.limit_bytes) IS DISTINCT FROM (plan, storage_limit);
            RETURN;
        END IF;

        BEGIN
            INSERT INTO quota_reservations (tenant_id, brand_id, bytes, items, media_bytes, reason, idempotency_key, month,
                                            held_bytes, held_items, expires_at)
            VALUES (p_tenant, p_brand, p_bytes, p_items, p_media_bytes, p_reason, p_key, this_month,
                    total, p_items, clock_timestamp() + p_ttl)
            ON CONFLICT (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
            RETURNING id, state, expires_at INTO reservation_id, reservation_state, ends_at;
            -- Somebody else has just used the key: the next look finds it.
            CONTINUE WHEN NOT FOUND;
            IF this_month IS NOT NULL THEN
                UPDATE quota_generation_usage g
                SET reserved_items = g.reserved_items + p_items, limit_items = items_limit, updated_at = clock_timestamp()
                WHERE g.tenant_id = p_tenant AND g.month = this_month
                  AND (items_limit IS NULL OR g.used_items::numeric + g.reserved_items + p_items <= items_limit);
                IF NOT FOUND THEN
                    RAISE SQLSTATE 'QT001';
                END IF;
            END IF;
            IF p_brand IS NOT NULL THEN
                UPDATE storage_quotas s SET reserved_bytes = s.reserved_bytes + total
                WHERE s.brand_id = p_brand AND s.used_bytes::numeric + s.reserved_bytes + total <= s.limit_bytes;
                IF NOT FOUND THEN
                    RAISE SQLSTATE 'QT001';
                END IF;
            END IF;
            UPDATE content_quota_usage u
            SET reserved_bytes = u.reserved_bytes + total, plan_tier = plan, limit_bytes = storage_limit,
                updated_at = clock_timestamp()
            WHERE u.tenant_id = p_tenant
              AND (storage_limit IS NULL OR u.used_bytes::numeric + u.reserved_bytes + total <= storage_limit)
            RETURNING u.used_bytes, u.reserved_bytes INTO used, reserved;
            IF NOT FOUND THEN
                RAISE SQLSTATE 'QT001';
            END IF;
            outcome := 'reserved';
            RETURN;
        EXCEPTION WHEN SQLSTATE 'QT001' THEN
            -- The room was taken between the look and the write. All scopes are as they were: look again.
            reservation_id := NULL;
        END;
    END LOOP;
    outcome := 'contended';
END
$$;
