-- Whether any job that waits needs anything of its agent.
CREATE INDEX fleet_commands_needy ON fleet_commands (needs)
    WHERE state = 'pending' AND platform AND needs > 0;
-- What a revoked agent holds was out of its hands by its status; now it is so
-- by the number of its claim.
UPDATE fleet_commands SET fence = fence + 1, version = version + 1
WHERE lease_until IS NOT NULL AND agent_id IN (SELECT id FROM fleet_agents WHERE status = 'revoked');
