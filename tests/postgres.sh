#!/usr/bin/env bash
# A throw-away PostgreSQL server for the store tests: `start FOLDER` prints its URL, `stop FOLDER` ends and removes it.
set -euo pipefail

die() { echo "postgres.sh: $*" >&2; exit 1; }

[ $# -eq 2 ] || die "usage: postgres.sh start|stop FOLDER"
folder=$2
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] || die "no PostgreSQL server here; install it with: deploy/prerequisites.sh test"

# initdb and postgres refuse to run as root
as_postgres() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --clear-groups "$@"; else "$@"; fi
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

case $1 in
  start)
    rm -rf "$folder" && mkdir -p "$folder"
    [ "$(id -u)" = 0 ] && chown postgres: "$folder"
    port=$(free_port)
    cd "$folder"
    as_postgres "$bin/initdb" -D "$folder/data" -U berth --auth=trust --no-sync -E UTF8 >"/dev/null"
    # tests restart nothing: durability would only cost time
    as_postgres "$bin/pg_ctl" -D "$folder/data" -w -s -l "$folder/log" \
      -o "-p $port -k $folder -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300" start >/dev/null
    echo "postgres://berth@127.0.0.1:$port"
    ;;
  stop)
    cd /
    [ -f "$folder/data/postmaster.pid" ] && as_postgres "$bin/pg_ctl" -D "$folder/data" -m immediate -s stop
    rm -rf "$folder"
    ;;
  *) die "usage: postgres.sh start|stop FOLDER" ;;
esac
