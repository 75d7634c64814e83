INSERT INTO fleet_audit (position, at, tenant_id, actor, action, resource, severity, detail, prev_hash, hash)
VALUES (:position, :at, :tenant, :actor, :action, :resource, :severity, :detail, :prev_hash, :hash)
RETURNING position AS n
