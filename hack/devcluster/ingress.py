"""The ingress controller of a cluster: Traefik, answering HTTPS on a port of 127.0.0.1."""

import http.client
import ssl
import string
import tempfile
import time
from pathlib import Path

from devcluster import gotools, loading, versions
from devcluster.cache import Cache, content_key
from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.kind_config import INGRESS_NODE_PORT
from devcluster.kube import Kube
from devcluster.node_contents import TRAEFIK
from devcluster.node_image import is_built
from devcluster.oci import write_layer
from devcluster.pulling import pulled
from devcluster.steps import Steps

MANIFEST = Path(__file__).resolve().parent / "manifests" / "traefik.yaml"
ANSWER_SECONDS = 90.0
_CHANGES = ('ENTRYPOINT ["/traefik"]', "USER 65532:65532")


def traefik_image(docker: Docker, *, node_image: str, cache: Cache, steps: Steps) -> str:
    """Return the reference of a Traefik image: the one inside a node image built here, else one in the engine now.

    Where a registry gave the node image it may give this one, too; else one is made of our Traefik and nothing else.
    """
    if is_built(node_image):
        return TRAEFIK
    public = f"traefik:{versions.TRAEFIK_TAG}"
    own = f"streamstack/traefik:{content_key({'tool': gotools.tool_key('traefik'), 'changes': repr(_CHANGES)})}"
    for reference in (public, own):
        if docker.image_id(reference):
            return reference
    if pulled(docker, public, steps=steps) is None:
        return public
    program = gotools.build("traefik", cache=cache, steps=steps)
    with steps.step("making the ingress controller's image"), tempfile.TemporaryDirectory(dir=cache.root) as scratch:
        layer = Path(scratch) / "layer.tar"
        write_layer({"traefik": program}, layer, links={})
        changes = (part for change in _CHANGES for part in ("--change", change))
        docker.capture("import", *changes, layer, own, timeout_seconds=300)
    return own


def install(docker: Docker, kube: Kube, *, image: str, node: str, log: Path) -> None:
    """Apply the manifests; load the image into the node where it runs, the control plane's, unless it is in there."""
    if image != TRAEFIK:
        loading.load(docker, [image], nodes=[node], log=log)
    kube.apply(manifests(image))


def manifests(image: str) -> str:
    """Fill in the manifests."""
    names = {"IMAGE": loading.normalised(image), "NODE_PORT": str(INGRESS_NODE_PORT)}
    return string.Template(MANIFEST.read_text()).substitute(names)


def await_answer(port: int) -> None:
    """Wait until the ingress answers any request at all over TLS."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while not answers(port):
        if time.monotonic() > deadline:
            raise DevError(
                f"the ingress on 127.0.0.1:{port} does not answer after {ANSWER_SECONDS:g} s",
                do="look at `kubectl -n traefik get pods` and `kubectl -n traefik logs deploy/traefik`",
            )
        time.sleep(0.2)  # nothing announces that a published port works all the way


def answers(port: int) -> bool:
    """Tell whether HTTPS is served on a port of 127.0.0.1; its certificate is its own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
