SELECT position, hash FROM fleet_audit_head WHERE id = 1
FOR UPDATE -- postgres
