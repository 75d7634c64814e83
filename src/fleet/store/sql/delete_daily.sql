DELETE FROM fleet_audit WHERE severity NOT IN ('critical', 'high') AND (at, position) < (:at, :position)
