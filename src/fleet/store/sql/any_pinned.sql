SELECT id AS n FROM fleet_commands
INDEXED BY fleet_commands_pinned -- sqlite
WHERE state = 'pending' AND pinned_to IS NOT NULL LIMIT 1
