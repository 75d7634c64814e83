WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
UPDATE fleet_agents SET health = 'offline', last_offline_at = (SELECT now FROM clock)
WHERE health <> 'offline' AND id IN ( -- sqlite
WHERE health <> 'offline' AND id = ANY (ARRAY( -- postgres
    SELECT id FROM fleet_agents
    INDEXED BY fleet_agents_heard -- sqlite
    WHERE health <> 'offline' AND COALESCE(last_seen_at, created_at) < (SELECT now FROM clock) - :stale
    ORDER BY COALESCE(last_seen_at, created_at), id LIMIT :batch
    FOR NO KEY UPDATE SKIP LOCKED -- postgres
) -- sqlite
)) -- postgres
RETURNING id AS n
