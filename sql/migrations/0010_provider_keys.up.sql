-- Keys of tenants for providers.
SELECT 1;
