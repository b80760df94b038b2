#!/usr/bin/env bash
# Boots berth-small through libvirt, without KVM, and asks it for everything it promises: agent, DHCP lease,
# both kinds of user data, SSH, serial console, reboot and shutdown by agent and by power button.
#
#   deploy/images/check-small.sh [IMAGE_DIR]      (without IMAGE_DIR the image is built first)
#
# Uses transient guests with names of their own and removes them and its files, however it ends. Every wait has
# an end; the whole takes about a minute.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
readonly HERE
readonly TAG=berth-check-$$
readonly BOOT_SECONDS=120 # the machine may be busy
# shellcheck source=guest-check.bash
. "$HERE/guest-check.bash"

# --- guests --------------------------------------------------------------------------------------------------

common_xml() { # common_xml NAME MIB: the part that both guests share
  local cmdline
  cmdline=$(sed -n 's/^.*"cmdline": *"\(.*\)".*$/\1/p' "$WORK/image/berth-small.json")
  cat <<XML
  <name>$1</name>
  <memory unit='MiB'>$2</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>$WORK/image/vmlinuz</kernel>
    <initrd>$WORK/image/initramfs</initrd>
    <cmdline>$cmdline</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'/>
XML
}

ready_times() { [ "$(grep -c '^berth-small: ready' "$CONSOLE")" -ge "$1" ]; }

# --- first guest: cloud-config on a FAT volume, network, SSH, console, reboot, power button -------------------

config_seed() {
  mkdir -p "$WORK/config"
  make_key
  printf 'instance-id: %s\nlocal-hostname: from-meta-data\n' "$TAG" >"$WORK/config/meta-data"
  cat >"$WORK/config/user-data" <<YAML
#cloud-config
hostname: checked-guest
ssh_authorized_keys:
  - $(cat "$WORK/key.pub")
write_files:
  - path: /etc/check/text
    permissions: '0640'
    content: |
      first: line
        second line
  - path: /etc/check/binary
    encoding: b64
    content: $(printf 'from base64' | base64)
packages: [nothing]
runcmd:
  - [ sh, -c, "echo list: \$(hostname)" ]
  - |
    for n in 1 2; do echo "block: \$n"; done
  - test -s /etc/resolv.conf && echo 'the network was up'
YAML
  fat_seed "$WORK/config.img" "$WORK/config"
}

config_guest_xml() {
  cat <<XML
<domain type='qemu'>
$(common_xml "$TAG-config" 128)
  <devices>
    <disk type='file'><driver name='qemu' type='raw'/><source file='$WORK/empty.img'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file'><driver name='qemu' type='raw'/><source file='$WORK/config.img'/><target dev='vdb' bus='virtio'/><readonly/></disk>
    <controller type='pci' index='0' model='pcie-root'/>
$(for _ in 1 2 3 4 5 6 7 8 9 10; do printf "    <controller type='pci' model='pcie-root-port'/>\n"; done)
    <interface type='network'><mac address='$MAC'/><source network='default'/><model type='virtio'/></interface>
$(devices_xml "$WORK/$TAG-config.console")
  </devices>
</domain>
XML
}

check_config() {
  local guest=$TAG-config
  wait_for 10 "user data to end" on_console 'berth-small: user-data done, exit code 0'
  says "$guest" checked-guest hostname
  says "$guest" $'first: line\n  second line' 'cat /etc/check/text'
  says "$guest" 640 'stat -c %a /etc/check/text'
  says "$guest" 'from base64' 'cat /etc/check/binary'
  passed "hostname and files are as the cloud-config says"
  check "runcmd, a list of arguments" on_console 'list: checked-guest'
  check "runcmd, a block of text" on_console 'block: 2'
  check "runcmd runs after the network is up" on_console 'the network was up'
  check "what is not honoured is named on the console" on_console 'ignored: user-data: packages'
  says "$guest" 0 'head -c 1048576 /dev/vda | tr -d "\\000" | wc -c'
  passed "the empty disk is left alone"
}

check_network() {
  local address
  wait_for 15 "a DHCP lease" lease "$MAC"
  address=$(lease "$MAC")
  check "libvirt sees the address through the agent" grep -F "$address" <(in_libvirt domifaddr "$TAG-config" --source agent)
  [ "$(over_ssh "root@$address" hostname)" = checked-guest ] || die "no SSH login with the key"
  passed "SSH login with the key ($address)"
}

# QEMU looks only once a second whether somebody holds the terminal, so it is held while the line is typed again
# and again.
type_on_console() { # type_on_console TERMINAL LINE EXPECTED
  local try
  exec 8<>"$1"
  for try in 1 2 3 4 5; do
    printf '\n%s\n' "$2" >&8
    sleep "$try"
    if on_console "$3"; then break; fi
  done
  exec 8>&-
  on_console "$3"
}

# A port for each is free: a q35 machine takes devices only where a root port was kept for them.
check_hotplug() {
  local guest=$TAG-config mac
  mac=$(random_mac)
  truncate -s 8M "$WORK/plugged.img"
  in_libvirt attach-disk "$guest" "$WORK/plugged.img" vdc --targetbus virtio --live
  wait_for 20 "the disk that was plugged in" in_guest "$guest" 'test -b /dev/vdc'
  passed "a disk is plugged in"
  in_libvirt attach-interface "$guest" network default --model virtio --mac "$mac" --live
  wait_for 20 "the lease of the card that was plugged in" lease "$mac"
  passed "a network card is plugged in and gets its address"
  in_libvirt detach-interface "$guest" network --mac "$mac" --live
  wait_for 20 "the card to be gone" in_guest "$guest" 'test ! -e /sys/class/net/eth1'
  passed "a network card is unplugged"
}

check_console() {
  local terminal
  terminal=$(in_libvirt ttyconsole "$TAG-config")
  # shellcheck disable=SC2016 # the guest's shell is to expand it
  check "root's shell on the serial console" type_on_console "$terminal" 'echo console-$((6*7))-$(id -un)' console-42-root
}

check_reboot() {
  in_libvirt reboot "$TAG-config" --mode agent
  wait_for "$BOOT_SECONDS" "the reboot by the agent" ready_times 2
  passed "reboot by the agent"
  in_libvirt reboot "$TAG-config" --mode acpi
  wait_for "$BOOT_SECONDS" "the reboot by the power button" ready_times 3
  passed "reboot by the power button"
  wait_for 20 "the agent after the reboot" agent "$TAG-config" '{"execute":"guest-ping"}'
  in_guest "$TAG-config" 'reboot' >/dev/null || true
  wait_for "$BOOT_SECONDS" "the reboot from within" ready_times 4
  passed "reboot from within"
}

config_guest() {
  config_seed
  truncate -s 16M "$WORK/empty.img"
  start_guest "$TAG-config" < <(config_guest_xml)
}

check_config_guest() {
  local guest=$TAG-config
  config_guest
  wait_for "$BOOT_SECONDS" "the agent" agent "$guest" '{"execute":"guest-ping"}'
  passed "the agent answers"
  wait_for "$BOOT_SECONDS" "the ready line" ready_times 1
  passed "ready"
  check_config
  check_network
  check_console
  check_hotplug
  check_reboot
  in_libvirt shutdown "$guest" --mode acpi
  wait_for 30 "the shutdown by the power button" is_gone "$guest"
  passed "shutdown by the power button"
}

# --- second guest: a script on an ISO volume, little memory, no network, shutdown by the agent ------------------

script_seed() {
  mkdir -p "$WORK/script"
  printf 'instance-id: %s\nlocal-hostname: scripted\n' "$TAG" >"$WORK/script/meta-data"
  # shellcheck disable=SC2016 # the guest's shell is to expand it
  printf '#!/bin/sh\necho "script on $(hostname)"\nexit 3\n' >"$WORK/script/user-data"
  xorriso -as mkisofs -quiet -V cidata -J -r -o "$WORK/script.iso" "$WORK/script" 2>/dev/null
}

script_guest_xml() {
  cat <<XML
<domain type='qemu'>
$(common_xml "$TAG-script" 96)
  <devices>
    <controller type='scsi' model='virtio-scsi'/>
    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='$WORK/script.iso'/><target dev='sda' bus='scsi'/><readonly/></disk>
$(devices_xml "$WORK/$TAG-script.console")
  </devices>
</domain>
XML
}

check_script_guest() {
  local guest=$TAG-script
  script_seed
  start_guest "$guest" < <(script_guest_xml)
  wait_for "$BOOT_SECONDS" "the script" on_console 'berth-small: user-data done, exit code 3'
  check "a script from a CD-ROM runs, in 96 MiB and without a network" on_console 'script on scripted'
  check "ready" ready_times 1
  wait_for 10 "the agent" agent "$guest" '{"execute":"guest-ping"}'
  in_libvirt shutdown "$guest" --mode agent
  wait_for 30 "the shutdown by the agent" is_gone "$guest"
  passed "shutdown by the agent"
}

main() {
  trap 'clean_up "$TAG-config" "$TAG-script"' EXIT
  make_work_folder
  MAC=$(random_mac)
  require mkfs.vfat mcopy xorriso ssh-keygen
  if [ $# -gt 0 ]; then
    mkdir "$WORK/image"
    cp "$1"/vmlinuz "$1"/initramfs "$1"/berth-small.json "$WORK/image/"
  else
    "$HERE/build-small.sh" "$WORK/image"
  fi
  check_config_guest
  check_script_guest
  say "$PASSED passed, 0 failed"
}

main "$@"
