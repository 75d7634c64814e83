-- A tenant's first job for this agent that nobody else is just claiming. One
-- small statement: what a server looks at again, because somebody else has
-- taken it meanwhile, costs as much as the whole statement has parts. A kind
-- that a newer program wrote waits for such a program, and is in nobody's way.
UPDATE fleet_commands SET
    state = 'acknowledged', agent_id = :agent, fence = fence + 1, attempts = attempts + 1, version = version + 1,
    acknowledged_at = :now, lease_until = :now + :lease
WHERE state = 'pending' AND id = (
    SELECT c.id FROM fleet_commands c
    INDEXED BY fleet_commands_jobs -- sqlite
    WHERE c.tenant_id = :tenant AND c.lease_until IS NULL AND c.completed_at IS NULL AND c.state = 'pending' AND c.platform
    AND (c.scheduled_at IS NULL OR c.scheduled_at <= :now)
        AND (c.expires_at IS NULL OR c.expires_at > :now)
        AND c.attempts < COALESCE(c.max_attempts, :max_attempts)
        AND (c.pinned_to IS NULL OR c.pinned_to = :agent)
        AND c.kind IN ('scan', 'collect', 'health_check', 'config_update', 'cancel', 'template_sync', 'update_tools', 'run_tool')
        AND (c.needs = 0 OR fleet_command_fits(c.id, :agent)) -- postgres
        AND (c.needs = 0 OR NOT EXISTS ( -- sqlite
            SELECT 1 FROM fleet_command_needs n WHERE n.command_id = c.id -- sqlite
            AND n.need NOT IN (SELECT o.offer FROM fleet_agent_offers o WHERE o.agent_id = :agent))) -- sqlite
    ORDER BY c.queue_priority + c.queue_penalty DESC, c.waiting_since, c.id LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED -- postgres
)
RETURNING id, kind, priority, payload, pinned_to, fence, version, attempts, max_attempts, queue_priority, queue_penalty, -- sqlite
    message, created_at, scheduled_at, expires_at, queued_at, waiting_since -- sqlite
RETURNING kind, payload, message, ARRAY[id, priority, pinned_to, fence, version, attempts, max_attempts, queue_priority, -- postgres
    queue_penalty, created_at, scheduled_at, expires_at, queued_at, waiting_since] AS numbers -- postgres
