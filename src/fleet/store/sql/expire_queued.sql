WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
UPDATE fleet_commands SET state = 'expired', message = 'no agent took it in time',
    completed_at = (SELECT now FROM clock), version = version + 1
WHERE state = 'pending' AND id IN ( -- sqlite
WHERE state = 'pending' AND id = ANY (ARRAY( -- postgres
    SELECT id FROM fleet_commands
    INDEXED BY fleet_commands_queued -- sqlite
    WHERE lease_until IS NULL AND completed_at IS NULL AND state = 'pending' AND platform AND queued_at < (SELECT now FROM clock) - :max_queue
    ORDER BY queued_at, id LIMIT :batch
    FOR NO KEY UPDATE SKIP LOCKED -- postgres
) -- sqlite
)) -- postgres
RETURNING id, state
