#!/usr/bin/env bash
# Builds berth-small, the guest of the demo and of the tests: Debian's cloud kernel and an initramfs of BusyBox,
# the QEMU guest agent, an SSH server and the scripts in small/. It boots in seconds, even without KVM.
#
#   deploy/images/build-small.sh OUT_DIR
#
# Writes OUT_DIR/vmlinuz, OUT_DIR/initramfs and, last, OUT_DIR/berth-small.json, which describes them. The same
# inputs give the same bytes; when OUT_DIR already holds their image, nothing is done. Needs no root: everything
# comes out of the .deb files that deploy/prerequisites.sh has put into BERTH_GUEST_PACKAGES.
set -euo pipefail

readonly NAME=berth-small
readonly CMDLINE="console=ttyS0 quiet"
readonly PACKAGES=${BERTH_GUEST_PACKAGES:-/var/cache/berth/guest-packages}
HERE=$(cd "$(dirname "$0")" && pwd)
readonly HERE
readonly SMALL=$HERE/small

# What boots the guest comes first, then what only some guests have. The cloud kernel has no SATA driver: a
# CD-ROM must hang on virtio-scsi to be seen.
readonly MODULES=(
  virtio_pci virtio_mmio virtio_console virtio_blk virtio_net virtio-rng
  button evdev nls_cp437 nls_ascii vfat
  virtio_scsi sd_mod sr_mod isofs virtio_balloon
)
readonly PROGRAMS=(/usr/sbin/qemu-ga /usr/sbin/dropbear /usr/bin/dropbearkey)

say() { printf '%s: %s\n' "$NAME" "$*"; }
die() {
  printf '%s: %s\n' "$NAME" "$*" >&2
  exit 1
}

require() {
  local program
  for program in cpio zstd depmod modprobe readelf dpkg-deb; do
    command -v "$program" >/dev/null || die "$program is missing: run deploy/prerequisites.sh"
  done
  compgen -G "$PACKAGES/linux-image-*.deb" >/dev/null || die "no packages in $PACKAGES: run deploy/prerequisites.sh"
}

# One digest over everything the image is made of, and over how it is made. File modes count: scripts that are
# not executable make another image.
digest_of_inputs() {
  {
    (cd "$PACKAGES" && sha256sum -- *.deb)
    (cd "$HERE" && find small build-small.sh -type f -printf '%m %p\n' | LC_ALL=C sort)
    (cd "$HERE" && find small build-small.sh -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
    zstd --version
  } | sha256sum | cut -d' ' -f1
}

digest() { sha256sum "$1" | cut -d' ' -f1; }

field() { sed -n "s/^.*\"$1\": *\"\([^\"]*\)\".*$/\1/p" "$2"; } # field NAME MANIFEST: every value of that name

up_to_date() { # up_to_date OUT INPUTS
  local manifest=$1/$NAME.json
  [ -f "$manifest" ] && [ -f "$1/vmlinuz" ] && [ -f "$1/initramfs" ] || return 1
  [ "$(field inputs "$manifest")" = "$2" ] || return 1
  [ "$(field sha256 "$manifest")" = "$(printf '%s\n' "$(digest "$1/vmlinuz")" "$(digest "$1/initramfs")")" ]
}

unpack() { # unpack DIR
  local package
  for package in "$PACKAGES"/*.deb; do dpkg-deb -x "$package" "$1"; done
}

# The libraries a program names, and those that they name, copied to where the guest's loader looks.
copy_libraries() { # copy_libraries FROM ROOT FILE
  local library found
  for library in $(readelf -d "$3" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
    case "$library" in ld-linux*) continue ;; esac # the loader has its own place
    [ ! -e "$2/lib/x86_64-linux-gnu/$library" ] || continue
    found=$(find "$1" -name "$library" | sort | sed -n 1p)
    [ -n "$found" ] || die "$3 needs $library, which is in no package of $PACKAGES"
    install -D -m 755 "$found" "$2/lib/x86_64-linux-gnu/$library"
    copy_libraries "$1" "$2" "$found"
  done
}

copy_programs() { # copy_programs FROM ROOT
  local program applet
  install -D -m 755 "$1/bin/busybox" "$2/bin/busybox"
  for applet in $("$1/bin/busybox" --list-full | LC_ALL=C sort); do
    [ "$applet" != linuxrc ] || continue
    mkdir -p "$2/$(dirname "$applet")"
    [ -e "$2/$applet" ] || ln -s /bin/busybox "$2/$applet"
  done
  for program in "${PROGRAMS[@]}"; do
    install -D -m 755 "$1$program" "$2$program"
    copy_libraries "$1" "$2" "$1$program"
  done
  install -D -m 755 "$(readlink -f "$1/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")" "$2/lib64/ld-linux-x86-64.so.2"
}

# The modules and what they depend on, and the order in which /init loads them.
copy_modules() { # copy_modules FROM ROOT
  local version module path
  version=$(basename "$1"/lib/modules/*)
  depmod -b "$1" "$version"
  mkdir -p "$2/lib/modules"
  for module in "${MODULES[@]}"; do
    modprobe -C /dev/null -d "$1" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!seen[$0]++' | while read -r path; do
    install -m 644 "$path" "$2/lib/modules/"
    basename "$path" >>"$2/lib/modules/order"
  done
}

copy_scripts() { # copy_scripts ROOT
  cp -R "$SMALL"/. "$1"
  mkdir -p "$1"/{proc,sys,dev,run,tmp,root,var/log,var/run,etc/dropbear}
  # Permissions as they shall be in the guest, whatever the umask of whoever checked this out.
  chmod -R u=rwX,go=rX "$1"
  chmod 600 "$1/etc/shadow"
  chmod 700 "$1/root"
  chmod 1777 "$1/tmp"
}

# Sorted names, one date, one owner, renumbered inodes: the archive holds nothing of this machine.
pack() { # pack ROOT FILE
  find "$1" -exec touch -h -d @0 {} +
  (cd "$1" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
    cpio --quiet --null --create --format=newc --reproducible --owner=0:0) |
    zstd --quiet -15 -T1 >"$2"
}

write_manifest() { # write_manifest OUT INPUTS KERNEL_PACKAGE
  cat >"$1/$NAME.json.new" <<JSON
{
  "name": "$NAME",
  "architecture": "x86_64",
  "kernel": {"file": "vmlinuz", "sha256": "$(digest "$1/vmlinuz")"},
  "initramfs": {"file": "initramfs", "sha256": "$(digest "$1/initramfs")"},
  "cmdline": "$CMDLINE",
  "provenance": {
    "kernel_package": "$3",
    "inputs": "$2"
  }
}
JSON
  mv "$1/$NAME.json.new" "$1/$NAME.json"
}

build() { # build OUT INPUTS
  local from=$WORK/from root=$WORK/root
  umask 022
  mkdir -p "$from" "$root"
  unpack "$from"
  copy_scripts "$root"
  copy_programs "$from" "$root"
  copy_modules "$from" "$root"
  pack "$root" "$WORK/initramfs"
  # A reader sees either the old manifest, the new one, or none while the files change under it.
  rm -f "$1/$NAME.json"
  install -m 644 "$from"/boot/vmlinuz-* "$1/vmlinuz"
  install -m 644 "$WORK/initramfs" "$1/initramfs"
  write_manifest "$1" "$2" "$(basename "$PACKAGES"/linux-image-*.deb .deb)"
}

main() {
  [ $# = 1 ] || die "usage: $0 OUT_DIR"
  require
  mkdir -p "$1"
  local inputs
  inputs=$(digest_of_inputs)
  if up_to_date "$1" "$inputs"; then
    say "$1 is up to date"
    return
  fi
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
  build "$1" "$inputs"
  say "built $1: vmlinuz $(stat -c %s "$1/vmlinuz") bytes, initramfs $(stat -c %s "$1/initramfs") bytes"
}

main "$@"
