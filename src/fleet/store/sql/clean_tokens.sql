-- Each reason has its index; a token with two reasons counts once.
WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock))),
dead (id) AS (
    SELECT id FROM fleet_tokens
    INDEXED BY fleet_tokens_revoked -- sqlite
    WHERE revoked_at < (SELECT now FROM clock) - :grace
    UNION SELECT id FROM fleet_tokens
    INDEXED BY fleet_tokens_exhausted -- sqlite
    WHERE exhausted_at < (SELECT now FROM clock) - :grace
    UNION SELECT id FROM fleet_tokens
    INDEXED BY fleet_tokens_expired -- sqlite
    WHERE expires_at < (SELECT now FROM clock) - :grace
)
DELETE FROM fleet_tokens WHERE id IN (SELECT id FROM dead LIMIT :batch) -- sqlite
DELETE FROM fleet_tokens WHERE id = ANY (ARRAY(SELECT id FROM dead LIMIT :batch)) -- postgres
RETURNING CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN exhausted_at IS NOT NULL THEN 'exhausted'
    ELSE 'expired' END AS word
