WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
UPDATE fleet_commands SET lease_until = CASE WHEN lease_until > (SELECT now FROM clock) + :time THEN lease_until
    ELSE (SELECT now FROM clock) + :time END, version = version + 1
WHERE id = :command AND agent_id = :agent AND fence = :fence AND state IN ('acknowledged', 'running')
RETURNING lease_until AS n
