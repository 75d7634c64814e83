-- Takes out of an agent's hands what it holds: its claims' numbers are the
-- latest no more. Their leases go on, as those of any agent that is lost.
UPDATE fleet_commands SET fence = fence + 1, version = version + 1
WHERE agent_id = :agent AND lease_until IS NOT NULL
RETURNING id AS n
