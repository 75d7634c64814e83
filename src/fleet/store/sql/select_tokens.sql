SELECT id, tenant_id, name, prefix, kind, max_uses, uses, expires_at, exhausted_at, revoked_at, created_by, created_at
FROM fleet_tokens WHERE id > :after ORDER BY id LIMIT :most
