#!/usr/bin/env bash
# `make stop`: ends the node that `make demo` started. Guests keep running until their node or an operator stops them,
# so the demo's instances are deleted first; the node's data stay in .berth.
set -euo pipefail
cd "$(dirname "$0")/.."
export BERTH_DATA_DIR=$PWD/.berth/data
[ -x target/debug/berth ] || { echo "nothing was built here, so nothing runs"; exit 0; }
if target/debug/berth status >/dev/null 2>&1; then
  target/debug/berth instance delete demo --wait || echo "there is no instance called demo"
fi
target/debug/berth down
