-- One use; of several at once no more succeed than are left.
WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
UPDATE fleet_tokens SET
    uses = uses + 1,
    exhausted_at = CASE WHEN uses + 1 >= max_uses THEN (SELECT now FROM clock) END
WHERE id = :token
    AND revoked_at IS NULL AND exhausted_at IS NULL
    AND (expires_at IS NULL OR expires_at > (SELECT now FROM clock))
RETURNING tenant_id, kind
