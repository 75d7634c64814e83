UPDATE fleet_tokens SET revoked_at = COALESCE(:now, (SELECT now FROM fleet_clock))
WHERE id = :token AND revoked_at IS NULL
RETURNING id AS n
