UPDATE fleet_audit_head SET position = :position, hash = :hash WHERE id = 1 RETURNING position AS n
