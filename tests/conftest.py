# Before anything imports websockets, which reads the longest request line it accepts from the environment once, when it
# is imported: as in a gateway's own process, whose package sets it first.
import signal

import streamstack_gateway  # noqa: F401 - imported for what it sets

# A shell without job control starts what it puts in the background with SIGINT ignored (POSIX, 2.11), and children
# inherit that; what is tested here is interrupted in earnest.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["support.control_plane", "support.stack_crd", "support.built_helm"]
