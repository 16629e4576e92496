-- Keys that tenants bring for providers: sealed under a data key of the tenant, which a master key outside wraps.
CREATE TABLE tenant_data_keys (
    tenant_id     uuid        NOT NULL,
    version       integer     NOT NULL CHECK (version >= 1),
    master_key_id text        NOT NULL CHECK (master_key_id <> ''),
    wrapped       bytea       NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    wrapped_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, version)
);
-- A rotation of the master key looks for what another one still wraps.
CREATE INDEX tenant_data_keys_master ON tenant_data_keys (master_key_id);

-- A version is never given twice, so a revoked row stays, without its ciphertext.
CREATE TABLE tenant_provider_keys (
    tenant_id        uuid        NOT NULL,
    provider         text        NOT NULL CHECK (provider ~ '^[a-z][a-z0-9_]{0,31}$'),
    version          integer     NOT NULL CHECK (version >= 1),
    state            text        NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'active', 'retired', 'revoked')),
    data_key_version integer,
    sealed           bytea,
    created_by       text        NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    activated_at     timestamptz,
    ended_at         timestamptz,
    PRIMARY KEY (tenant_id, provider, version),
    FOREIGN KEY (tenant_id, data_key_version) REFERENCES tenant_data_keys (tenant_id, version),
    CHECK ((state = 'revoked') = (sealed IS NULL)),
    CHECK ((sealed IS NULL) = (data_key_version IS NULL))
);
CREATE UNIQUE INDEX tenant_provider_keys_active ON tenant_provider_keys (tenant_id, provider) WHERE state = 'active';
CREATE INDEX tenant_provider_keys_data_key ON tenant_provider_keys (tenant_id, data_key_version);

DO $$
DECLARE
    walled text;
    own_rows constant text := 'tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid';
BEGIN
    FOREACH walled IN ARRAY ARRAY['tenant_data_keys', 'tenant_provider_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
        EXECUTE format('CREATE POLICY one_tenant ON %I TO content_app, content_readonly USING (%s) WITH CHECK (%s)',
                       walled, own_rows, own_rows);
        EXECUTE format('CREATE POLICY all_tenants ON %I TO content_worker USING (true) WITH CHECK (true)', walled);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO content_worker', walled);
    END LOOP;
END
$$;
-- What serves a tenant may show which keys there are. Only jobs seal and open, so no ciphertext is readable elsewhere.
GRANT SELECT (tenant_id, provider, version, state, created_by, created_at, activated_at, ended_at)
    ON tenant_provider_keys TO content_app;
