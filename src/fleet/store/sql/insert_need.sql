INSERT INTO fleet_command_needs (command_id, need) VALUES (:command, :need) ON CONFLICT DO NOTHING RETURNING command_id AS n
