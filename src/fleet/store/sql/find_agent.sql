SELECT id, key_hash AS hash FROM fleet_agents WHERE key_prefix = :prefix AND status <> 'revoked'
