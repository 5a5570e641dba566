"""The gateway: clients' WebSockets in, speech recognition behind, one process per pod."""

import os

# Read when `websockets` is imported. Its 8 KiB for the request line would refuse a query of 100 keyterms of 50
# characters, which the protocol allows; the dialect bounds the target itself at 16 KiB.
os.environ.setdefault("WEBSOCKETS_MAX_LINE_LENGTH", "20480")
