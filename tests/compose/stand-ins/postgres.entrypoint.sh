#!/usr/bin/env bash
# What the real image promises: POSTGRES_USER is made with POSTGRES_PASSWORD, who comes over the network needs it and who
# comes by the socket does not, and /docker-entrypoint-initdb.d/*.sql is run at the first start, when nobody else gets in.
set -euo pipefail

as_postgres() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }

first_start() {
  local password script
  password=$(mktemp)
  printf '%s\n' "$POSTGRES_PASSWORD" >"$password"
  chown postgres "$password"
  as_postgres initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile="$password" --auth-local=trust --auth-host=scram-sha-256
  rm "$password"
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  as_postgres pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=" start
  createdb -U "$POSTGRES_USER" "$POSTGRES_USER"
  for script in /docker-entrypoint-initdb.d/*.sql; do
    psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$POSTGRES_USER" -f "$script"
  done
  as_postgres pg_ctl -D "$PGDATA" -w -m fast stop
}

mkdir -p "$PGDATA"
chown postgres: "$PGDATA"
chmod 700 "$PGDATA"
[ -s "$PGDATA/PG_VERSION" ] || first_start
exec setpriv --reuid postgres --regid postgres --init-groups "$@" -D "$PGDATA" -c "listen_addresses=*"
