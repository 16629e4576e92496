-- Candidates of cleanup, what is in quarantine, what was done and why, and the triggers on renders and saves that feed them.

-- The render that an asset was saved from, or NULL: whatever a user's metadata hold, reading them raises nothing.
CREATE FUNCTION content_render_reference(metadata jsonb) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN lower(btrim(left(metadata ->> 'render_job_id', 64), E' \t\r\n')) ~ '^\{?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\}?$'
            THEN translate(lower(btrim(left(metadata ->> 'render_job_id', 64), E' \t\r\n')), '{}-', '')::uuid END;

-- One value for every address of one file, however it is written (core/cleanup/addresses.py reads them exactly). Files
-- that share a value are only kept together; no text raises, since rows of the platform are indexed by it.
CREATE FUNCTION content_render_file(output_url text) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place text := regexp_replace(left(output_url, 4096), '[?#].*$', '');
    bytes bytea;
BEGIN
    place := regexp_replace(place, '^.*?/storage/v1/object/(sign|public)/|^(s3|gs)://', '');
    IF position('%' IN place) > 0 THEN
        SELECT string_agg(CASE WHEN m[1] ~ '^%..' THEN decode(substr(m[1], 2), 'hex') ELSE convert_to(m[1], 'UTF8') END, '' ORDER BY n)
        INTO bytes FROM regexp_matches(place, '%[0-9a-fA-F]{2}|.', 'gs') WITH ORDINALITY AS r(m, n);
    ELSE
        bytes := convert_to(place, 'UTF8');
    END IF;
    RETURN md5(bytes)::uuid;
END
$$;

-- Completed renders that nobody may have saved. A scan drops what is saved or gone; the truth is in the platform's tables.
CREATE TABLE render_candidates (
    job_id     uuid        PRIMARY KEY,
    user_id    uuid,
    created_at timestamptz,
    -- When it became one: completed, or saved no more.
    since      timestamptz NOT NULL DEFAULT clock_timestamp(),
    state      text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'orphan', 'refused')),
    reason     text,
    -- Not looked at before: what is refused or held is asked about again later.
    look_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz
);
CREATE INDEX render_candidates_look ON render_candidates (look_at, job_id);
CREATE INDEX render_candidates_orphans ON render_candidates (since, job_id) WHERE state = 'orphan';

CREATE TABLE cleanup_quarantine (
    quarantine_id     uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    -- Which part of cleanup: orphaned_render and what later revisions add.
    kind              text        NOT NULL CHECK (kind <> ''),
    subject_id        text        NOT NULL CHECK (subject_id <> ''),
    tenant_id         uuid,
    run_id            text        NOT NULL,
    -- Where the file was, and the key of its copy in the bucket's quarantine prefix; NULL where no file went.
    bucket            text,
    path              text,
    quarantine_key    text,
    -- content_render_file of the address: renders that name one file share it.
    file_key          uuid,
    size_bytes        bigint      CHECK (size_bytes >= 0),
    etag              text,
    generation        text,
    state             text        NOT NULL DEFAULT 'moving'
                                  CHECK (state IN ('moving', 'quarantined', 'restoring', 'restored', 'deleting', 'deleted', 'missing')),
    -- What became of the file: waiting for its move, moved, shared with a render that stays, missing, back,
    -- about to be removed for good, removed.
    file_fate         text        NOT NULL DEFAULT 'waiting'
                                  CHECK (file_fate IN ('waiting', 'moved', 'shared', 'missing', 'back', 'removing', 'removed', 'none')),
    reason            text        NOT NULL,
    predicate_version integer     NOT NULL CHECK (predicate_version >= 1),
    quarantined_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    delete_after      timestamptz,
    -- When its row was deleted; what is brought back from then on gets its row back as well.
    row_deleted_at    timestamptz,
    ended_at          timestamptz,
    -- The row as PostgreSQL prints it.
    row_json          jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(row_json) = 'object'),
    attempts          integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    error             text
);
CREATE UNIQUE INDEX cleanup_quarantine_open ON cleanup_quarantine (kind, subject_id)
    WHERE state IN ('moving', 'quarantined', 'restoring', 'deleting');
CREATE INDEX cleanup_quarantine_state ON cleanup_quarantine (kind, state, delete_after, quarantine_id)
    WHERE state IN ('moving', 'quarantined', 'restoring', 'deleting');
CREATE INDEX cleanup_quarantine_file ON cleanup_quarantine (file_key) WHERE quarantine_key IS NOT NULL;
CREATE INDEX cleanup_quarantine_run ON cleanup_quarantine (run_id, quarantine_id);
CREATE INDEX cleanup_quarantine_copies ON cleanup_quarantine (ended_at) WHERE state = 'restored' AND quarantine_key IS NOT NULL;

-- Saves of what is in quarantine: the trigger only ever adds, so that no save waits for, or fails with, a move of files.
CREATE TABLE render_recalls (
    recall_id bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    job_id    uuid        NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Renders that were completed by an update, or saved no more: added only, so that a scan beside it loses none of them.
CREATE TABLE render_notes (
    note_id bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    job_id  uuid        NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What every part of cleanup did, refused or left, and by which rule. Rows are added and nothing else.
CREATE TABLE cleanup_audit (
    id                uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    audit_id          bigint      GENERATED ALWAYS AS IDENTITY,
    at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id            text        NOT NULL,
    kind              text        NOT NULL CHECK (kind <> ''),
    action            text        NOT NULL CHECK (action ~ '^[a-z][a-z_]{0,40}$'),
    tenant_id         uuid,
    subject_id        text        NOT NULL,
    location          text,
    size_bytes        bigint,
    reason            text        NOT NULL,
    predicate_version integer     NOT NULL CHECK (predicate_version >= 1),
    quarantined_at    timestamptz,
    detail            jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object')
);
CREATE INDEX cleanup_audit_at ON cleanup_audit (at, audit_id);
CREATE INDEX cleanup_audit_run ON cleanup_audit (run_id, audit_id);
CREATE INDEX cleanup_audit_subject ON cleanup_audit (kind, subject_id);

-- What a pass writes down for the next one: clocks, whether there were saves, how far first and rolling scans came.
CREATE TABLE cleanup_memory (
    name     text        PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    counted  bigint      NOT NULL DEFAULT 0,
    position uuid,
    finished boolean     NOT NULL DEFAULT false,
    detail   jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object')
);

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['cleanup_quarantine', 'cleanup_audit'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
        EXECUTE format('CREATE POLICY one_tenant ON %I TO content_app, content_readonly '
                       'USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid) '
                       'WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', walled);
        EXECUTE format('CREATE POLICY all_tenants ON %I TO content_worker USING (true) WITH CHECK (true)', walled);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO content_worker', walled);
        EXECUTE format('GRANT SELECT ON %I TO content_readonly', walled);
    END LOOP;
END
$$;
GRANT UPDATE, DELETE ON cleanup_quarantine TO content_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON render_candidates, render_recalls, render_notes, cleanup_memory TO content_worker;
-- Jobs remove a render, bring it back, and lock it (FOR UPDATE asks for UPDATE); they save and unsave nothing.
GRANT INSERT, UPDATE, DELETE ON render_jobs TO content_worker;

-- Not even the owner writes the audit over: a table's owner has every privilege that was not taken from it.
REVOKE UPDATE, DELETE, TRUNCATE ON cleanup_audit FROM CURRENT_USER;
CREATE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'cleanup_audit is append-only: % is refused', TG_OP
        USING HINT = 'Write another row that says what was wrong with the first.';
END
$$;
-- Superusers have every privilege, so they are told too.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON cleanup_audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER record_insert AFTER INSERT ON cleanup_audit REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION record_content_changes('cleanup_audit');

-- A render that is completed, or names another file, is a candidate.
CREATE FUNCTION note_render_candidates() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO render_candidates (job_id, user_id, created_at, since)
        SELECT n.id, n.user_id, n.created_at, least(greatest(n.created_at, n.updated_at, 'epoch'), clock_timestamp())
        FROM new_rows n WHERE n.status = 'completed' AND n.output_url <> ''
        ON CONFLICT (job_id) DO NOTHING;
    ELSE
        INSERT INTO render_notes (job_id, at)
        SELECT n.id, least(greatest(n.created_at, n.updated_at, 'epoch'), clock_timestamp())
        FROM new_rows n JOIN old_rows o ON o.id = n.id
        WHERE n.status = 'completed' AND n.output_url <> ''
          AND (o.status, o.output_url) IS DISTINCT FROM (n.status, n.output_url);
    END IF;
    RETURN NULL;
EXCEPTION WHEN undefined_table OR insufficient_privilege THEN
    -- The platform renders on without us; the rolling comparison finds what was not noted.
    RAISE WARNING 'a render was not noted as a candidate: %', SQLERRM;
    RETURN NULL;
END
$$;

-- A save takes the lock of its render's row, against which a delete locks FOR UPDATE: one of them sees the other.
-- Saves do not wait for each other, nor for a move of files.
CREATE FUNCTION note_render_saves() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM render_jobs r
    WHERE r.id IN (SELECT content_render_reference(n.metadata) FROM new_rows n)
    ORDER BY r.id FOR KEY SHARE;
    BEGIN
        -- A delete was faster: until its file goes, row and file come back. The last look at the file locks FOR UPDATE.
        PERFORM FROM cleanup_quarantine q
        WHERE q.kind = 'orphaned_render' AND q.state = 'deleting'
          AND q.subject_id IN (SELECT content_render_reference(n.metadata)::text FROM new_rows n)
        ORDER BY q.quarantine_id FOR KEY SHARE;
        INSERT INTO render_recalls (job_id)
        SELECT DISTINCT s.job_id FROM (SELECT content_render_reference(n.metadata) AS job_id FROM new_rows n) AS s
        WHERE EXISTS (SELECT FROM cleanup_quarantine q WHERE q.kind = 'orphaned_render' AND q.subject_id = s.job_id::text
                        AND q.state IN ('moving', 'quarantined', 'deleting') AND q.file_fate <> 'removing');
    EXCEPTION WHEN undefined_table OR insufficient_privilege THEN
        RAISE WARNING 'render_recalls was not written: %', SQLERRM;
    END;
    RETURN NULL;
END
$$;

-- A render whose last save may have gone is a candidate again, as young as that moment.
CREATE FUNCTION note_render_unsaves() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO render_notes (job_id)
        SELECT DISTINCT content_render_reference(o.metadata) FROM old_rows o WHERE content_render_reference(o.metadata) IS NOT NULL;
    ELSE
        INSERT INTO render_notes (job_id)
        SELECT s.job_id FROM (SELECT content_render_reference(o.metadata) FROM old_rows o
                              EXCEPT SELECT content_render_reference(n.metadata) FROM new_rows n) AS s (job_id)
        WHERE s.job_id IS NOT NULL;
    END IF;
    RETURN NULL;
EXCEPTION WHEN undefined_table OR insufficient_privilege THEN
    RAISE WARNING 'a render was not noted as a candidate: %', SQLERRM;
    RETURN NULL;
END
$$;

-- Puts the triggers on the platform's tables where they are not. Run again where the platform made its tables anew.
CREATE FUNCTION attach_cleanup_triggers() RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    wanted record;
    attached integer := 0;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('render_jobs', 'note_candidate_insert', 'AFTER INSERT', 'NEW TABLE AS new_rows', 'note_render_candidates'),
        ('render_jobs', 'note_candidate_update', 'AFTER UPDATE', 'NEW TABLE AS new_rows OLD TABLE AS old_rows', 'note_render_candidates'),
        ('user_assets', 'note_save_insert', 'AFTER INSERT', 'NEW TABLE AS new_rows', 'note_render_saves'),
        ('user_assets', 'note_save_update', 'AFTER UPDATE', 'NEW TABLE AS new_rows', 'note_render_saves'),
        ('user_assets', 'note_unsave_update', 'AFTER UPDATE', 'NEW TABLE AS new_rows OLD TABLE AS old_rows', 'note_render_unsaves'),
        ('user_assets', 'note_unsave_delete', 'AFTER DELETE', 'OLD TABLE AS old_rows', 'note_render_unsaves')
    ) AS w (owner, name, moment, tables, function) LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = format('public.%I', wanted.owner)::regclass AND tgname = wanted.name);
        -- By the functions of public where they are there: a rebuild of lost tables works in a schema that goes away.
        EXECUTE format('CREATE TRIGGER %I %s ON public.%I REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION %s()',
                       wanted.name, wanted.moment, wanted.owner, wanted.tables,
                       coalesce(to_regproc('public.' || wanted.function)::text, wanted.function));
        attached := attached + 1;
        -- A save is a save also while a dump is loaded or a subscription applies it.
        IF wanted.owner = 'user_assets' THEN
            EXECUTE format('ALTER TABLE public.user_assets ENABLE ALWAYS TRIGGER %I', wanted.name);
        END IF;
    END LOOP;
    RETURN attached;
END
$$;
REVOKE EXECUTE ON FUNCTION attach_cleanup_triggers() FROM PUBLIC;
SELECT attach_cleanup_triggers();
