SELECT id, hash FROM fleet_tokens WHERE prefix = :prefix
