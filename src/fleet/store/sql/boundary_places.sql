-- The last of the next jobs that wait, in the order in which they came into the
-- queue; none where there are fewer.
SELECT queued_at AS at, id AS position FROM fleet_commands
INDEXED BY fleet_commands_queued -- sqlite
WHERE lease_until IS NULL AND completed_at IS NULL AND platform
    AND queued_at >= :after_at -- postgres
    AND (queued_at, id) > (:after_at, :after_id)
ORDER BY queued_at, id LIMIT 1 OFFSET :batch - 1
