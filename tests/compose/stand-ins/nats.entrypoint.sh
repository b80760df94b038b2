#!/bin/sh
# As in the real image: arguments that begin with '-' are the server's.
set -e
case "${1:-}" in
  -*) exec nats-server "$@" ;;
  *) exec "$@" ;;
esac
