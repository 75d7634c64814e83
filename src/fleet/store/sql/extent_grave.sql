SELECT COUNT(*) AS n, MIN(position) AS first, MAX(position) AS last FROM fleet_audit
WHERE severity IN ('critical', 'high') AND (at, position) < (:at, :position)
