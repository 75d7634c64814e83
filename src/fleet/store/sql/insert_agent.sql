INSERT INTO fleet_agents (tenant_id, name, kind, version, hostname, region, max_jobs, key_prefix, key_hash, created_at)
VALUES (:tenant, :name, :kind, :version, :hostname, :region, :max_jobs, :prefix, :hash,
    COALESCE(:now, (SELECT now FROM fleet_clock)))
RETURNING id AS n
