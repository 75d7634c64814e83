DELETE FROM fleet_audit
INDEXED BY fleet_audit_daily -- sqlite
WHERE severity NOT IN ('critical', 'high') AND (at, position) < (:at, :position)
