SELECT id, name, plan, created_at FROM fleet_tenants ORDER BY id
