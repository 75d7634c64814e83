SELECT max_attempts AS n FROM fleet_policy
