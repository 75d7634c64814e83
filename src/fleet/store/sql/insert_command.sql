WITH clock (now) AS (SELECT COALESCE(:now, (SELECT now FROM fleet_clock)))
INSERT INTO fleet_commands (tenant_id, platform, kind, priority, payload, needs, pinned_to, max_attempts,
    queue_priority, created_at, scheduled_at, expires_at, queued_at, waiting_since)
SELECT :tenant, :platform, :kind, :priority, :payload, :needs, :pinned_to, :max_attempts, :queue_priority, now,
    :scheduled_at, :expires_at,
    CASE WHEN :scheduled_at > now THEN :scheduled_at ELSE now END,
    CASE WHEN :scheduled_at > now THEN :scheduled_at ELSE now END
FROM clock
RETURNING id AS n
