SELECT id AS n FROM fleet_commands
INDEXED BY fleet_commands_queued -- sqlite
WHERE state = 'pending' AND platform LIMIT 1
