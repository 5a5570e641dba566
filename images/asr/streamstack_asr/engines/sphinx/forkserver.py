"""The process that workers are forked from: it loads the decoders once, so that all workers share their pages.

Started by ``template`` as ``python -m``, with a control socket (SOCK_SEQPACKET) and a number of decoders as arguments.
It reports one message of JSON when it is loaded, ``{}`` or ``{"error": ...}``; then each message carries one socket,
and a worker is forked to serve that socket. At the end of the control socket, when the server stopped or died, it ends
every worker, waits for them and goes.

Signals are the server's business: one that is sent to the whole process group (Ctrl-C, an init that forwards SIGTERM
to all) must not cut the sessions that the server wants to finish. A worker ends with its socket, so it outlives this
process, and no session fails for its death, but never the server.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
import traceback

from streamstack_asr.engines.sphinx.control import LARGEST_CONTROL_MESSAGE
from streamstack_asr.engines.sphinx.decoder import Decoder, DecoderError
from streamstack_asr.engines.sphinx.worker import serve
from streamstack_common.process import seal


def main() -> None:
    """Run until the server is gone."""
    seal()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        decoders = [Decoder() for _ in range(int(sys.argv[2]))]
    except DecoderError as error:
        control.send(json.dumps({"error": str(error)}).encode()[:LARGEST_CONTROL_MESSAGE])
        return
    gc.collect()
    gc.freeze()  # else the collector's marks unshare the pages
    try:
        control.send(b"{}")
    except BrokenPipeError:
        return  # the server is gone before its engine was ready
    _serve_forks(control, decoders)


def _serve_forks(control: socket.socket, decoders: list[Decoder]) -> None:
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    workers: set[int] = set()
    while True:
        readable, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 4_096)
            workers -= _ended(workers)
        if control.fileno() in readable:
            message, descriptors, _, _ = socket.recv_fds(control, LARGEST_CONTROL_MESSAGE, 1)
            if not message:
                _end_all(workers)
                return
            for descriptor in descriptors:
                pid = os.fork()
                if pid == 0:
                    for inherited in (wake_read, wake_write):
                        os.close(inherited)
                    control.close()
                    _become_worker(descriptor, decoders)
                os.close(descriptor)
                workers.add(pid)


def _become_worker(descriptor: int, decoders: list[Decoder]) -> None:
    """Never returns: what lies above on the stack is the fork server's."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        seal()
        with socket.socket(fileno=descriptor) as connection:
            serve(connection, decoders)
        status = 0
    finally:
        if (error := sys.exc_info()[1]) is not None:
            traceback.print_exception(error)
        os._exit(status)


def _ended(workers: set[int]) -> set[int]:
    return {pid for pid in workers if os.waitpid(pid, os.WNOHANG)[0] == pid}


def _end_all(workers: set[int]) -> None:
    for pid in workers:
        os.kill(pid, signal.SIGKILL)  # it has nothing to lose, and may be in the middle of a step
    for pid in workers:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
