-- Probes of the last hours, oldest first; `lately` for those of the last hour, which the share of errors is of.
SELECT tier, sampled_at, probes, failed, seconds, error, sampled_at > clock_timestamp() - interval '1 hour' AS lately
FROM health_samples
WHERE sampled_at > clock_timestamp() - %(hours)s * interval '1 hour'
ORDER BY sampled_at, sample_id
