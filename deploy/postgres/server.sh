#!/bin/sh
# Start of either server. One that FOLLOWS is made as a copy of its PEER_HOST and follows it until it is promoted. One
# that was a primary does not start beside a peer that is one now: two primaries would each take writes.
set -eu
export PGPASSWORD="$REPLICATION_PASSWORD" PGCONNECT_TIMEOUT=3
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  while [ -n "${FOLLOWS:-}" ] && ! pg_basebackup -h "$PEER_HOST" -U replica -D "$PGDATA" -R -X stream -S replica1 --checkpoint=fast; do
    rm -rf "${PGDATA:?}"/*
    sleep 2
  done
elif [ ! -e "$PGDATA/standby.signal" ]; then
  peer=$(psql -h "$PEER_HOST" -U replica -d postgres -Atc 'SELECT pg_is_in_recovery()' 2>/dev/null || true)
  if [ "$peer" = f ]; then
    echo "$PEER_HOST is the primary now; empty $PGDATA and set FOLLOWS=1 to have this server follow it" >&2
    exit 1
  fi
fi
unset PGPASSWORD PGCONNECT_TIMEOUT
exec docker-entrypoint.sh postgres "$@"
