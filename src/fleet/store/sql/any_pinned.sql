SELECT id AS n FROM fleet_commands
INDEXED BY fleet_commands_pinned -- sqlite
WHERE lease_until IS NULL AND completed_at IS NULL AND pinned_to IS NOT NULL LIMIT 1
