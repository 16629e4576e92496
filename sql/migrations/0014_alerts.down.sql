-- Removes alerts, probes of the tiers and counted refusals.
DROP FUNCTION quota_count_rejections(uuid[], uuid[], text[], bigint[]);
DROP TABLE health_samples, quota_rejections, platform_alerts;
