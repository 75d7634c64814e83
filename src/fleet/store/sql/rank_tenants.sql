-- What a claim of the platform has to know where jobs of several tenants wait,
-- once its agent is locked: what that holds, what does not depend on the job,
-- and the tenants that it may claim from, the first first. Of each tenant the
-- first job that this agent can do, found by jumping from tenant to tenant;
-- among these the highest, with what each tenant has at work now taken off
-- instead of what it had when the priorities were computed. More than 100 at
-- work count as 100. The second tells that there are several. With a limit that
-- is bound a server would plan this anew at each call.
WITH RECURSIVE clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock))), -- sqlite
WITH RECURSIVE -- postgres
waiting (tenant_id) AS ( -- sqlite
    SELECT MIN(tenant_id) FROM fleet_commands WHERE lease_until IS NULL AND completed_at IS NULL AND platform -- sqlite
    UNION ALL -- sqlite
    SELECT (SELECT MIN(c.tenant_id) FROM fleet_commands c -- sqlite
        WHERE c.lease_until IS NULL AND c.completed_at IS NULL AND c.platform AND c.tenant_id > w.tenant_id) -- sqlite
    FROM waiting w WHERE w.tenant_id IS NOT NULL -- sqlite
), -- sqlite
heads (tenant_id, id, n) AS MATERIALIZED ( -- sqlite
    SELECT w.tenant_id, -- sqlite
        (SELECT c.id FROM fleet_commands c -- sqlite
            INDEXED BY fleet_commands_jobs -- sqlite
            WHERE c.tenant_id = w.tenant_id AND c.lease_until IS NULL AND c.completed_at IS NULL AND c.state = 'pending' AND c.platform -- sqlite
                AND (c.scheduled_at IS NULL OR c.scheduled_at <= (SELECT now FROM clock)) -- sqlite
                AND (c.expires_at IS NULL OR c.expires_at > (SELECT now FROM clock)) -- sqlite
heads (tenant_id, id, place, waiting_since) AS ( -- postgres
    SELECT CAST(-1 AS BIGINT), CAST(0 AS BIGINT), CAST(0 AS BIGINT), CAST(0 AS BIGINT) -- postgres
    UNION ALL -- postgres
    SELECT h.tenant_id, h.id, h.place, h.waiting_since FROM heads w CROSS JOIN LATERAL ( -- postgres
        SELECT c.tenant_id, c.id, c.queue_priority + c.queue_penalty AS place, c.waiting_since -- postgres
            FROM fleet_commands c -- postgres
            WHERE c.tenant_id > w.tenant_id AND c.lease_until IS NULL AND c.completed_at IS NULL AND c.state = 'pending' AND c.platform -- postgres
                AND (c.scheduled_at IS NULL OR c.scheduled_at <= COALESCE(:now, fleet_now())) -- postgres
                AND (c.expires_at IS NULL OR c.expires_at > COALESCE(:now, fleet_now())) -- postgres
                AND c.attempts < COALESCE(c.max_attempts, :max_attempts)
                AND (c.pinned_to IS NULL OR c.pinned_to = :agent)
                AND c.kind IN ('scan', 'collect', 'health_check', 'config_update', 'cancel', 'template_sync', 'update_tools', 'run_tool')
                AND (c.needs = 0 OR fleet_command_fits(c.id, :agent)) -- postgres
                AND (c.needs = 0 OR NOT EXISTS ( -- sqlite
                    SELECT 1 FROM fleet_command_needs n WHERE n.command_id = c.id -- sqlite
                    AND n.need NOT IN (SELECT o.offer FROM fleet_agent_offers o WHERE o.agent_id = :agent))) -- sqlite
            ORDER BY c.queue_priority + c.queue_penalty DESC, c.waiting_since, c.id LIMIT 1), -- sqlite
        (SELECT COUNT(*) FROM (SELECT 1 FROM fleet_commands b -- sqlite
            INDEXED BY fleet_commands_busy -- sqlite
            WHERE b.tenant_id = w.tenant_id AND b.lease_until IS NOT NULL AND b.platform LIMIT 100)) -- sqlite
    FROM waiting w -- sqlite
    WHERE w.tenant_id IS NOT NULL -- sqlite
            ORDER BY c.tenant_id, c.queue_priority + c.queue_penalty DESC, c.waiting_since, c.id LIMIT 1 -- postgres
    ) h -- postgres
),
ranked (tenant_id, id, score, n, waiting_since) AS (
    SELECT h.tenant_id, h.id, c.queue_priority + c.queue_penalty - (CASE WHEN n > 20 THEN 200 ELSE 10 * n END), h.n, c.waiting_since -- sqlite
    FROM heads h JOIN fleet_commands c ON c.id = h.id -- sqlite
    SELECT h.tenant_id, h.id, h.place - (CASE WHEN b.n > 20 THEN 200 ELSE 10 * b.n END), b.n, h.waiting_since -- postgres
    FROM heads h CROSS JOIN LATERAL (SELECT COUNT(*) AS n FROM (SELECT 1 FROM fleet_commands b -- postgres
        WHERE b.tenant_id = h.tenant_id AND b.lease_until IS NOT NULL AND b.platform LIMIT 100) few) b -- postgres
    WHERE h.tenant_id >= 0 -- postgres
)
SELECT (SELECT COUNT(*) FROM fleet_commands c WHERE c.agent_id = :agent AND c.lease_until IS NOT NULL) AS held_jobs,
    r.tenant_id AS tenant_id,
    COALESCE(:now, (SELECT now FROM fleet_clock)) AS now -- sqlite
    COALESCE(:now, fleet_now()) AS now -- postgres
FROM (SELECT 1 AS one) always LEFT JOIN ranked r ON true
ORDER BY r.score DESC, r.n, r.waiting_since, r.id LIMIT 2
