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

step "shell scripts"
git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck

step "protobuf style"
(cd proto && buf lint)

# compatibility is judged against what others may have built upon: the published main, or the commit before this one
step "protobuf compatibility"
base=$(git rev-parse --verify --quiet origin/main || true)
if [ -z "$base" ] || [ "$base" = "$(git rev-parse HEAD)" ]; then
  base=$(git rev-parse --verify --quiet HEAD~1 || true)
fi
if [ -n "$base" ] && git cat-file -e "$base:proto/buf.yaml" 2>/dev/null; then
  (cd proto && buf breaking --against "../.git#ref=$base,subdir=proto")
else
  echo "no earlier state to compare with"
fi

step "dependencies: bans, licences, sources"
cargo deny --locked check bans licenses sources

echo "all lints passed"
