SELECT COUNT(*) AS n FROM fleet_commands WHERE tenant_id = :tenant AND lease_until IS NOT NULL AND platform
