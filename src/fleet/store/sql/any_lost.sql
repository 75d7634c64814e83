SELECT id AS n FROM fleet_commands
INDEXED BY fleet_commands_leases -- sqlite
WHERE lease_until <= COALESCE(:now, (SELECT now FROM fleet_clock)) ORDER BY lease_until LIMIT 1
