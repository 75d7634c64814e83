-- The first job of each tenant that has one, found by jumping from tenant to
-- tenant; among these the highest, with what each tenant has at work now
-- taken off instead of what it had when the priorities were computed. More
-- than 100 at work count as 100. A kind that a newer program wrote waits for
-- such a program, and is in nobody's way.
WITH RECURSIVE clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock))),
waiting (tenant_id) AS (
    SELECT MIN(tenant_id) FROM fleet_commands WHERE state = 'pending' AND platform
    UNION ALL
    SELECT (SELECT MIN(c.tenant_id) FROM fleet_commands c
        WHERE c.state = 'pending' AND c.platform AND c.tenant_id > w.tenant_id)
    FROM waiting w WHERE w.tenant_id IS NOT NULL
),
heads (tenant_id, id, n) AS MATERIALIZED ( -- sqlite
    SELECT w.tenant_id, -- sqlite
        (SELECT c.id FROM fleet_commands c -- sqlite
            INDEXED BY fleet_commands_jobs -- sqlite
ranked (tenant_id, id, score, n, waiting_since) AS MATERIALIZED ( -- postgres
    SELECT w.tenant_id, h.id, h.place - (CASE WHEN b.n > 20 THEN 200 ELSE 10 * b.n END), b.n, h.waiting_since -- postgres
    FROM waiting w CROSS JOIN LATERAL ( -- postgres
        SELECT c.id, c.queue_priority + c.queue_penalty AS place, c.waiting_since FROM fleet_commands c -- postgres
            WHERE c.tenant_id = w.tenant_id AND c.state = 'pending' AND c.platform
            AND (c.scheduled_at IS NULL OR c.scheduled_at <= (SELECT now FROM clock))
AND (c.expires_at IS NULL OR c.expires_at > (SELECT now FROM clock))
AND c.attempts < COALESCE(c.max_attempts, (SELECT max_attempts FROM fleet_policy))
AND (c.pinned_to IS NULL OR c.pinned_to = :agent)
AND c.kind IN ('scan', 'collect', 'health_check', 'config_update', 'cancel', 'template_sync', 'update_tools', 'run_tool')
AND (c.needs = 0 OR NOT EXISTS (
    SELECT 1 FROM fleet_command_needs n WHERE n.command_id = c.id AND NOT EXISTS (
        SELECT 1 FROM fleet_agent_offers o WHERE o.agent_id = :agent AND o.offer = n.need)))
            ORDER BY c.queue_priority + c.queue_penalty DESC, c.waiting_since, c.id LIMIT 1), -- sqlite
        (SELECT COUNT(*) FROM (SELECT 1 FROM fleet_commands b -- sqlite
            INDEXED BY fleet_commands_busy -- sqlite
            ORDER BY c.queue_priority + c.queue_penalty DESC, c.waiting_since, c.id LIMIT 1) h -- postgres
    CROSS JOIN LATERAL (SELECT COUNT(*) AS n FROM (SELECT 1 FROM fleet_commands b -- postgres
            WHERE b.tenant_id = w.tenant_id AND b.lease_until IS NOT NULL AND b.platform LIMIT 100) few)
    FROM waiting w -- sqlite
    b -- postgres
    WHERE w.tenant_id IS NOT NULL
),
ranked (tenant_id, id, score, n, waiting_since) AS ( -- sqlite
    SELECT h.tenant_id, h.id, c.queue_priority + c.queue_penalty - (CASE WHEN n > 20 THEN 200 ELSE 10 * n END), h.n, c.waiting_since -- sqlite
    FROM heads h JOIN fleet_commands c ON c.id = h.id -- sqlite
), -- sqlite
next (id) AS (
    SELECT id FROM ranked ORDER BY score DESC, n, waiting_since, id LIMIT 1 -- sqlite
    SELECT f.id FROM (SELECT * FROM ranked ORDER BY score DESC, n, waiting_since, id) r -- postgres
    CROSS JOIN LATERAL ( -- postgres
        SELECT c.id FROM fleet_commands c -- postgres
        WHERE c.tenant_id = r.tenant_id AND c.state = 'pending' AND c.platform -- postgres
        AND (c.scheduled_at IS NULL OR c.scheduled_at <= (SELECT now FROM clock)) -- postgres
AND (c.expires_at IS NULL OR c.expires_at > (SELECT now FROM clock)) -- postgres
AND c.attempts < COALESCE(c.max_attempts, (SELECT max_attempts FROM fleet_policy)) -- postgres
AND (c.pinned_to IS NULL OR c.pinned_to = :agent) -- postgres
AND c.kind IN ('scan', 'collect', 'health_check', 'config_update', 'cancel', 'template_sync', 'update_tools', 'run_tool') -- postgres
AND (c.needs = 0 OR NOT EXISTS ( -- postgres
    SELECT 1 FROM fleet_command_needs n WHERE n.command_id = c.id AND NOT EXISTS ( -- postgres
        SELECT 1 FROM fleet_agent_offers o WHERE o.agent_id = :agent AND o.offer = n.need))) -- postgres
        ORDER BY c.queue_priority + c.queue_penalty DESC, c.waiting_since, c.id LIMIT 1 -- postgres
        FOR NO KEY UPDATE SKIP LOCKED -- postgres
    ) f LIMIT 1 -- postgres
)
UPDATE fleet_commands SET
    state = 'acknowledged', agent_id = :agent, fence = fence + 1, attempts = attempts + 1, version = version + 1,
    acknowledged_at = (SELECT now FROM clock), lease_until = (SELECT now FROM clock) + :lease, progress = NULL
WHERE state = 'pending' AND id = (SELECT id FROM next)
RETURNING id, tenant_id, platform, kind, priority, payload, state, pinned_to, agent_id, fence, version, attempts, max_attempts,
    queue_priority, queue_penalty, progress, message, result, created_at, scheduled_at, expires_at, queued_at,
    waiting_since, acknowledged_at, started_at, completed_at, lease_until
