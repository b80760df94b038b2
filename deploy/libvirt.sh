#!/usr/bin/env bash
# Starts, stops or describes the libvirt daemons and libvirt's `default` NAT network.
#
#   deploy/libvirt.sh start|stop|status
#
# Where systemd runs the machine it is asked; elsewhere (containers, small test machines) the two daemons
# libvirt cannot do without are started here: virtlogd, which holds the guests' console logs, and libvirtd.
# `start` changes nothing that already runs; `status` exits 0 only when guests could be started right now.
# `stop` leaves running guests alone: QEMU processes outlive libvirtd, and a later `start` finds them again.
set -euo pipefail # so no `grep -q` at the end of a pipe: it leaves early and the writer's SIGPIPE would count

readonly URI=qemu:///system
readonly NETWORK=default
readonly WAIT_SECONDS=20
readonly LOCK=/run/lock/berth-libvirt

say() { printf 'libvirt: %s\n' "$*"; }
die() {
  printf 'libvirt: %s\n' "$*" >&2
  exit 1
}

has_systemd() { [ -d /run/systemd/system ]; }

answers() { virsh -q -c "$URI" version >/dev/null 2>&1; }

running_guests() { virsh -q -c "$URI" list --name 2>/dev/null | grep -c . || true; }

network_is() { # network_is active|persistent|autostart, by the answer of net-info
  LC_ALL=C virsh -q -c "$URI" net-info "$NETWORK" 2>/dev/null | grep -iE "^$1: +yes$" >/dev/null
}

need_root() { [ "$(id -u)" = 0 ] || die "'$1' changes the machine: run it as root (sudo $0 $1)"; }

# The pid in FILE, if that process lives and really is NAME: a pid file may outlive a power cut, and in a container
# whose first process buries nobody a dead daemon keeps its name.
pid_of() { # pid_of NAME FILE
  local pid
  pid=$(cat "$2" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] || return 1
  grep '^State:.*Z' "/proc/$pid/status" >/dev/null && return 1
  printf '%s\n' "$pid"
}

start_daemon() { # start_daemon NAME
  pid_of "$1" "/run/$1.pid" >/dev/null && return 0
  command -v "$1" >/dev/null || die "$1 is not installed: run deploy/prerequisites.sh"
  "$1" --daemon 9>&- # without the lock, which it would hold for ever
  say "started $1"
}

wait_until_it_answers() {
  local end=$((SECONDS + WAIT_SECONDS))
  until answers; do
    [ "$SECONDS" -lt "$end" ] || die "$URI did not answer within $WAIT_SECONDS s; look at /var/log/libvirt and the journal"
    sleep 0.1
  done
}

# The first of libvirt's usual subnets that this machine does not use itself. A machine that is a libvirt
# guest has its own address in 192.168.122.0/24, and libvirt rightly refuses to reuse that one.
free_subnet() {
  local third
  for third in $(seq 122 140); do
    ip -4 route show | grep "192\.168\.$third\." >/dev/null || {
      printf '192.168.%s\n' "$third"
      return 0
    }
  done
  die "no free subnet between 192.168.122.0/24 and 192.168.140.0/24"
}

define_network() {
  local subnet
  subnet=$(free_subnet)
  virsh -q -c "$URI" net-define /dev/stdin <<XML
<network>
  <name>$NETWORK</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='$subnet.1' netmask='255.255.255.0'>
    <dhcp><range start='$subnet.2' end='$subnet.254'/></dhcp>
  </ip>
</network>
XML
  say "defined network '$NETWORK' ($subnet.0/24)"
}

start_network() {
  virsh -q -c "$URI" net-info "$NETWORK" >/dev/null 2>&1 || define_network
  network_is autostart || virsh -q -c "$URI" net-autostart "$NETWORK" >/dev/null
  network_is active && return 0
  # Two callers may arrive here together: the loser's refusal is fine if the network is up afterwards.
  virsh -q -c "$URI" net-start "$NETWORK" >/dev/null || network_is active || die "network '$NETWORK' does not start"
  say "started network '$NETWORK'"
}

# On most machines udev gives /dev/kvm to group kvm. Where nothing did, QEMU's user cannot open it while root
# can, and libvirt, seeing the two disagree, probes QEMU anew at every call: four seconds instead of none.
open_kvm() {
  [ -c /dev/kvm ] && [ "$(stat -c %G /dev/kvm)" = root ] && getent group kvm >/dev/null || return 0
  need_root start
  chgrp kvm /dev/kvm
  chmod 660 /dev/kvm
  say "gave /dev/kvm to group kvm"
}

# Several tests may find libvirt down at once; one starts it, the others wait for that one.
take_lock() {
  mkdir -p "$(dirname "$LOCK")"
  exec 9>"$LOCK"
  flock 9
}

start_daemons() {
  if has_systemd; then
    systemctl start libvirtd
  else
    start_daemon virtlogd
    start_daemon libvirtd
  fi
  wait_until_it_answers
}

is_up() { answers && network_is active && network_is autostart; }

start() {
  has_systemd || open_kvm
  is_up && return
  need_root start
  take_lock
  answers || start_daemons
  start_network
}

stop_daemon() { # stop_daemon NAME
  local pid end=$((SECONDS + WAIT_SECONDS))
  pid=$(pid_of "$1" "/run/$1.pid") || return 0
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || die "$1 (pid $pid) did not stop within $WAIT_SECONDS s"
    sleep 0.1
  done
  say "stopped $1"
}

stop() {
  need_root stop
  if has_systemd; then
    # The sockets would start the daemon again at the next connection.
    systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd
    return
  fi
  local guests
  guests=$(running_guests)
  stop_daemon libvirtd
  # A guest that still runs writes its console through virtlogd: stopping that would lose what it says.
  if [ "$guests" = 0 ]; then stop_daemon virtlogd; else say "$guests guest(s) still run: virtlogd stays"; fi
}

status() {
  answers || die "no answer from $URI"
  network_is active || die "network '$NETWORK' is not active"
  LC_ALL=C virsh -q -c "$URI" version | grep -E '^(Using library|Running hypervisor)'
  say "network '$NETWORK' is active, $(running_guests) guest(s) running"
}

case "${1:-}" in
  start | stop | status) "$1" ;;
  *) die "usage: $0 start|stop|status" ;;
esac
