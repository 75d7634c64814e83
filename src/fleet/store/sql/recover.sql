-- One decision for each command, so that none is put back and ended in one
-- go. A command that is put back keeps its age without the time it was held.
-- Of one bound the planner of a server takes a third of all commands to be below
-- it, and reads another index to its end; of two it takes a two hundredth.
WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock))),
lost (id, fence, next, message) AS MATERIALIZED (
    SELECT c.id, c.fence,
        CASE WHEN c.expires_at <= (SELECT now FROM clock) THEN 'expired'
            WHEN c.attempts >= COALESCE(c.max_attempts, (SELECT max_attempts FROM fleet_policy)) THEN 'failed'
            ELSE 'pending' END,
        CASE WHEN c.expires_at <= (SELECT now FROM clock) THEN 'its time was over when its holder was lost'
            WHEN c.attempts >= COALESCE(c.max_attempts, (SELECT max_attempts FROM fleet_policy))
            THEN 'its last claim was lost' END
    FROM fleet_commands c
    INDEXED BY fleet_commands_leases -- sqlite
    LEFT JOIN fleet_agents a ON a.id = c.agent_id
    WHERE c.lease_until <= (SELECT now FROM clock) AND c.platform = :platform
        AND c.lease_until >= -9000000000000000000 -- postgres
        AND (a.id IS NULL OR a.status = 'revoked' OR a.health = 'offline'
            OR c.acknowledged_at < (SELECT now FROM clock) - :patience)
    ORDER BY c.lease_until, c.id LIMIT :batch
    FOR NO KEY UPDATE OF c SKIP LOCKED -- postgres
)
UPDATE fleet_commands SET
    state = lost.next,
    message = lost.message,
    agent_id = CASE WHEN lost.next = 'pending' THEN NULL ELSE agent_id END,
    completed_at = CASE WHEN lost.next <> 'pending' THEN (SELECT now FROM clock) END,
    queued_at = CASE WHEN lost.next = 'pending' THEN (SELECT now FROM clock) ELSE queued_at END,
    waiting_since = CASE WHEN lost.next = 'pending' THEN
        LEAST(GREATEST(waiting_since + ((SELECT now FROM clock) - acknowledged_at), 0), 253402300799999999) -- postgres
        MIN(MAX(waiting_since + ((SELECT now FROM clock) - acknowledged_at), 0), 253402300799999999) -- sqlite
        ELSE waiting_since END,
    acknowledged_at = CASE WHEN lost.next <> 'pending' THEN acknowledged_at END,
    started_at = CASE WHEN lost.next <> 'pending' THEN started_at END,
    progress = CASE WHEN lost.next <> 'pending' THEN progress END,
    lease_until = NULL,
    version = version + 1
FROM lost
WHERE fleet_commands.id = lost.id AND fleet_commands.fence = lost.fence
    AND fleet_commands.lease_until <= (SELECT now FROM clock)
    AND fleet_commands.lease_until >= -9000000000000000000 -- postgres
    AND fleet_commands.id IN (SELECT id FROM lost) -- sqlite
RETURNING fleet_commands.id, fleet_commands.state
