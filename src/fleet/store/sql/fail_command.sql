UPDATE fleet_commands SET state = 'failed', message = :message, lease_until = NULL,
    completed_at = COALESCE(:now, (SELECT now FROM fleet_clock)), version = version + 1
WHERE id = :command AND agent_id = :agent AND fence = :fence AND state IN ('acknowledged', 'running')
RETURNING id AS n
