SELECT id AS n FROM fleet_commands
INDEXED BY fleet_commands_retried -- sqlite
WHERE state = 'pending' AND attempts > 0 LIMIT 1
