-- What an administrator decided is read and not written.
UPDATE fleet_agents SET
    health = CASE WHEN :error IS NULL THEN 'online' ELSE 'error' END,
    last_error = :error,
    cpu_percent = COALESCE(:cpu, cpu_percent),
    memory_percent = COALESCE(:memory, memory_percent),
    last_seen_at = COALESCE(:now, (SELECT now FROM fleet_clock))
WHERE id = :agent AND status <> 'revoked'
RETURNING status AS word
