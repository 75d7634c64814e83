SELECT id AS n FROM fleet_agents
INDEXED BY fleet_agents_heard -- sqlite
WHERE health <> 'offline' AND COALESCE(last_seen_at, created_at) < COALESCE(:now, (SELECT now FROM fleet_clock)) - :stale
ORDER BY COALESCE(last_seen_at, created_at) LIMIT 1
