-- The tenant takes part in the round. The row is locked even where it is open: see generation_claim.
INSERT INTO generation_lanes AS l (tenant_id) VALUES (%(tenant_id)s)
ON CONFLICT (tenant_id) DO UPDATE SET open = true
