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
-- A server reads the text of each check anew in every statement that writes a
-- row, which cost more than the writing. The same rules, and these, in one that
-- it keeps.
ALTER TABLE fleet_commands -- postgres
    DROP CONSTRAINT IF EXISTS fleet_commands_check, DROP CONSTRAINT IF EXISTS fleet_commands_check1, -- postgres
    DROP CONSTRAINT IF EXISTS fleet_commands_check2, DROP CONSTRAINT IF EXISTS fleet_commands_check3, -- postgres
    DROP CONSTRAINT IF EXISTS fleet_commands_check4, DROP CONSTRAINT IF EXISTS fleet_commands_check5, -- postgres
    DROP CONSTRAINT IF EXISTS fleet_commands_state_check, DROP CONSTRAINT IF EXISTS fleet_commands_priority_check, -- postgres
    DROP CONSTRAINT IF EXISTS fleet_commands_max_attempts_check; -- postgres
CREATE OR REPLACE FUNCTION fleet_command_agrees(state TEXT, priority BIGINT, max_attempts BIGINT, agent_id BIGINT, -- postgres
    acknowledged_at BIGINT, started_at BIGINT, completed_at BIGINT, lease_until BIGINT, fence BIGINT, version BIGINT, -- postgres
    queue_priority BIGINT, queue_penalty BIGINT, waiting_since BIGINT) -- postgres
RETURNS BOOLEAN LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ -- postgres
BEGIN -- postgres
    RETURN priority IN (250, 500, 750, 1000) AND (max_attempts > 0 OR max_attempts IS NULL) -- postgres
        AND fence BETWEEN 0 AND 1000000000000000000 AND version BETWEEN 0 AND 1000000000000000000 -- postgres
        AND queue_priority BETWEEN 0 AND 1000000000000000000 -- postgres
        AND queue_penalty BETWEEN 0 AND 1000000000000000000 -- postgres
        AND waiting_since BETWEEN 0 AND 253402300799999999 -- postgres
        AND COALESCE(acknowledged_at, 0) BETWEEN 0 AND 253402300799999999 -- postgres
        AND CASE state -- postgres
        WHEN 'pending' THEN lease_until IS NULL AND completed_at IS NULL -- postgres
            AND agent_id IS NULL AND acknowledged_at IS NULL AND started_at IS NULL -- postgres
        WHEN 'acknowledged' THEN lease_until IS NOT NULL AND completed_at IS NULL -- postgres
            AND agent_id IS NOT NULL AND acknowledged_at IS NOT NULL AND started_at IS NULL -- postgres
        WHEN 'running' THEN lease_until IS NOT NULL AND completed_at IS NULL -- postgres
            AND agent_id IS NOT NULL AND acknowledged_at IS NOT NULL AND started_at IS NOT NULL -- postgres
        WHEN 'completed' THEN lease_until IS NULL AND completed_at IS NOT NULL AND started_at IS NOT NULL -- postgres
        ELSE state IN ('failed', 'canceled', 'expired') AND lease_until IS NULL AND completed_at IS NOT NULL -- postgres
    END; -- postgres
END $$; -- postgres
ALTER TABLE fleet_commands ADD CONSTRAINT fleet_commands_agrees CHECK (fleet_command_agrees( -- postgres
    state, priority, max_attempts, agent_id, acknowledged_at, started_at, completed_at, lease_until, -- postgres
    fence, version, queue_priority, queue_penalty, waiting_since)); -- postgres
