#!/usr/bin/env bash
# A machine within the machine, for a test that takes libvirt down under running guests: mounts, network and processes of
# its own, and in them a libvirt that nobody else uses. Says "ready" and stays until it is killed; all in it ends with it.
#
#   unshare --mount --net --pid --fork --kill-child --mount-proc tests/machine.sh FOLDER
set -euo pipefail
folder=$1
deploy=$(cd "$(dirname "$0")/../deploy" && pwd)

mount --make-rprivate /
ip link set lo up
mkdir -p "$folder"/{etc,lib,cache,log}
cp -a /etc/libvirt/. "$folder/etc/"
# networks and guests of the outer machine are not ours
rm -rf "$folder"/etc/qemu/*.xml "$folder"/etc/qemu/networks/{*.xml,autostart}
printf 'host_uuid = "%s"\n' "$(cat /proc/sys/kernel/random/uuid)" >>"$folder/etc/libvirtd.conf"
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/libvirt
for part in etc:/etc/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt; do
  mount --bind "$folder/${part%%:*}" "${part#*:}"
done
mkdir -p /var/lib/libvirt/{qemu,dnsmasq,images,boot,network}
chown libvirt-qemu:libvirt-qemu /var/lib/libvirt/qemu

"$deploy/libvirt.sh" start >&2
echo ready
# the first process of a machine buries the dead: a shell that waits does
sleep infinity &
wait
