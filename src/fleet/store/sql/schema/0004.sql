-- What is counted with. One number at its end, from whoever wrote it, would
-- fail every statement that meets its row, and with it what is done for all
-- others; SQLite goes on with a number that is not exact instead.
UPDATE fleet_commands SET -- postgres
    fence = LEAST(GREATEST(fence, 0), 500000000000000000), -- postgres
    version = LEAST(GREATEST(version, 0), 500000000000000000), -- postgres
    queue_priority = LEAST(GREATEST(queue_priority, 0), 500000000000000000), -- postgres
    queue_penalty = LEAST(GREATEST(queue_penalty, 0), 500000000000000000), -- postgres
    waiting_since = LEAST(GREATEST(waiting_since, 0), 253402300799999999), -- postgres
    acknowledged_at = CASE WHEN acknowledged_at IS NOT NULL -- postgres
        THEN LEAST(GREATEST(acknowledged_at, 0), 253402300799999999) END -- postgres
WHERE NOT (fence BETWEEN 0 AND 500000000000000000 AND version BETWEEN 0 AND 500000000000000000 -- postgres
    AND queue_priority BETWEEN 0 AND 500000000000000000 -- postgres
    AND queue_penalty BETWEEN 0 AND 500000000000000000 -- postgres
    AND waiting_since BETWEEN 0 AND 253402300799999999 -- postgres
    AND COALESCE(acknowledged_at, 0) BETWEEN 0 AND 253402300799999999); -- postgres
ALTER TABLE fleet_commands ADD CONSTRAINT fleet_commands_numbers CHECK ( -- postgres
    fence BETWEEN 0 AND 1000000000000000000 AND version BETWEEN 0 AND 1000000000000000000 -- postgres
    AND queue_priority BETWEEN 0 AND 1000000000000000000 -- postgres
    AND queue_penalty BETWEEN 0 AND 1000000000000000000 -- postgres
    AND waiting_since BETWEEN 0 AND 253402300799999999 -- postgres
    AND acknowledged_at BETWEEN 0 AND 253402300799999999); -- postgres
