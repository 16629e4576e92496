-- Removes usage, brand limits and the batch table.
DROP TABLE content_generation_jobs, storage_quotas, content_quota_usage;
