-- Triggers that should be on the platform's tables and are not, or do not fire.
SELECT w.owner, w.name
FROM (VALUES ('render_jobs', 'note_candidate_insert'), ('render_jobs', 'note_candidate_update'), ('user_assets', 'note_save_insert'),
             ('user_assets', 'note_save_update'), ('user_assets', 'note_unsave_update'), ('user_assets', 'note_unsave_delete')
     ) AS w (owner, name)
WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = w.owner::regclass AND t.tgname = w.name AND t.tgenabled <> 'D')
ORDER BY 1, 2
