-- What a claim has to know, once its agent is locked: what that holds, and
-- whether jobs wait of others than the tenant whose jobs waited alone before.
-- Asked from the last tenant backwards: at the front of each tenant's jobs lies
-- what was just taken, and would be stepped over.
SELECT (SELECT COUNT(*) FROM fleet_commands c WHERE c.agent_id = :agent AND c.lease_until IS NOT NULL) AS held_jobs,
    COALESCE(
        (SELECT c.tenant_id FROM fleet_commands c
            INDEXED BY fleet_commands_jobs -- sqlite
            WHERE c.lease_until IS NULL AND c.completed_at IS NULL AND c.platform AND c.tenant_id < :alone
            ORDER BY c.tenant_id DESC LIMIT 1),
        (SELECT c.tenant_id FROM fleet_commands c
            INDEXED BY fleet_commands_jobs -- sqlite
            WHERE c.lease_until IS NULL AND c.completed_at IS NULL AND c.platform AND c.tenant_id > :alone
            ORDER BY c.tenant_id DESC LIMIT 1)) AS other_tenant,
    COALESCE(:now, (SELECT now FROM fleet_clock)) AS now -- sqlite
    COALESCE(:now, fleet_now()) AS now -- postgres
