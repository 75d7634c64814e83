-- What a claim has to know, once its agent is locked: what that holds, which is
-- the first and the last tenant that has jobs waiting (between one tenant there
-- is nothing to choose), whether any of them needs anything, and what does not
-- depend on the job.
SELECT (SELECT COUNT(*) FROM fleet_commands c WHERE c.agent_id = :agent AND c.lease_until IS NOT NULL) AS held_jobs,
    (CASE WHEN :platform THEN
        (SELECT MIN(c.tenant_id) FROM fleet_commands c WHERE c.state = 'pending' AND c.platform) END) AS first_tenant,
    (CASE WHEN :platform THEN
        (SELECT MAX(c.tenant_id) FROM fleet_commands c WHERE c.state = 'pending' AND c.platform) END) AS last_tenant,
    (CASE WHEN :platform THEN (SELECT MAX(c.needs) FROM fleet_commands c
        WHERE c.state = 'pending' AND c.platform AND c.needs > 0) END) AS most_needs,
    COALESCE(:now, (SELECT now FROM fleet_clock)) AS now,
    (SELECT max_attempts FROM fleet_policy) AS max_attempts
