#!/usr/bin/env bash
# Boots the full Debian image from its disk, without KVM, with a NoCloud seed, and asks it for what it promises.
#
#   deploy/images/check-debian.sh IMAGE.qcow2
#
# The image itself is only read: the guest writes to an overlay, which is larger, to see the file system grow.
# A full system under emulation takes its time: two or three minutes.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
readonly HERE
readonly TAG=berth-check-$$
readonly GUEST=$TAG-debian
readonly BOOT_SECONDS=600 # the machine may be busy
# shellcheck source=guest-check.bash
. "$HERE/guest-check.bash"

seed() {
  mkdir "$WORK/seed"
  make_key
  printf 'instance-id: %s\nlocal-hostname: checked-debian\n' "$TAG" >"$WORK/seed/meta-data"
  cat >"$WORK/seed/user-data" <<YAML
#cloud-config
ssh_authorized_keys:
  - $(cat "$WORK/key.pub")
runcmd:
  - [ sh, -c, "echo runcmd-of-\$(hostname) >/dev/ttyS0" ]
YAML
  fat_seed "$WORK/seed.img" "$WORK/seed"
}

guest_xml() {
  cat <<XML
<domain type='qemu'>
  <name>$GUEST</name>
  <memory unit='MiB'>1024</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <cpu mode='maximum'/>
  <devices>
    <disk type='file'><driver name='qemu' type='qcow2'/><source file='$WORK/disk.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file'><driver name='qemu' type='raw'/><source file='$WORK/seed.img'/><target dev='vdb' bus='virtio'/><readonly/></disk>
    <interface type='network'><mac address='$MAC'/><source network='default'/><model type='virtio'/></interface>
$(devices_xml "$CONSOLE_LOG")
  </devices>
</domain>
XML
}

start() {
  cp "$1" "$WORK/base.qcow2"
  qemu-img create -q -f qcow2 -F qcow2 -b "$WORK/base.qcow2" "$WORK/disk.qcow2" 5G
  MAC=$(random_mac)
  CONSOLE_LOG=$WORK/$GUEST.console
  seed
  start_guest "$GUEST" < <(guest_xml)
}

cloud_init_is_done() { in_guest "$GUEST" 'test -f /run/cloud-init/result.json'; }

check_inside() {
  local address size
  says "$GUEST" checked-debian hostname
  passed "hostname from the seed"
  says "$GUEST" '"errors": []' 'grep -o "\"errors\": \[\]" /run/cloud-init/result.json'
  passed "cloud-init saw no errors"
  size=$(in_guest "$GUEST" 'df --output=size -BG / | tail -1 | tr -dc 0-9')
  [ "$size" -ge 4 ] || die "the root file system is $size GiB and did not grow to the disk"
  passed "the root file system grew to the disk ($size GiB)"
  address=$(lease "$MAC")
  [ "$(over_ssh "debian@$address" 'sudo id -un')" = root ] || die "no SSH login with the key, or no sudo"
  passed "SSH login of user debian with the key, sudo ($address)"
}

main() {
  [ $# = 1 ] || die "usage: $0 IMAGE.qcow2"
  trap 'clean_up "$GUEST"' EXIT
  make_work_folder
  require qemu-img mkfs.vfat mcopy ssh-keygen
  start "$1"
  wait_for "$BOOT_SECONDS" "the agent" agent "$GUEST" '{"execute":"guest-ping"}'
  passed "the agent answers"
  wait_for "$BOOT_SECONDS" "cloud-init" cloud_init_is_done
  passed "cloud-init is done"
  check "runcmd" on_console runcmd-of-checked-debian
  wait_for 60 "a login prompt on the serial console" on_console 'checked-debian login:'
  passed "a login prompt on the serial console"
  check_inside
  in_libvirt shutdown "$GUEST" --mode acpi
  wait_for 120 "the shutdown by the power button" is_gone "$GUEST"
  passed "shutdown by the power button"
  say "$PASSED passed, 0 failed"
}

main "$@"
