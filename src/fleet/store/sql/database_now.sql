SELECT COALESCE(:now, (SELECT now FROM fleet_clock)) AS n
