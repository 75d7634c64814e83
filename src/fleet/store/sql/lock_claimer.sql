-- Who claims; holds off a second claim of the same agent, and decisions about
-- it.
SELECT tenant_id, status, status_message, health, max_jobs FROM fleet_agents WHERE id = :agent
FOR NO KEY UPDATE -- postgres
