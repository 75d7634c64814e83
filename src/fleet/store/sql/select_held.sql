SELECT id, tenant_id, platform, kind, priority, payload, state, pinned_to, agent_id, fence, version, attempts, max_attempts,
    queue_priority, queue_penalty, progress, message, result, created_at, scheduled_at, expires_at, queued_at,
    waiting_since, acknowledged_at, started_at, completed_at, lease_until
FROM fleet_commands WHERE agent_id = :agent AND lease_until IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM fleet_agents a WHERE a.id = :agent AND a.status = 'revoked') ORDER BY id
