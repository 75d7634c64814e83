INSERT INTO fleet_tenants (name, plan, created_at)
VALUES (:name, :plan, COALESCE(:now, (SELECT now FROM fleet_clock)))
RETURNING id AS n
