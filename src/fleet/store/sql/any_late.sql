SELECT id AS n FROM fleet_commands
INDEXED BY fleet_commands_queued -- sqlite
WHERE lease_until IS NULL AND completed_at IS NULL AND platform AND queued_at < COALESCE(:now, (SELECT now FROM fleet_clock)) - :max_queue
ORDER BY queued_at LIMIT 1
