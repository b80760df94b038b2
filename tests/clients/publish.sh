#!/usr/bin/env bash
# Sends CloudEvents with curl in all three modes, and reads them back from the event stream.
#
#   publish.sh URL CA_FILE TOKEN_FILE
#
# The token stays out of the list of processes: curl reads its header from a file.
set -euo pipefail

url=$1 ca=$2 header=$(mktemp)
trap 'rm -f "$header"' EXIT
printf 'Authorization: Bearer %s\n' "$(cat "$3")" >"$header"

ask() { curl --silent --show-error --fail-with-body --max-time 20 --cacert "$ca" --header "@$header" "$@"; }

# structured: the event is the body
ask "$url/v1/events" --header 'Content-Type: application/cloudevents+json' --data \
  '{"specversion":"1.0","id":"sh-1","source":"/clients/curl","type":"com.example.tested","data":{"mode":"structured"}}'
echo
# binary: attributes are headers, the data is the body
ask "$url/v1/events" --header 'Content-Type: application/json' --header 'ce-specversion: 1.0' \
  --header 'ce-id: sh-2' --header 'ce-source: /clients/curl' --header 'ce-type: com.example.tested' \
  --data '{"mode":"binary"}'
echo
# batched: the last one is known already
ask "$url/v1/events" --header 'Content-Type: application/cloudevents-batch+json' --data \
  '[{"specversion":"1.0","id":"sh-3","source":"/clients/curl","type":"com.example.tested"},
    {"specversion":"1.0","id":"sh-1","source":"/clients/curl","type":"com.example.tested"}]'
echo
# subscribe: Server-Sent Events for three seconds (28: the time is up)
ask --no-buffer --max-time 3 "$url/v1/events?types=gateway.ExternalEventReceived&follow=true" 2>/dev/null \
  | grep '^data:' || [ "${PIPESTATUS[0]}" = 28 ]
