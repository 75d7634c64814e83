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
SELECT id AS n FROM dead LIMIT 1
