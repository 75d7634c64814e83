SELECT id AS n FROM fleet_tokens WHERE id = :token
