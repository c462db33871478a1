#!/bin/sh
# Run once by the postgres image when the primary's cluster is made: the replica's user, its slot, who may connect.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$REPLICATION_PASSWORD" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE replica WITH REPLICATION LOGIN PASSWORD :'password';
SELECT pg_create_physical_replication_slot('replica1');
SQL
echo "host replication replica all scram-sha-256" >> "$PGDATA/pg_hba.conf"
