-- Usage a tenant, limits a brand, and the batch table of generation.
CREATE TABLE content_quota_usage (
    tenant_id          uuid        PRIMARY KEY,
    plan_tier          text        NOT NULL CHECK (plan_tier IN ('free', 'starter', 'professional', 'business', 'enterprise')),
    limit_bytes        bigint      CHECK (limit_bytes >= 0),
    used_bytes         bigint      NOT NULL DEFAULT 0 CHECK (used_bytes >= 0),
    reserved_bytes     bigint      NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),
    content_items      bigint      NOT NULL DEFAULT 0 CHECK (content_items >= 0),
    media_files        bigint      NOT NULL DEFAULT 0 CHECK (media_files >= 0),
    media_bytes        bigint      NOT NULL DEFAULT 0 CHECK (media_bytes >= 0),
    usage_by_type      jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(usage_by_type) = 'object'),
    notified_percent   integer     NOT NULL DEFAULT 0 CHECK (notified_percent >= 0),
    last_calculated_at timestamptz,
    updated_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX content_quota_usage_plan ON content_quota_usage (plan_tier);

CREATE TABLE storage_quotas (
    brand_id                   uuid    PRIMARY KEY,
    tenant_id                  uuid    NOT NULL,
    limit_bytes                bigint  NOT NULL DEFAULT 5368709120 CHECK (limit_bytes >= 0),
    used_bytes                 bigint  NOT NULL DEFAULT 0 CHECK (used_bytes >= 0),
    warning_threshold_percent  integer NOT NULL DEFAULT 80 CHECK (warning_threshold_percent BETWEEN 1 AND 100),
    critical_threshold_percent integer NOT NULL DEFAULT 95 CHECK (critical_threshold_percent BETWEEN 1 AND 100)
);
CREATE INDEX storage_quotas_tenant ON storage_quotas (tenant_id);

CREATE TABLE content_generation_jobs (
    id                  uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id           uuid          NOT NULL,
    brand_id            uuid,
    user_id             uuid,
    job_type            text          NOT NULL,
    content_type        text          NOT NULL,
    target_count        integer       NOT NULL CHECK (target_count BETWEEN 1 AND 10000),
    generation_params   jsonb         NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(generation_params) = 'object'),
    priority            smallint      NOT NULL DEFAULT 0,
    status              text          NOT NULL DEFAULT 'queued'
                                      CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    succeeded_count     integer       NOT NULL DEFAULT 0 CHECK (succeeded_count >= 0),
    failed_count        integer       NOT NULL DEFAULT 0 CHECK (failed_count >= 0),
    total_storage_bytes bigint        NOT NULL DEFAULT 0 CHECK (total_storage_bytes >= 0),
    total_cost_usd      numeric(14,6) NOT NULL DEFAULT 0 CHECK (total_cost_usd >= 0),
    idempotency_key     text,
    error_message       text,
    created_at          timestamptz   NOT NULL DEFAULT now(),
    started_at          timestamptz,
    completed_at        timestamptz
);
CREATE UNIQUE INDEX content_generation_jobs_idempotency ON content_generation_jobs (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX content_generation_jobs_tenant ON content_generation_jobs (tenant_id, created_at DESC);
CREATE INDEX content_generation_jobs_brand ON content_generation_jobs (brand_id, created_at DESC) WHERE brand_id IS NOT NULL;
CREATE INDEX content_generation_jobs_open ON content_generation_jobs (priority DESC, created_at) WHERE status IN ('queued', 'running');
CREATE INDEX content_generation_jobs_completed ON content_generation_jobs (completed_at) WHERE completed_at IS NOT NULL;
