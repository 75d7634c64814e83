WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
UPDATE fleet_commands SET pinned_to = NULL, version = version + 1
WHERE state = 'pending' AND pinned_to IS NOT NULL AND id IN ( -- sqlite
WHERE state = 'pending' AND pinned_to IS NOT NULL AND id = ANY (ARRAY( -- postgres
    SELECT c.id FROM fleet_commands c
    INDEXED BY fleet_commands_pinned -- sqlite
    JOIN fleet_agents a ON a.id = c.pinned_to
    WHERE c.lease_until IS NULL AND c.completed_at IS NULL AND c.state = 'pending' AND c.pinned_to IS NOT NULL
        AND (a.status <> 'active'
            OR (a.health = 'offline' AND a.last_offline_at < (SELECT now FROM clock) - :patience))
    ORDER BY c.id LIMIT :batch
    FOR NO KEY UPDATE OF c SKIP LOCKED -- postgres
) -- sqlite
)) -- postgres
RETURNING id, state
