#!/usr/bin/env bash
# `make demo`: from a fresh machine to a guest that answers, over the whole system. Run it again at any time: what is
# there is used again.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$HOME/.cargo/bin:$PATH"

home=$PWD/.berth
name=demo
export BERTH_DATA_DIR=$home/data

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
berth() { target/debug/berth "$@"; }

step "prerequisites"
deploy/prerequisites.sh run

step "build"
cargo build --workspace --bins

step "guest image"
deploy/images/build-small.sh "$home/images"

step "the node: broker, every service, a host"
if berth status >/dev/null 2>&1; then
  echo "a node is running already"
else
  berth up --detach
fi
berth status

step "import the image"
berth image import berth-small --manifest "$home/images/berth-small.json" --if-absent

step "a public key, kept under a name (its private half was thrown away)"
if ! berth ssh-key show demo >/dev/null 2>&1; then
  berth ssh-key create demo --public-key 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINvN3ihV9QNsBB8U1HWVtupR4cJ0Hc/L1OATbGuR4Hy6 demo' --label made-by=demo --wait
fi
berth ssh-key list --filter 'labels.made-by = demo AND algorithm = ssh-ed25519' --order-by 'created_at_us desc'

step "would it fit, and where"
berth instance create would-fit --image berth-small --vcpus 1 --memory 128MiB --disk 1GiB --dry-run

step "create an instance and wait until its guest answers"
if berth instance show "$name" >/dev/null 2>&1; then
  echo "instance $name is there already; making sure that it runs"
  berth instance start "$name" --wait
else
  berth instance create "$name" --image berth-small --vcpus 1 --memory 128MiB --disk 1GiB --ssh-key demo --label made-by=demo --wait
fi

step "run a command in the guest"
# shellcheck disable=SC2016 # the guest's shell expands this, not ours
berth instance exec "$name" -- /bin/sh -c 'echo "hello from $(hostname), Linux $(uname -r), up $(cut -d. -f1 /proc/uptime) s"'

step "delete it by mistake, and bring it back with its disk"
berth instance delete "$name" --wait
berth instance restore "$name" --wait
berth instance start "$name" --wait

step "the instance"
berth instance show "$name"

step "why it is where it is"
berth instance explain "$name"

step "what happened to it"
berth events --object "$(berth instance show "$name" -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["instance"]["id"])')"

cat <<EOF

The node is running. Go on with:

  export BERTH_DATA_DIR=$BERTH_DATA_DIR PATH=$PWD/target/debug:\$PATH
  berth instance create web-1 --image berth-small --flavor micro --wait
  berth instance console $name      # leave with Ctrl-]
  berth events --follow
  berth --help

End it with:  make stop
EOF
