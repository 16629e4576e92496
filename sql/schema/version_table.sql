-- Whether our schema was ever migrated here.
SELECT to_regclass('public.content_orchestration_version') IS NOT NULL AS present
