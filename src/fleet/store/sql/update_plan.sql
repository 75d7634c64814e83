UPDATE fleet_tenants SET plan = :plan WHERE id = :tenant RETURNING id AS n
