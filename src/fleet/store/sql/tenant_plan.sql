SELECT plan AS word FROM fleet_tenants WHERE id = :tenant
