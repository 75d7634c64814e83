-- Who claims, where nothing speaks against it; holds off a second claim of the
-- same agent, and decisions about it. What else a claim has to know that is the
-- same for all jobs.
SELECT tenant_id, max_jobs, (SELECT max_attempts FROM fleet_policy) AS max_attempts FROM fleet_agents
WHERE id = :agent AND status = 'active' AND health = 'online'
FOR NO KEY UPDATE -- postgres
