-- Bodies of a tenant's versions, for reads while ZeroDB is down. Every copy of a version is the same, so any one does.
SELECT zerodb_row_id, ANY_VALUE(body) AS body FROM `{table}`
WHERE tenant_id = @tenant AND zerodb_row_id IN UNNEST(@ids) AND body IS NOT NULL GROUP BY zerodb_row_id
