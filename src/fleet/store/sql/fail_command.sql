UPDATE fleet_commands SET state = 'failed', message = :message, lease_until = NULL, version = version + 1,
    completed_at = COALESCE(:now, (SELECT now FROM fleet_clock)) -- sqlite
    completed_at = COALESCE(:now, fleet_now()) -- postgres
WHERE id = :command AND agent_id = :agent AND fence = :fence AND state IN ('acknowledged', 'running')
RETURNING id AS n
