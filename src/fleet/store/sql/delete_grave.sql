DELETE FROM fleet_audit WHERE severity IN ('critical', 'high') AND (at, position) < (:at, :position)
