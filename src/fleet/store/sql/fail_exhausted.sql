WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
UPDATE fleet_commands SET state = 'failed', message = 'its claims are used up',
    completed_at = (SELECT now FROM clock), version = version + 1
WHERE state = 'pending' AND id IN ( -- sqlite
WHERE state = 'pending' AND id = ANY (ARRAY( -- postgres
    SELECT id FROM fleet_commands
    INDEXED BY fleet_commands_retried -- sqlite
    WHERE lease_until IS NULL AND completed_at IS NULL AND state = 'pending' AND attempts > 0
        AND attempts >= COALESCE(max_attempts, (SELECT max_attempts FROM fleet_policy))
    ORDER BY id LIMIT :batch
    FOR NO KEY UPDATE SKIP LOCKED -- postgres
) -- sqlite
)) -- postgres
RETURNING id, state
