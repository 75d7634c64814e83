-- What waits is told by stamps that only taking and ending it change, and not
-- by its state: to begin one writes no index then.
DROP INDEX fleet_commands_jobs;
DROP INDEX fleet_commands_orders;
DROP INDEX fleet_commands_queued;
DROP INDEX fleet_commands_expires;
DROP INDEX fleet_commands_retried;
DROP INDEX fleet_commands_pinned;
DROP INDEX fleet_commands_unclaimed;
DROP INDEX fleet_commands_needy;
CREATE INDEX fleet_commands_jobs ON fleet_commands
    (tenant_id, (queue_priority + queue_penalty) DESC, waiting_since, id)
    WHERE lease_until IS NULL AND completed_at IS NULL AND platform;
CREATE INDEX fleet_commands_orders ON fleet_commands (tenant_id, priority DESC, waiting_since, id)
    WHERE lease_until IS NULL AND completed_at IS NULL AND NOT platform;
CREATE INDEX fleet_commands_queued ON fleet_commands (queued_at)
    WHERE lease_until IS NULL AND completed_at IS NULL AND platform;
CREATE INDEX fleet_commands_expires ON fleet_commands (expires_at)
    WHERE lease_until IS NULL AND completed_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX fleet_commands_retried ON fleet_commands (id)
    WHERE lease_until IS NULL AND completed_at IS NULL AND attempts > 0;
CREATE INDEX fleet_commands_pinned ON fleet_commands (pinned_to)
    WHERE lease_until IS NULL AND completed_at IS NULL AND pinned_to IS NOT NULL;
CREATE INDEX fleet_commands_unclaimed ON fleet_commands (queued_at)
    WHERE lease_until IS NULL AND completed_at IS NULL AND NOT platform AND expires_at IS NULL;
-- The clock as an expression, which a server puts in its place where it is asked
-- for. A double holds microseconds exactly until the year 2242.
CREATE FUNCTION fleet_now() RETURNS BIGINT LANGUAGE sql STABLE PARALLEL SAFE AS $$ -- postgres
    SELECT CAST(date_part('epoch', statement_timestamp()) * 1000000 AS BIGINT) $$; -- postgres
CREATE OR REPLACE VIEW fleet_clock AS SELECT fleet_now() AS now; -- postgres
-- Whether an agent has all that a command needs. A server prepares for each
-- part of a statement at each call, and for a call of this only where a command
-- needs something.
CREATE FUNCTION fleet_command_fits(command BIGINT, agent BIGINT) -- postgres
RETURNS BOOLEAN LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$ -- postgres
BEGIN -- postgres
    RETURN NOT EXISTS (SELECT 1 FROM fleet_command_needs n WHERE n.command_id = command -- postgres
        AND n.need NOT IN (SELECT o.offer FROM fleet_agent_offers o WHERE o.agent_id = agent)); -- postgres
END $$; -- postgres
