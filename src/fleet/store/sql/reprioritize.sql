-- The places of the jobs that wait between two, in the order in which they came
-- into the queue: no place is changed by it, so a round that goes on where it
-- ended meets each. The tenants' jobs at work are counted once.
WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock))),
busy (tenant_id, n) AS (
    SELECT tenant_id, COUNT(*) FROM fleet_commands
    INDEXED BY fleet_commands_busy -- sqlite
    WHERE lease_until IS NOT NULL AND platform
    GROUP BY tenant_id
),
places (id, old_place, old_penalty, place, penalty) AS (
    SELECT c.id, c.queue_priority, c.queue_penalty,
        c.priority
            + CASE t.plan WHEN 'enterprise' THEN 100 WHEN 'business' THEN 75 WHEN 'team' THEN 50 ELSE 25 END
            + :bonus * CASE WHEN c.waiting_since < (SELECT now FROM clock)
                THEN ((SELECT now FROM clock) - c.waiting_since) / 60000000 ELSE 0 END
            - CASE WHEN b.n > 20 THEN 200 ELSE 10 * COALESCE(b.n, 0) END,
        CASE WHEN b.n > 20 THEN 200 ELSE 10 * COALESCE(b.n, 0) END
    FROM fleet_commands c
    INDEXED BY fleet_commands_queued -- sqlite
    CROSS JOIN fleet_tenants t LEFT JOIN busy b ON b.tenant_id = c.tenant_id
    WHERE c.lease_until IS NULL AND c.completed_at IS NULL AND c.state = 'pending' AND c.platform AND t.id = c.tenant_id
        AND c.queued_at >= :after_at AND c.queued_at <= :until_at -- postgres
        AND (c.queued_at, c.id) > (:after_at, :after_id) AND (c.queued_at, c.id) <= (:until_at, :until_id)
),
changed (id, place, penalty) AS MATERIALIZED (
    SELECT p.id, p.place, p.penalty FROM places p
    JOIN fleet_commands c ON c.id = p.id -- postgres
    WHERE p.old_place <> p.place OR p.old_penalty <> p.penalty
    LIMIT :batch
    FOR NO KEY UPDATE OF c SKIP LOCKED -- postgres
)
UPDATE fleet_commands SET queue_priority = changed.place, queue_penalty = changed.penalty, version = version + 1
FROM changed
WHERE fleet_commands.id = changed.id AND fleet_commands.state = 'pending'
    AND fleet_commands.id IN (SELECT id FROM changed) -- sqlite
