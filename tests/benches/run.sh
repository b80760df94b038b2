#!/usr/bin/env bash
# `make bench`: builds with optimisation, runs the benchmarks, keeps the figures in target/bench.json.
# Names of benchmarks and options may follow: tests/benches/run.sh --list
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$HOME/.cargo/bin:$PATH"
deploy/prerequisites.sh run test
export BERTH_TEST_IMAGE="${BERTH_TEST_IMAGE:-$PWD/target/guest/berth-small.json}"
deploy/images/build-small.sh target/guest
cargo build --release --workspace --bins
scratch=$(mktemp -d /tmp/berth-bench.XXXXXX)
chmod 755 "$scratch"
trap 'tests/postgres.sh stop "$scratch/postgres" || true; rm -rf "$scratch"' EXIT
BERTH_TEST_POSTGRES=$(tests/postgres.sh start "$scratch/postgres")
export BERTH_TEST_POSTGRES
RUST_BACKTRACE=0 target/release/benches --json target/bench.json "$@"
