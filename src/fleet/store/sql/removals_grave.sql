SELECT detail AS word FROM fleet_audit
INDEXED BY fleet_audit_grave -- sqlite
WHERE severity IN ('critical', 'high') AND (at, position) < (:at, :position) AND action = 'audit.retention'
