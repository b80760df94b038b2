#!/usr/bin/env bash
# Images under the names that deploy/Dockerfile and compose.yaml build upon, for a machine that reaches no registry:
#
#   stand-ins.sh REPOSITORY FOLDER     prints the names of those it made; works in FOLDER
#
# They are made of Debian's packages, of this machine's Rust and nats-server, and of the crates that Cargo.lock names.
# A name that the engine has already is left alone. stand-ins/ says what is in each.
set -euo pipefail

[ $# -eq 2 ] || { echo "usage: stand-ins.sh REPOSITORY FOLDER" >&2; exit 2; }
HERE=$(cd "$(dirname "$0")" && pwd)
readonly HERE repository=$1 folder=$2
PATH=$HOME/.cargo/bin:$PATH:/usr/sbin

# --- the names, as the files say them ------------------------------------------------------------------------

argument() { sed -n "s/^ARG $1=//p" "$repository/deploy/Dockerfile" | sed -n 1p; } # argument NAME: its default

image_of_service() { sed -n "s/^ *image: \($1:.*\)/\1/p" "$repository/compose.yaml"; } # image_of_service NAME

there_is() { docker image inspect "$1" >/dev/null 2>&1; }

# --- making them -----------------------------------------------------------------------------------------------

debian_mirror() { # where this machine has its packages from
  # shellcheck disable=SC2016 # the word in parentheses is apt's own
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | sed -n 1p
}

# into LOG COMMAND...: what it says is long and only of interest when it fails
into() {
  local log=$1
  shift
  "$@" >>"$log" 2>&1 && return
  tail -n 20 "$log" >&2
  exit 1
}

debian() { # debian NAME SUITE: the smallest Debian that apt works in
  local root=$folder/$2 log=$folder/debootstrap-$2.log
  there_is "$1" && return
  into "$log" debootstrap --variant=minbase --foreign "$2" "$root" "$(debian_mirror)"
  # two settings of the real image: without the first every package waits for the disk, and nothing here survives a power cut
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
  echo 'Acquire::Languages "none";' >"$root/etc/apt/apt.conf.d/docker-no-languages"
  into "$log" chroot "$root" /debootstrap/debootstrap --second-stage
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$root" -c . | docker import - "$1" >/dev/null
  rm -rf "$root"
  echo "$1"
}

# build NAME KIND BASE: by stand-ins/KIND.Dockerfile; what it copies was put into $folder/KIND
build() {
  cp "$HERE/stand-ins/$2".* "$folder/$2"
  into "$folder/build-$2.log" docker build --build-arg "BASE=$3" -f "$folder/$2/$2.Dockerfile" -t "$1" "$folder/$2"
  rm -rf "${folder:?}/$2"
  echo "$1"
}

# rust NAME BASE: this machine's toolchain, and all crates as a folder, so that nothing is fetched while it compiles
rust() {
  there_is "$1" && return
  mkdir -p "$folder/rust/toolchain"
  cp -r "$(rustc --print sysroot)"/{bin,lib,libexec} "$folder/rust/toolchain"
  (cd "$repository" && cargo vendor --quiet --locked "$folder/rust/vendor" >/dev/null)
  build "$1" rust "$2"
}

nats() { # nats NAME BASE
  there_is "$1" && return
  mkdir -p "$folder/nats"
  cp "$(command -v nats-server)" "$folder/nats"
  build "$1" nats "$2"
}

postgres() { # postgres NAME BASE: the major version is the one in the name
  there_is "$1" && return
  mkdir -p "$folder/postgres"
  build "$1" postgres "$2"
}

mkdir -p "$folder"
suite=$(argument DEBIAN)
debian "debian:$suite-slim" "$suite"
rust "rust:$(argument RUST)-$suite" "debian:$suite-slim"
nats "$(image_of_service nats)" "debian:$suite-slim"
# the release of Debian that has the PostgreSQL which compose.yaml names
debian debian:trixie-slim trixie
postgres "$(image_of_service postgres)" debian:trixie-slim
