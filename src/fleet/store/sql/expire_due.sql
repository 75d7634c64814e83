WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
UPDATE fleet_commands SET state = 'expired', message = 'its time was over before an agent took it',
    completed_at = (SELECT now FROM clock), version = version + 1
WHERE state = 'pending' AND id IN ( -- sqlite
WHERE state = 'pending' AND id = ANY (ARRAY( -- postgres
    SELECT id FROM fleet_commands
    INDEXED BY fleet_commands_expires -- sqlite
    WHERE lease_until IS NULL AND completed_at IS NULL AND state = 'pending' AND expires_at <= (SELECT now FROM clock)
    ORDER BY expires_at, id LIMIT :batch
    FOR NO KEY UPDATE SKIP LOCKED -- postgres
) -- sqlite
)) -- postgres
RETURNING id, state
