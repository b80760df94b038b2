#!/usr/bin/env bash
# A Docker engine of the test's own, where none runs: `start FOLDER` prints the address of its socket, `stop FOLDER` ends
# it and takes away what it left in the machine. All that it keeps (images, volumes, caches) is in FOLDER.
set -euo pipefail

readonly WAIT_SECONDS=60
PATH=$PATH:/usr/sbin:/sbin # not in every PATH under sudo

die() {
  echo "engine.sh: $*" >&2
  exit 1
}

[ $# -eq 2 ] || die "usage: engine.sh start|stop FOLDER"
folder=$2
readonly folder socket=unix://$2/docker.sock

answers() { docker --host "$socket" info >/dev/null 2>&1; }

start() {
  [ "$(id -u)" = 0 ] || die "only root can start a Docker engine"
  mkdir -p "$folder"
  # the engine sets it to DROP and leaves it so
  iptables -w -S FORWARD | sed -n 's/^-P FORWARD //p' >"$folder/forward-policy"
  # a session of its own: Ctrl-C ends the test, which still needs the engine to clean up
  setsid dockerd --host "$socket" --data-root "$folder/data" --exec-root "$folder/exec" \
    --pidfile "$folder/docker.pid" >"$folder/dockerd.log" 2>&1 </dev/null &
  local pid=$! end=$((SECONDS + WAIT_SECONDS))
  until answers; do
    kill -0 "$pid" 2>/dev/null || die "the engine ended: $(tail -n 3 "$folder/dockerd.log")"
    [ "$SECONDS" -lt "$end" ] || die "the engine did not answer within $WAIT_SECONDS s: $folder/dockerd.log"
    sleep 0.2
  done
  echo "$socket"
}

# The pid in the file, if that process lives and is an engine: the number may belong to somebody else by now.
pid_of_engine() {
  local pid
  pid=$(cat "$folder/docker.pid" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] && echo "$pid"
}

end_engine() {
  local pid end=$((SECONDS + WAIT_SECONDS))
  pid=$(pid_of_engine) || return 0
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || die "the engine (pid $pid) did not end within $WAIT_SECONDS s: $folder/dockerd.log"
    sleep 0.2
  done
}

# Rules are taken away one by one: whoever else writes rules meanwhile loses none.
remove_rules() {
  local table rule chain
  for table in nat filter; do
    while read -ra rule; do
      iptables -w -t "$table" "${rule[@]}"
    done < <(iptables -w -t "$table" -S | sed -n '/DOCKER\|docker0/s/^-A /-D /p')
    while read -r chain; do
      iptables -w -t "$table" -X "$chain"
    done < <(iptables -w -t "$table" -S | sed -n 's/^-N \(DOCKER.*\)/\1/p')
  done
  iptables -w -P FORWARD "$(cat "$folder/forward-policy")"
}

stop() {
  [ -d "$folder" ] || return 0
  end_engine
  if [ -s "$folder/forward-policy" ]; then remove_rules; fi
  if ip link show docker0 >/dev/null 2>&1; then ip link delete docker0; fi
  # layers of containers that the engine did not get to unmount
  sed -n "s|^[^ ]* \($folder/[^ ]*\) .*|\1|p" /proc/mounts | sort -r | xargs -r umount
  rm -rf "$folder"
}

case $1 in
  start | stop) "$1" ;;
  *) die "usage: engine.sh start|stop FOLDER" ;;
esac
