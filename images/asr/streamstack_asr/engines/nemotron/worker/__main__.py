"""``python -m streamstack_asr.engines.nemotron.worker``: started by the server, once for each GPU."""

import sys

from streamstack_asr.engines.nemotron.worker.assembly import assemble
from streamstack_asr.engines.nemotron.worker.entry import main

if __name__ == "__main__":
    main(assemble, sys.argv[1:])
