UPDATE fleet_policy SET max_attempts = :most WHERE max_attempts <> :most RETURNING max_attempts AS n
