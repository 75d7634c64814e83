UPDATE fleet_commands SET state = 'running', version = version + 1,
    started_at = COALESCE(:now, (SELECT now FROM fleet_clock)) -- sqlite
    started_at = COALESCE(:now, fleet_now()) -- postgres
WHERE id = :command AND agent_id = :agent AND fence = :fence AND state = 'acknowledged'
RETURNING id AS n
