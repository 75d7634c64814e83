SELECT id, tenant_id, platform, kind, priority, payload, state, pinned_to, agent_id, fence, version, attempts, max_attempts,
    queue_priority, queue_penalty, progress, message, result, created_at, scheduled_at, expires_at, queued_at,
    waiting_since, acknowledged_at, started_at, completed_at, lease_until
FROM fleet_commands WHERE lease_until IS NULL AND completed_at IS NULL AND state = 'pending' AND platform
ORDER BY CASE WHEN scheduled_at > COALESCE(:now, (SELECT now FROM fleet_clock))
        OR expires_at <= COALESCE(:now, (SELECT now FROM fleet_clock))
        OR attempts >= COALESCE(max_attempts, (SELECT max_attempts FROM fleet_policy)) THEN 1 ELSE 0 END,
    queue_priority DESC, waiting_since, id LIMIT :most
