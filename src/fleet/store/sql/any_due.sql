SELECT id AS n FROM fleet_commands
INDEXED BY fleet_commands_expires -- sqlite
WHERE lease_until IS NULL AND completed_at IS NULL AND expires_at <= COALESCE(:now, (SELECT now FROM fleet_clock))
ORDER BY expires_at LIMIT 1
