INSERT INTO fleet_agent_offers (agent_id, offer) VALUES (:agent, :offer) ON CONFLICT DO NOTHING RETURNING agent_id AS n
