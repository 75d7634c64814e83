-- Who claims, and which is the first and the last tenant that has jobs waiting:
-- between one tenant there is nothing to choose.
SELECT a.id, a.tenant_id, a.name, a.kind, a.status, a.status_message, a.health, a.last_error, a.version, a.hostname,
    a.region, a.cpu_percent, a.memory_percent, a.max_jobs, a.last_seen_at, a.last_offline_at, a.created_at,
    (SELECT COUNT(*) FROM fleet_commands c WHERE c.agent_id = a.id AND c.lease_until IS NOT NULL) AS held_jobs,
    (CASE WHEN a.tenant_id IS NULL THEN
        (SELECT MIN(c.tenant_id) FROM fleet_commands c WHERE c.state = 'pending' AND c.platform) END) AS first_tenant,
    (CASE WHEN a.tenant_id IS NULL THEN
        (SELECT MAX(c.tenant_id) FROM fleet_commands c WHERE c.state = 'pending' AND c.platform) END) AS last_tenant
FROM fleet_agents a
WHERE a.id = :agent
