UPDATE fleet_commands SET state = 'running', started_at = COALESCE(:now, (SELECT now FROM fleet_clock)),
    version = version + 1
WHERE id = :command AND agent_id = :agent AND fence = :fence AND state = 'acknowledged'
RETURNING id AS n
