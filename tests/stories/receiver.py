"""A receiver of webhooks that knows nothing of Berth but the published scheme (standardwebhooks.com) and CloudEvents.

Usage: receiver.py SECRETS LOG [REFUSE]

SECRETS: a file with the secrets that are good, one a line; read anew for each request. LOG: gets a line of JSON for each
request. REFUSE: how many requests are answered with 503 first. Prints the port it listens on.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

SECRETS, LOG = sys.argv[1], sys.argv[2]
TOLERANCE_S = 300
lock = Lock()
refuse = int(sys.argv[3]) if len(sys.argv) > 3 else 0


def is_signed(headers, body):
    """Whether one of the signatures was made with one of the secrets, not long ago."""
    timestamp = headers["webhook-timestamp"]
    if abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    signed = f"{headers['webhook-id']}.{timestamp}.".encode() + body
    given = [part.split(",", 1)[1] for part in headers["webhook-signature"].split(" ") if part.startswith("v1,")]
    for secret in open(SECRETS).read().split():
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if any(hmac.compare_digest(expected, signature) for signature in given):
            return True
    return False


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global refuse
        body = self.rfile.read(int(self.headers["content-length"]))
        signed = is_signed(self.headers, body)
        event = json.loads(body)
        with lock:
            status = 204 if signed else 401
            if refuse > 0:
                refuse, status = refuse - 1, 503
            line = {
                "signed": signed,
                "status": status,
                "id": self.headers["webhook-id"],
                "attempt": int(self.headers["berth-delivery-attempt"]),
                "media_type": self.headers["content-type"],
                "event": event,
            }
            with open(LOG, "a") as log:
                log.write(json.dumps(line) + "\n")
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
