# What is done with the platform once it is up; run.sh reads this file and calls one function after the other.
# shellcheck shell=bash disable=SC2154 # scratch, clone, compose, into, say and die are those of run.sh

readonly MANY=40
readonly API=http://127.0.0.1:7480
readonly PASSWORD=correct-horse-7480

# The client is the one in the image, with settings of its own.
berth() { HOME=$scratch/home XDG_CONFIG_HOME='' RUST_BACKTRACE=0 "$scratch/bin/berth" "$@"; }
as_administrator() { BERTH_TOKEN_FILE=$scratch/admin.token berth "$@"; }

eventually() { # eventually SECONDS WHAT COMMAND...: until it succeeds
  local end=$((SECONDS + $1)) within=$1 what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || die "not within $within s: $what"
    sleep 0.5
  done
}

# --- log in ------------------------------------------------------------------------------------------------------

log_in() {
  local container
  mkdir -p "$scratch/bin" "$scratch/home"
  container=$(docker create berth/berth)
  docker cp "$container:/usr/local/bin/berth" "$scratch/bin/berth" >/dev/null
  docker rm "$container" >/dev/null
  # the first token, as deploy/docker/README.md says
  (umask 077 && compose exec -T gateway cat /var/lib/berth/gateway/admin.token >"$scratch/admin.token")
  as_administrator tenant create acme
  as_administrator --tenant acme user create ann --role admin --password-stdin <<<"$PASSWORD"
  berth login ann@acme --password-stdin <<<"$PASSWORD"
  berth whoami | sed -n '/^user/p;/^roles/p'
}

# --- an instance ---------------------------------------------------------------------------------------------------

hosts_are_up() { # those of deploy/docker/host-driver.toml
  as_administrator host list -o json | jq --exit-status '[.hosts[].host | select(.state == "HOST_STATE_UP")] | length == 3' >/dev/null
}

# ready COUNT: so many instances are ready, and there are no others
ready() {
  berth instance list -o json | jq --exit-status --argjson count "$1" \
    '(.instances | length) == $count and all(.instances[]; .phase == "INSTANCE_PHASE_READY")' >/dev/null
}

one_instance() {
  # hosts are simulated: a disk with a file system is image enough
  truncate --size 64M "$scratch/disk.raw"
  mke2fs -q -t ext4 -F "$scratch/disk.raw"
  berth image import tiny --file "$scratch/disk.raw"
  eventually 60 "three hosts are up" hosts_are_up
  berth instance create web-1 --image tiny --flavor micro --wait
  eventually 10 "it is ready, for all who ask" ready 1
  berth instance show web-1
}

# --- events of other systems -------------------------------------------------------------------------------------------

cloud_event() { # cloud_event ID
  printf '{"specversion":"1.0","id":"%s","source":"/compose-test","type":"com.example.deploy.done","data":{"commit":"4f2a"}}' "$1"
}

shown() { # shown ID: the client shows an event of another system with this id
  berth events --type gateway.ExternalEventReceived -o json \
    | jq --slurp --exit-status --arg id "$1" 'any(.[].event.data.event; .id == $id)' >/dev/null
}

event_over_http() {
  # another system: it may publish events, and nothing else
  berth user create robot --role developer
  berth token create ci --user robot --permission event.publish -o json | jq -r .secret >"$scratch/robot.token"
  printf 'Authorization: Bearer %s\n' "$(cat "$scratch/robot.token")" >"$scratch/robot.header"
  curl --silent --show-error --fail-with-body --header "@$scratch/robot.header" \
    --header 'Content-Type: application/cloudevents+json' --data "$(cloud_event http-1)" "$API/v1/events"
  echo
  eventually 30 "the event is shown" shown http-1
  berth events --type gateway.ExternalEventReceived
}

# The broker lets other systems in when it knows who vouches for them: deploy/nats/nats.conf says how.
let_others_in() {
  local issuer
  issuer=$(compose logs --no-log-prefix gateway | sed -n 's/.*"issuer":"\([A-Z0-9]*\)".*/\1/p' | tail -n 1)
  [ -n "$issuer" ] || die "the gateway's log does not say who vouches for clients of the broker"
  sed -i -e '/^# authorization {/,/^# }/s/^# \?//' -e "s/issuer: \"A…\"/issuer: \"$issuer\"/" "$clone/deploy/nats/nats.conf"
  into "$scratch/restart.log" compose restart nats
}

# published SUBJECT TEXT: the broker answered that it keeps it. The protocol of NATS is lines of text. In a shell of its
# own, because a broker that is just starting hangs up, and who writes on is ended by that.
published() (
  exec 3<>/dev/tcp/127.0.0.1/4222 || exit 1
  printf 'CONNECT {"verbose":false,"pedantic":false,"user":"acme","pass":"%s"}\r\n' "$(cat "$scratch/robot.token")" >&3
  printf 'SUB _INBOX.acme.test 1\r\nPUB %s _INBOX.acme.test %d\r\n%s\r\n' "$1" "${#2}" "$2" >&3
  while read -r -t 5 line <&3; do
    case "$line" in
      PING*) printf 'PONG\r\n' >&3 ;;
      -ERR*) break ;;
      *'"stream":"EXT"'*) exit 0 ;;
    esac
  done
  exit 1
)

event_over_nats() {
  let_others_in
  eventually 60 "the broker takes the event" published ext.acme.deploys "$(cloud_event nats-1)"
  eventually 30 "the event is shown" shown nats-1
  berth events --type gateway.ExternalEventReceived
}

# --- replicas --------------------------------------------------------------------------------------------------------------

create_many() {
  local n
  for n in $(seq "$MANY"); do
    berth instance create "many-$n" --image tiny --flavor micro >>"$scratch/creates.log" 2>&1
  done
}

some_are_there() { [ "$(berth instance list -o json | jq '.instances | length')" -ge $((MANY / 4)) ]; }

kill_a_replica() {
  local creating victim
  into "$scratch/scale.log" compose up --wait --scale scheduler=2
  [ "$(compose ps --quiet scheduler | wc -l)" = 2 ] || die "there are not two schedulers"
  create_many &
  creating=$!
  eventually 60 "some instances are there" some_are_there
  victim=$(compose ps --quiet scheduler | sed -n 1p)
  docker kill "$victim" >/dev/null
  say "killed $(docker inspect --format '{{.Name}}' "$victim") with $(berth instance list -o json | jq '[.instances[] | select(.phase == "INSTANCE_PHASE_READY")] | length') instances ready"
  wait "$creating" || die "an instance was refused: $(tail -n 3 "$scratch/creates.log")"
  eventually 180 "all $((MANY + 1)) instances are ready" ready $((MANY + 1))
  nothing_is_lost
}

nothing_is_lost() {
  local count
  count=$(as_administrator dead list -o json | jq '.dead_letters | length')
  [ "$count" = 0 ] || die "$count messages became dead letters"
  count=$(berth operation list --limit 1000 -o json | jq '[.operations[] | select(.state != "OPERATION_STATE_SUCCEEDED")] | length')
  [ "$count" = 0 ] || die "$count operations did not succeed"
  say "$(berth instance list -o json | jq '.instances | length') instances ready, every operation succeeded, no dead letter"
}

# --- down and up --------------------------------------------------------------------------------------------------------------

inventory() { # what is there: tenants, users, images, instances (and since when they run), events of other systems
  as_administrator tenant list -o json | jq --compact-output '.tenants[].name'
  berth user list -o json | jq --compact-output '.users[] | [.name, .id]'
  berth image list -o json | jq --compact-output '.images[] | [.name, .id, .phase]'
  berth instance list -o json | jq --compact-output '.instances[] | [.name, .id, .phase, .steps]' | sort
  berth events --type gateway.ExternalEventReceived -o json | jq --compact-output '.event.data.event.id'
}

as_before() { inventory >"$scratch/after.txt" 2>&1 && cmp --quiet "$scratch/before.txt" "$scratch/after.txt"; }

down_and_up() {
  local begun
  inventory >"$scratch/before.txt"
  begun=$SECONDS
  into "$scratch/down.log" compose down
  say "down took $((SECONDS - begun)) s"
  begun=$SECONDS
  into "$scratch/up-again.log" compose up --wait
  say "up took $((SECONDS - begun)) s"
  eventually 60 "what was there is there again (before.txt, after.txt)" as_before
  # Ann's session is one of the things that are still there
  berth instance create web-2 --image tiny --flavor micro --wait
  eventually 30 "the new one, and all others, are ready" ready $((MANY + 2))
  nothing_is_lost
}
