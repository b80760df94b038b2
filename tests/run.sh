#!/usr/bin/env bash
# `make test`: sets up what the tests need, runs all of them, prints a last line with the outcome.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$HOME/.cargo/bin:$PATH"

step() { printf '\n== %s\n' "$*"; }

step "prerequisites"
deploy/prerequisites.sh run test

step "guest image"
deploy/images/build-small.sh target/guest

step "PostgreSQL for the store tests"
scratch=$(mktemp -d /tmp/berth-test.XXXXXX)
chmod 755 "$scratch"
trap 'tests/postgres.sh stop "$scratch/postgres" || true; rm -rf "$scratch"' EXIT
BERTH_TEST_POSTGRES=$(tests/postgres.sh start "$scratch/postgres")
export BERTH_TEST_POSTGRES
export BERTH_TEST_IMAGE="$PWD/target/guest/berth-small.json"

step "tests"
export RUST_BACKTRACE=0
# building and running are separate, so that a slow compiler is not taken for a slow test
cargo build --workspace --tests --bins
cargo nextest run --workspace --no-fail-fast "$@"
echo "all tests passed"
