SELECT position, at, tenant_id, actor, action, resource, severity, detail, prev_hash, hash
FROM fleet_audit WHERE position >= :first ORDER BY position LIMIT :most
