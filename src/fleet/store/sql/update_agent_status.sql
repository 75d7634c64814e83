UPDATE fleet_agents SET status = :status, status_message = :reason
WHERE id = :agent AND (status <> 'revoked' OR :status = 'revoked')
RETURNING status AS word
