-- Leases by the database's clock. A row that is locked is being written by its holder: it is skipped and not waited for.
WITH asked AS (
    SELECT id, token FROM unnest(%(ids)s::text[], %(tokens)s::bigint[]) AS a (id, token)
), held AS (
    SELECT j.id FROM generation_jobs j JOIN asked a ON a.id = j.id AND a.token = j.lease_token
    WHERE j.status IN ('running', 'storing') FOR UPDATE OF j SKIP LOCKED
), renewed AS (
    UPDATE generation_jobs j SET lease_expires_at = clock_timestamp() + %(lease)s::interval FROM held WHERE j.id = held.id
)
SELECT a.id FROM asked a
WHERE NOT EXISTS (SELECT FROM generation_jobs j WHERE j.id = a.id AND j.lease_token = a.token AND j.status IN ('running', 'storing'))
