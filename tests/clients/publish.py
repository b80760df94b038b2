"""Sends CloudEvents to Berth's broker with nats-py, as a program of another system would.

    publish.py SERVER CA_FILE TENANT SUBJECT... < TOKEN

SERVER is tls://host:port. Each SUBJECT gets one event and prints "SUBJECT kept" or "SUBJECT refused". The token comes on
standard input, so that no list of processes shows it. What the client may not hear either is printed last.
"""

import asyncio
import json
import ssl
import sys

import nats
import nats.errors


async def main(server: str, ca_file: str, tenant: str, subjects: list[str]) -> None:
    violations = []

    async def on_error(error: Exception) -> None:
        violations.append(str(error).lower())

    try:
        client = await nats.connect(
            server,
            token=sys.stdin.readline().strip(),
            tls=ssl.create_default_context(cafile=ca_file),
            # answers come to an inbox of the tenant: others are not heard
            inbox_prefix=f"_INBOX.{tenant}".encode(),
            error_cb=on_error,
            allow_reconnect=False,
        )
    except nats.errors.Error as error:
        sys.exit(f"not let in: {error} {violations}")
    stream = client.jetstream()
    for number, subject in enumerate(subjects):
        event = {
            "specversion": "1.0",
            "id": f"py-{number}",
            "source": "/clients/python",
            "type": "com.example.tested",
            "subject": "nats-py",
            "data": {"number": number},
        }
        try:
            # the acknowledgement: from here on the broker keeps the event until it is taken
            await stream.publish(subject, json.dumps(event).encode(), timeout=2)
            print(subject, "kept", flush=True)
        except (nats.errors.TimeoutError, nats.errors.Error) as error:
            print(subject, "refused", type(error).__name__, flush=True)
    for subject in (">", "evt.>", "ext.>", "_INBOX.>", "$JS.>", "$SYS.>"):
        before = len(violations)
        await client.subscribe(subject)
        await client.flush()
        await asyncio.sleep(0.2)
        print(subject, "deaf" if len(violations) > before else "HEARS", flush=True)
    await client.close()


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
