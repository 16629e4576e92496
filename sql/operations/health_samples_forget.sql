-- Samples that no chart shows any more.
DELETE FROM health_samples WHERE sampled_at < clock_timestamp() - %(days)s * interval '1 day'
