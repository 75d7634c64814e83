SELECT COUNT(*) AS n, MIN(position) AS first, MAX(position) AS last FROM fleet_audit
INDEXED BY fleet_audit_grave -- sqlite
WHERE severity IN ('critical', 'high') AND (at, position) < (:at, :position)
