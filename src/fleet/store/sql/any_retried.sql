SELECT id AS n FROM fleet_commands
INDEXED BY fleet_commands_retried -- sqlite
WHERE lease_until IS NULL AND completed_at IS NULL AND attempts > 0 LIMIT 1
