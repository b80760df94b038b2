#!/usr/bin/env bash
# Builds a full Debian 12 cloud image: cloud-init, guest agent, SSH server, GRUB for SeaBIOS, serial console.
#
#   sudo deploy/images/build-debian.sh OUT.qcow2
#
# Needs the packages of `deploy/prerequisites.sh image-debian` and about 2 GB in TMPDIR (default /var/tmp). No
# loop devices and no mounts that could stay behind: the file system is made out of a folder, the boot loader is
# written to its sectors, and what is mounted lives in a namespace of its own. The mirror is debootstrap's own
# default, or BERTH_DEBIAN_MIRROR. cloud-init reads a NoCloud seed and grows the root file system to the disk.
set -euo pipefail

readonly SUITE=bookworm
readonly DISK_SIZE=2G
readonly ROOT_OFFSET=1048576 # the first partition starts at 1 MiB; GRUB's core lies in the gap before it
readonly ROOT_UUID=a1b1e5be-0001-4000-8000-00000000da7a
readonly GRUB=/usr/lib/grub/i386-pc
readonly PACKAGES=(
  linux-image-cloud-amd64 systemd-sysv systemd-resolved systemd-timesyncd dbus
  cloud-init cloud-guest-utils qemu-guest-agent openssh-server sudo
  ca-certificates iproute2 iputils-ping procps less vim-tiny
)

say() { printf 'debian image: %s\n' "$*"; }
die() {
  printf 'debian image: %s\n' "$*" >&2
  exit 1
}

require() {
  local program
  [ "$(id -u)" = 0 ] || die "debootstrap must be root: sudo $0 ..."
  for program in debootstrap mke2fs sfdisk grub-mkimage qemu-img; do
    command -v "$program" >/dev/null || die "$program is missing: run deploy/prerequisites.sh image-debian"
  done
  [ -f "$GRUB/boot.img" ] || die "grub-pc-bin is missing: run deploy/prerequisites.sh image-debian"
}

# A namespace of its own: /proc and whatever a package starts by mistake end with the command.
inside() { # inside ROOT COMMAND...
  local root=$1
  shift
  DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
    unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" chroot "$root" "$@"
}

base_system() { # base_system ROOT
  local mirror=("${BERTH_DEBIAN_MIRROR:-}")
  debootstrap --variant=minbase "$SUITE" "$1" ${mirror[0]:+"${mirror[0]}"} >"$WORK/log" 2>&1 || {
    tail -n 20 "$WORK/log" >&2
    die "debootstrap failed"
  }
  # Security updates come from beside the mirror that debootstrap wrote down.
  sed -n "s|^deb \(.*\)/debian/\{0,1\} $SUITE main.*|deb \1/debian-security $SUITE-security main|p" \
    "$1/etc/apt/sources.list" >"$1/etc/apt/sources.list.d/security.list"
}

install_packages() { # install_packages ROOT
  printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
  chmod 755 "$1/usr/sbin/policy-rc.d"
  # The builder's resolver, for the time of the build only.
  cp -L /etc/resolv.conf "$1/etc/resolv.conf"
  {
    inside "$1" apt-get -q update
    inside "$1" apt-get -qy upgrade
    # Last, because systemd-resolved takes the resolver over, and it does not run here.
    inside "$1" apt-get -qy --no-install-recommends install "${PACKAGES[@]}"
  } >"$WORK/log" 2>&1 || {
    tail -n 20 "$WORK/log" >&2
    die "apt-get failed"
  }
  rm "$1/usr/sbin/policy-rc.d"
}

configure() { # configure ROOT
  printf 'UUID=%s / ext4 errors=remount-ro,discard 0 1\n' "$ROOT_UUID" >"$1/etc/fstab"
  printf 'localhost\n' >"$1/etc/hostname"
  printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$1/etc/hosts"
  cat >"$1/etc/cloud/cloud.cfg.d/90_berth.cfg" <<'CFG'
# Only what a seed volume can bring; asking the metadata addresses of public clouds would cost a minute of boot.
datasource_list: [NoCloud, ConfigDrive, None]
# The locale that needs no generating, and no host keys of the kind that nobody accepts any more.
locale: C.UTF-8
ssh_genkeytypes: [ed25519, ecdsa, rsa]
# The image's own package sources stay as they are.
apt:
  preserve_sources_list: true
system_info:
  network:
    renderers: [networkd]
CFG
  inside "$1" systemctl --quiet enable systemd-networkd systemd-resolved serial-getty@ttyS0
}

# What must differ from guest to guest is made by the guest: machine id, SSH host keys, random seed.
forget() { # forget ROOT
  inside "$1" apt-get clean
  rm -rf "$1"/var/lib/apt/lists/* "$1"/etc/ssh/ssh_host_* "$1"/var/lib/dbus/machine-id "$1"/var/log/*.log \
    "$1"/var/log/apt/* "$1"/var/cache/debconf/*-old "$1"/var/lib/systemd/random-seed
  : >"$1/etc/machine-id"
  ln -sf ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"
}

# Debian keeps /vmlinuz and /initrd.img pointing at the newest kernel, so this file need never change.
boot_menu() { # boot_menu ROOT
  mkdir -p "$1/boot/grub"
  cat >"$1/boot/grub/grub.cfg" <<CFG
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
menuentry "Debian" {
  linux /vmlinuz root=UUID=$ROOT_UUID ro console=tty0 console=ttyS0,115200
  initrd /initrd.img
}
menuentry "Debian, the kernel before" {
  linux /vmlinuz.old root=UUID=$ROOT_UUID ro console=tty0 console=ttyS0,115200
  initrd /initrd.img.old
}
CFG
}

# grub-install wants a disk it can mount. The two files it would write have fixed places: the boot sector's first
# 440 bytes (the partition table follows), and the core from sector 1 on, where the boot sector looks for it.
boot_loader() { # boot_loader DISK
  local gap=$((ROOT_OFFSET - 512))
  grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o "$WORK/core.img" \
    biosdisk part_msdos ext2 normal linux serial terminal minicmd echo test reboot halt
  [ "$(stat -c %s "$WORK/core.img")" -le "$gap" ] || die "GRUB's core does not fit before the first partition"
  dd if="$GRUB/boot.img" of="$1" bs=440 count=1 conv=notrunc status=none
  dd if="$WORK/core.img" of="$1" bs=512 seek=1 conv=notrunc status=none
}

make_disk() { # make_disk ROOT DISK
  local size_kib
  truncate -s "$DISK_SIZE" "$2"
  printf 'start=2048, type=83, bootable\n' | sfdisk --quiet --label dos "$2"
  size_kib=$((($(stat -c %s "$2") - ROOT_OFFSET) / 1024))
  # Without the two newest features of ext4, which GRUB 2.06 does not read.
  mke2fs -q -F -t ext4 -L root -U "$ROOT_UUID" -O ^orphan_file,^metadata_csum_seed -m 1 \
    -d "$1" -E "offset=$ROOT_OFFSET" "$2" "${size_kib}k"
  boot_loader "$2"
}

main() {
  [ $# = 1 ] || die "usage: $0 OUT.qcow2"
  require
  WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/berth-debian.XXXXXX")
  trap 'rm -rf --one-file-system "$WORK"' EXIT
  mkdir "$WORK/root"
  say "unpacking Debian ($SUITE)"
  base_system "$WORK/root"
  say "installing ${#PACKAGES[@]} packages and what they depend on"
  install_packages "$WORK/root"
  configure "$WORK/root"
  boot_menu "$WORK/root"
  forget "$WORK/root"
  say "making the disk"
  make_disk "$WORK/root" "$WORK/disk.raw"
  qemu-img convert -q -c -f raw -O qcow2 "$WORK/disk.raw" "$WORK/disk.qcow2"
  mv "$WORK/disk.qcow2" "$1"
  say "$(stat -c %s "$1") bytes"
  sha256sum "$1"
}

main "$@"
