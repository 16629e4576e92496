-- What would let somebody change the audit: rights of our roles or of everybody, and its trigger missing or switched off.
SELECT 'the trigger append_only is ' || CASE WHEN g.oid IS NULL THEN 'missing' ELSE 'switched off' END AS problem
FROM (SELECT 'cleanup_audit'::regclass AS id) AS t
LEFT JOIN pg_trigger g ON g.tgrelid = t.id AND g.tgname = 'append_only'
WHERE g.oid IS NULL OR g.tgenabled NOT IN ('O', 'A')
UNION ALL
SELECT format('%%s may %%s cleanup_audit', CASE WHEN a.grantee = 0 THEN 'everybody' ELSE a.grantee::regrole::text END, a.privilege_type)
FROM pg_class c CROSS JOIN aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a
WHERE c.oid = 'cleanup_audit'::regclass AND a.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')
ORDER BY 1
