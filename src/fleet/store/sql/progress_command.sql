UPDATE fleet_commands SET progress = :percent, version = version + 1
WHERE id = :command AND agent_id = :agent AND fence = :fence AND state = 'running'
RETURNING id AS n
