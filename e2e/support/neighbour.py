"""Programs that are run *inside* a container of the stack, to see what a neighbour on its network can reach.

The images have Python and no shell; ``streaming-asr-*`` has gRPC, too.
"""

from typing import Final

ASK: Final = """
import json, sys, urllib.error, urllib.request
url, how = sys.argv[1:]
request = urllib.request.Request(url)
if how == "with-credential":
    token = open("/run/streamstack/credential").read().split()[0]
    request.add_header("Authorization", "Bearer " + token)
try:
    with urllib.request.urlopen(request, timeout=10) as response:
        print(json.dumps({"status": response.status, "body": response.read().decode()}))
except urllib.error.HTTPError as error:
    print(json.dumps({"status": error.code, "body": error.read().decode()}))
"""
"""``URL with-credential|without-credential``: prints the status and body of a GET as JSON."""

DESCRIBE: Final = """
import sys, grpc
target, model, how = sys.argv[1:]
metadata = [("x-model-version", model)]
if how == "with-credential":
    token = open("/run/streamstack/credential").read().split()[0]
    metadata.append(("authorization", "Bearer " + token))
with grpc.insecure_channel(target) as channel:
    call = channel.unary_unary("/streamstack.asr.v1.Recognizer/Describe")
    try:
        call(b"", metadata=metadata, timeout=10)
        print("answered")
    except grpc.RpcError as error:
        print(error.code().name)
"""
"""``TARGET MODEL with-credential|without-credential``: prints ``answered`` or the gRPC status of ``Describe``."""

REACH: Final = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("connected")
except OSError:
    print("not reached")
"""
"""``ADDRESS PORT``: prints ``connected`` or ``not reached``."""

WRITE: Final = """
import os, sys
try:
    open(sys.argv[1], "w").close()
    print(os.getuid(), "written")
except OSError as error:
    print(os.getuid(), error.strerror)
"""
"""``PATH``: prints the user, and ``written`` or why a file could not be made."""

FETCH: Final = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "self-hosted"})
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""
"""``URL``: prints what a client of the gateway is answered."""
