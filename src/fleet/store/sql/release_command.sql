WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
UPDATE fleet_commands SET state = 'pending', agent_id = NULL, lease_until = NULL, started_at = NULL, progress = NULL,
    acknowledged_at = NULL, queued_at = (SELECT now FROM clock),
    waiting_since =
        LEAST(GREATEST(waiting_since + ((SELECT now FROM clock) - acknowledged_at), 0), 253402300799999999), -- postgres
        MIN(MAX(waiting_since + ((SELECT now FROM clock) - acknowledged_at), 0), 253402300799999999), -- sqlite
    version = version + 1
WHERE id = :command AND agent_id = :agent AND fence = :fence AND state IN ('acknowledged', 'running')
RETURNING id AS n
