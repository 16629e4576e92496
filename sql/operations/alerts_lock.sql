-- One writer of alerts at a time: an end that another is just writing down must be seen before a sign opens anything.
SELECT pg_advisory_xact_lock(hashtextextended('content_orchestration:platform_alerts', 0))
