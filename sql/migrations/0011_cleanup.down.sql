-- Takes the triggers off the platform's tables, then removes candidates, quarantine and audit. Files in quarantine stay.
DROP TRIGGER IF EXISTS note_candidate_insert ON render_jobs;
DROP TRIGGER IF EXISTS note_candidate_update ON render_jobs;
DROP TRIGGER IF EXISTS note_save_insert ON user_assets;
DROP TRIGGER IF EXISTS note_save_update ON user_assets;
DROP TRIGGER IF EXISTS note_unsave_update ON user_assets;
DROP TRIGGER IF EXISTS note_unsave_delete ON user_assets;
DROP INDEX IF EXISTS user_assets_content_render, render_jobs_content_file;
DROP FUNCTION attach_cleanup_triggers(), note_render_candidates(), note_render_saves(), note_render_unsaves();
DROP TABLE cleanup_memory, cleanup_audit, render_notes, render_recalls, cleanup_quarantine, render_candidates;
DROP FUNCTION refuse_audit_change(), content_render_file(text), content_render_reference(jsonb);
REVOKE INSERT, UPDATE, DELETE ON render_jobs FROM content_worker;
