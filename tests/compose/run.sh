#!/usr/bin/env bash
# `make compose-test`: compose.yaml as a newcomer starts it, from a clean clone, images built and all, and then the main job
# through the published port. Debian 12, root; ports 4222 and 7480 have to be free.
#
#   BERTH_CARGO_PROFILE=release   how the images' programs are compiled (here: dev; compose.yaml by itself: release)
#   BERTH_REAL_IMAGES=1           base images come from the registry, and not from stand-ins.sh
#
# Everything that was made is removed at the end, also after a failure; then logs are in target/kept/compose.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin # not in every PATH under sudo
readonly repository=$PWD kept=$PWD/target/kept/compose
real_images=${BERTH_REAL_IMAGES:-0} profile=${BERTH_CARGO_PROFILE:-dev}
# settings of whoever calls this are not those of the stack or of its client
unset "${!BERTH_@}"
export BERTH_CARGO_PROFILE=$profile COMPOSE_PROJECT_NAME=berth-test BUILDKIT_PROGRESS=plain

scratch=$(mktemp -d /var/tmp/berth-compose.XXXXXX)
readonly scratch clone=$scratch/berth
engine=none times=()

# shellcheck source=tests/compose/story.sh
source tests/compose/story.sh

say() { printf '%s\n' "$*"; }
die() {
  printf 'compose-test: %s\n' "$*" >&2
  exit 1
}

phase() { # phase WHAT COMMAND...: does it, and remembers how long it took
  local what=$1 begun=$SECONDS
  shift
  printf '\n== %s\n' "$what"
  "$@"
  times+=("$(printf '%5d s  %s' $((SECONDS - begun)) "$what")")
}

compose() { docker compose --project-directory "$clone" "$@"; }

# into LOG COMMAND...: what it says is long and only of interest when it fails
into() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 && return
  tail -n 40 "$log" >&2
  die "failed: $*"
}

# --- before the stack ------------------------------------------------------------------------------------------

prerequisites() {
  deploy/prerequisites.sh compose
  for port in 4222 7480; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then die "port $port of this machine is in use"; fi
  done
}

find_engine() {
  if docker info >/dev/null 2>&1; then
    say "using the engine that runs"
    # they would get other contents, and be removed at the end
    [ -z "$(docker image ls --quiet 'berth/*')" ] || die "it has images berth/… already: docker image rm them first"
    engine=of_others
    return
  fi
  engine=own
  DOCKER_HOST=$(tests/compose/engine.sh start "$scratch/engine")
  export DOCKER_HOST
  say "started one: $(docker version --format '{{.Server.Version}}'), $(docker compose version)"
}

clean_clone() { # what is committed, and nothing else
  git clone --quiet --no-local "$repository" "$clone"
  say "$(git -C "$clone" log -1 --format='%h %s')"
  [ -z "$(git status --porcelain)" ] || say "note: what is not committed is not in it"
}

stand_ins() {
  if [ "$real_images" = 1 ]; then
    say "none: the engine gets the real ones"
  else
    tests/compose/stand-ins.sh "$clone" "$scratch/stand-ins" | tee "$scratch/stand-ins.txt"
  fi
}

up() {
  local begun=$SECONDS built
  into "$scratch/up.log" compose up --build --wait
  # containers are made when the images are there
  built=$(docker inspect --format '{{.Created}}' "$(compose ps --quiet nats)")
  say "built ($profile), then everything healthy after $(($(date +%s) - $(date -d "$built" +%s))) s; all in all $((SECONDS - begun)) s"
  compose ps
}

# --- the end ---------------------------------------------------------------------------------------------------

keep_logs() {
  rm -rf "$kept"
  mkdir -p "$kept"
  cp "$scratch"/*.log "$scratch"/{before,after}.txt "$scratch"/engine/dockerd.log "$scratch"/stand-ins/*.log "$kept" 2>/dev/null
  compose ps --all >"$kept/containers.txt" 2>&1
  compose logs --no-color --timestamps >"$kept/services.log" 2>&1
  say "logs are in $kept"
}

remove_all() {
  [ ! -f "$clone/compose.yaml" ] || compose down --volumes --remove-orphans --timeout 10 >"$scratch/down.log" 2>&1
  if [ "$engine" = own ]; then tests/compose/engine.sh stop "$scratch/engine"; fi
  if [ "$engine" = of_others ]; then
    # its cache of builds belongs to whoever runs it
    docker image ls --format '{{.Repository}}:{{.Tag}}' 'berth/*' | cat - "$scratch/stand-ins.txt" 2>/dev/null \
      | xargs --no-run-if-empty docker image rm >/dev/null
  fi
  rm -rf "$scratch"
}

finish() {
  local status=$?
  set +e
  trap '' PIPE # nobody may be reading any more; what was made is removed all the same
  printf '\n== end\n'
  if [ "$status" != 0 ] && [ -e "$clone" ]; then keep_logs; fi
  remove_all
  printf '%s\n' "${times[@]}"
  if [ "$status" = 0 ]; then say "compose-test passed"; else say "compose-test FAILED"; fi
  exit "$status"
}

trap finish EXIT
trap 'exit 130' INT TERM HUP PIPE

phase "prerequisites" prerequisites
phase "Docker engine" find_engine
phase "clean clone" clean_clone
phase "stand-ins for base images" stand_ins
phase "docker compose up --build --wait" up
phase "log in" log_in
phase "an instance runs" one_instance
phase "an event of another system, over HTTP" event_over_http
phase "an event of another system, over NATS" event_over_nats
phase "a second scheduler; one is killed while $MANY instances are created" kill_a_replica
phase "docker compose down, and up again" down_and_up
