WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
SELECT COUNT(*) AS n FROM fleet_audit
INDEXED BY fleet_audit_grave -- sqlite
WHERE severity IN ('critical', 'high') AND at < (SELECT now FROM clock) - :age
