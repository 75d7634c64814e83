-- Tenants' commands that do not say when they expire, by their time in the queue.
CREATE INDEX fleet_commands_unclaimed ON fleet_commands (queued_at)
    WHERE state = 'pending' AND NOT platform AND expires_at IS NULL;
