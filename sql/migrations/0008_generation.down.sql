-- Removes the generation queue with its history. The batches in content_generation_jobs stay as the record that they are.
DROP VIEW active_generation_jobs, generation_job_stats;
DROP TRIGGER adopt ON generation_jobs;
DROP TRIGGER count_adopted ON generation_jobs;
DROP FUNCTION generation_adopt(), generation_count_adopted(), generation_take(uuid, integer, text, interval), generation_claim(integer, text, interval, uuid),
    generation_lock(text[]), generation_complete(text[], bigint[], uuid[], integer[], integer[], text[], bigint[]),
    generation_fail(text, bigint, text, text, boolean, interval, interval, interval), generation_release(text, bigint),
    generation_hold(text, bigint, text),
    generation_reap(integer), generation_cancel(uuid, uuid, text),
    generation_end_attempt(uuid, text, bigint, bigint, numeric, text), generation_finish(uuid), generation_recount(uuid),
    get_job_progress(text), prepare_generation_history(date), cleanup_old_generation_jobs(integer, integer);
DROP TABLE generation_lanes, generation_queues, generation_jobs, generation_attempts, generation_budgets, generation_jobs_history,
    generation_attempts_history;
