#!/usr/bin/env bash
# `make lint`: everything that can be said about the code without running it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$HOME/.cargo/bin:$PATH"

step() { printf '\n== %s\n' "$*"; }

step "prerequisites"
deploy/prerequisites.sh run lint

step "format"
cargo fmt --all --check

step "clippy"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "protobuf style"
(cd proto && buf lint)

# compatibility is judged against the newest state that others may have built upon
step "protobuf compatibility"
base=$(git rev-parse --verify --quiet origin/main || git rev-parse --verify --quiet HEAD~1 || true)
if [ -n "$base" ] && git cat-file -e "$base:proto/buf.yaml" 2>/dev/null; then
  (cd proto && buf breaking --against "../.git#ref=$base,subdir=proto")
else
  echo "no earlier state to compare with"
fi

step "dependencies: bans, licences, sources"
cargo deny --locked check bans licenses sources

echo "all lints passed"
