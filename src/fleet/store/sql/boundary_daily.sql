-- The first record that is too many for a batch; none when all fit.
WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
SELECT at, position FROM fleet_audit
INDEXED BY fleet_audit_daily -- sqlite
WHERE severity NOT IN ('critical', 'high') AND at < (SELECT now FROM clock) - :age
ORDER BY at, position LIMIT 1 OFFSET :batch
