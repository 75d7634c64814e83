INSERT INTO fleet_tokens (tenant_id, name, prefix, hash, kind, max_uses, expires_at, created_by, created_at)
VALUES (:tenant, :name, :prefix, :hash, :kind, :max_uses, :expires_at, :created_by,
    COALESCE(:now, (SELECT now FROM fleet_clock)))
RETURNING id AS n
