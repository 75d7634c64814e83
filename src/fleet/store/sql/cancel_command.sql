UPDATE fleet_commands SET state = 'canceled', message = :reason, lease_until = NULL,
    completed_at = COALESCE(:now, (SELECT now FROM fleet_clock)), version = version + 1
WHERE id = :command AND state IN ('pending', 'acknowledged', 'running')
RETURNING tenant_id AS n
