# shellcheck shell=bash
# What the checks of the guest images share: starting a guest through libvirt, waiting for it with an end to
# every wait, and asking its agent. Sourced; the check sets TAG (a prefix for its guests' names).

readonly URI=qemu:///system
PASSED=0
CONSOLE= # the console log of the guest that was started last, and when that was
STARTED=
WORK=

say() { printf '%s\n' "$*"; }
die() {
  printf 'FAILED: %s\n' "$*" >&2
  [ -z "$CONSOLE" ] || { say "--- console"; tail -n 30 "$CONSOLE"; } >&2
  exit 1
}
passed() {
  PASSED=$((PASSED + 1))
  printf 'ok %5.1f s  %s\n' "$(since "$STARTED")" "$*"
}

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN {print b - a}'; }

in_libvirt() { virsh -q -c "$URI" "$@"; }

# wait_for SECONDS WHAT COMMAND...: until the command succeeds, or fails the check saying what was waited for.
wait_for() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "gave up waiting for: $what"
    sleep 0.2
  done
}

check() { # check WHAT COMMAND...: it must succeed now
  local what=$1
  shift
  "$@" >/dev/null || die "$what"
  passed "$what"
}

# QEMU runs as a user of its own and must be able to walk to the files.
make_work_folder() {
  WORK=$(mktemp -d /var/tmp/berth-check.XXXXXX)
  chmod 755 "$WORK"
  STARTED=$(now)
}

clean_up() { # clean_up GUEST...
  local guest
  for guest in "$@"; do in_libvirt destroy "$guest" >/dev/null 2>&1 || true; done
  rm -rf "$WORK"
}

require() { # require PROGRAM...
  local program
  for program in virsh "$@"; do
    command -v "$program" >/dev/null || die "$program is missing: run deploy/prerequisites.sh run test"
  done
  in_libvirt version >/dev/null 2>&1 || die "libvirt does not answer: run deploy/libvirt.sh start"
}

random_mac() { printf '52:54:00:%02x:%02x:%02x' $((RANDOM % 256)) $((RANDOM % 256)) $((RANDOM % 256)); }

make_key() { ssh-keygen -q -t ed25519 -N '' -C check -f "$WORK/key"; }

fat_seed() { # fat_seed IMAGE FOLDER: a FAT volume called CIDATA with the two files of FOLDER
  mkfs.vfat -C -n CIDATA "$1" 1024 >/dev/null
  mcopy -i "$1" "$2/meta-data" "$2/user-data" ::
}

devices_xml() { # devices_xml CONSOLE_LOG: serial console, agent, entropy
  cat <<XML
    <serial type='pty'><log file='$1' append='off'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
XML
}

start_guest() { # start_guest NAME, its XML on standard input
  CONSOLE=$WORK/$1.console
  STARTED=$(now)
  cat >"$WORK/$1.xml"
  in_libvirt create "$WORK/$1.xml" >/dev/null || die "libvirt does not start $1"
}

on_console() { grep -qF "$1" "$CONSOLE"; }
is_gone() { ! in_libvirt domstate "$1" 2>/dev/null; }

agent() { in_libvirt qemu-agent-command --timeout 5 "$1" "$2"; } # agent GUEST JSON

agent_value() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"; } # agent_value NAME, of the answer on standard input

in_guest() { # in_guest GUEST COMMAND: runs a line of shell through the agent and prints what it printed
  local pid answer line=${2//\\/\\\\}
  pid=$(agent "$1" "{\"execute\":\"guest-exec\",\"arguments\":{\"path\":\"/bin/sh\",\"arg\":[\"-c\",\"${line//\"/\\\"}\"],\"capture-output\":true}}" |
    agent_value pid)
  for _ in $(seq 50); do
    answer=$(agent "$1" "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}")
    if [[ $answer == *'"exited":true'* ]]; then
      agent_value out-data <<<"$answer" | base64 -d
      [ "$(agent_value exitcode <<<"$answer")" = 0 ]
      return
    fi
    sleep 0.2
  done
  return 1
}

says() { # says GUEST EXPECTED COMMAND
  local answer
  answer=$(in_guest "$1" "$3") || true
  [ "$answer" = "$2" ] || die "'$3' in the guest said '$answer' instead of '$2'"
}

lease() { # lease MAC: the address that the default network gave it
  in_libvirt net-dhcp-leases default --mac "$1" | grep -oE '([0-9]+\.){3}[0-9]+' | sed -n 1p | grep .
}

over_ssh() { # over_ssh USER@ADDRESS COMMAND
  ssh -i "$WORK/key" -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=no \
    -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$1" "$2" </dev/null
}
