SELECT id AS n FROM fleet_commands
INDEXED BY fleet_commands_queued -- sqlite
WHERE lease_until IS NULL AND completed_at IS NULL AND platform LIMIT 1
