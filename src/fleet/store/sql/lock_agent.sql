-- Holds off a second claim of the same agent, and decisions about it.
SELECT id AS n FROM fleet_agents WHERE id = :agent
FOR NO KEY UPDATE -- postgres
