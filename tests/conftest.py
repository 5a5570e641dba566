# Before anything imports websockets, which reads the longest request line it accepts from the environment once, when it
# is imported: as in a gateway's own process, whose package sets it first.
import streamstack_gateway  # noqa: F401 - imported for what it sets
