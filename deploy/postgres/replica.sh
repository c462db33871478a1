#!/bin/sh
# Start of a replica: copy the primary (PRIMARY_HOST) when there is no cluster yet, then follow it until it is promoted.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  export PGPASSWORD="$REPLICATION_PASSWORD"
  until pg_basebackup -h "$PRIMARY_HOST" -U replica -D "$PGDATA" -R -X stream -S replica1 --checkpoint=fast; do
    rm -rf "${PGDATA:?}"/*
    sleep 2
  done
  chmod 0700 "$PGDATA"
fi
exec postgres "$@"
