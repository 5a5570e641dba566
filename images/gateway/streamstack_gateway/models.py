"""Which pool answers a ``speech_model``, and under which name: configuration, no I/O.

Three kinds of names (``reference/assemblyai-protocol.md`` 4): what clients write (``universal-3-6-pro``), what servers
are routed by (``en-default``, ``ml-default``, ``u3-pro``, the ``x-model-version`` of the seed's balancer), and the
stack's pools. A model never answers for another unless the fallback map says so.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from streamstack_gateway.dialects.events import SessionRequest
from streamstack_gateway.errors import model_without_pool, unknown_model

ENGLISH = "en-default"
MULTILINGUAL = "ml-default"
PRO = "u3-pro"
WHISPER = "whisper-rt"

KNOWN_MODELS: Mapping[str, str] = {
    "universal-streaming-english": ENGLISH,
    "universal-streaming-multilingual": MULTILINGUAL,
    "universal-3-5-pro": PRO,
    "universal-3-6": PRO,
    "universal-3-6-pro": PRO,
    "u3-rt-pro": PRO,
    "u3-rt-pro-beta-1": PRO,
    "u3-rt-agent": PRO,
    "u3-pro": PRO,
    "universal-3-7-preview": PRO,
    "whisper-rt": WHISPER,
    ENGLISH: ENGLISH,
    MULTILINGUAL: MULTILINGUAL,
}
"""Every ``speech_model`` the vendor's SDKs and servers know, and the routing names themselves."""

SHOWN_AS: Mapping[str, str] = {
    ENGLISH: "universal-streaming-english",
    MULTILINGUAL: "universal-streaming-multilingual",
    PRO: "universal-3-5-pro",
}
"""Routing name to the name in ``Begin``: what the seed's newest stack (v1.0.0) serves there."""

ANY = "*"
"""As an alias, every name that is not known; as a fallback, every model without a pool."""

DEFAULT = "default"
"""As a target: the model that answers clients that name none."""

DEFAULT_FALLBACKS: Mapping[str, str] = {PRO: DEFAULT}
"""LiveKit and Pipecat send ``universal-3-6-pro`` unless told otherwise (3.6)."""

NO_FALLBACKS = "none"


class ModelMapError(ValueError):
    """A setting of the model map cannot be used; the message names it and what was expected."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Who answers: the ``pool``, the ``model_version`` its servers are asked for, and ``model``, its name in ``Begin``.

    ``substituted``: the fallback map chose another model than the client asked for.
    """

    pool: str
    model_version: str
    model: str
    substituted: bool = False


def formats_always(speech_model: str | None) -> bool:
    """Whether turns of this model come formatted without being asked (6.4)."""
    return speech_model is not None and KNOWN_MODELS.get(speech_model) == PRO


def is_licensed(resolved: Resolved, models: Collection[str] | None) -> bool:
    """Whether a license for ``models`` covers who answers; None is no restriction.

    A license names a model in any way a user knows it: as ``Begin`` shows it (``universal-streaming-english``), as any
    other name clients write for the same model (``u3-rt-pro``), as its servers are routed by (``en-default``), or as
    the pool (``english``); ``*`` is any. What a client asked for does not count where the fallback map chose another.
    """
    if models is None or ANY in models:
        return True
    if not {resolved.pool, resolved.model_version, resolved.model}.isdisjoint(models):
        return True
    routing = KNOWN_MODELS.get(resolved.model_version, resolved.model_version)
    return any(KNOWN_MODELS.get(name) == routing for name in models)


class ModelMap:
    """The stack's models.

    - ``pools``: model to pool, at least one. A model is named as its servers are routed by, which is usually a routing
      name; any other name becomes known by being here.
    - ``aliases``: further names to known ones, ``*`` for all that are not known.
    - ``fallbacks``: model to the model that answers when the first has no pool, ``*`` for all; ``default`` as a target.
    - ``default``: the model of clients that name none; English, or the first pool's where there is no English.

    Raises ModelMapError.
    """

    def __init__(
        self,
        pools: Mapping[str, str],
        *,
        aliases: Mapping[str, str] | None = None,
        fallbacks: Mapping[str, str] = DEFAULT_FALLBACKS,
        default: str = "",
    ) -> None:
        if not pools:
            raise ModelMapError("pools: expected at least one model with a pool")
        self._pools = dict(pools)
        self._routing = {**KNOWN_MODELS, **{name: name for name in pools if name not in KNOWN_MODELS}}
        self._answering: dict[str, str] = {}  # routing name to the model, as named in pools, that answers for it
        for name in pools:
            self._answering.setdefault(self._routing[name], name)
        self._aliases = {name: self._known("aliases", target) for name, target in (aliases or {}).items()}
        self._default = self._default_model(default)
        self._fallbacks = {
            name if name == ANY else self._known("fallbacks", name): (
                self._default if target == DEFAULT else self._known("fallbacks", target)
            )
            for name, target in fallbacks.items()
        }

    @classmethod
    def configure(
        cls, pools: Mapping[str, str], *, aliases: str = "", fallbacks: str = "", default: str = ""
    ) -> "ModelMap":
        """From settings: ``name=value,name=value``; empty ``fallbacks`` are the default ones, ``none`` is none.

        Raises ModelMapError.
        """
        text = fallbacks.strip()
        return cls(
            pools,
            aliases=parse_pairs("aliases", aliases),
            fallbacks=DEFAULT_FALLBACKS if not text else parse_pairs("fallbacks", "" if text == NO_FALLBACKS else text),
            default=default,
        )

    @property
    def known(self) -> tuple[str, ...]:
        """Every name a client may use, sorted."""
        return tuple(sorted((self._routing.keys() | self._aliases.keys()) - {ANY}))

    def resolve(self, request: SessionRequest) -> Resolved:
        """Say who answers.

        ``language`` as a choice of model is deprecated and counts only where no ``speech_model`` is named: none or
        English is English, any other is multilingual (3.3). Raises SessionError 3006: an unknown model, or one without
        a pool and without a fallback.
        """
        wanted = self._wanted(request)
        answering = self._pooled(wanted)
        if answering is not None:
            return self._resolved(answering, substituted=False)
        for name in (wanted, self._routing[wanted], ANY):
            fallback = self._fallbacks.get(name)
            answering = None if fallback is None else self._pooled(fallback)
            if answering is not None:
                return self._resolved(answering, substituted=True)
        raise model_without_pool(request.speech_model or SHOWN_AS.get(wanted, wanted))

    def _wanted(self, request: SessionRequest) -> str:
        name = request.speech_model
        if name is None:
            return self._by_language(request.language)
        if name in self._aliases:
            return self._aliases[name]
        if name in self._routing:
            return name
        if ANY in self._aliases:
            return self._aliases[ANY]
        raise unknown_model(name, self.known)

    def _by_language(self, language: str) -> str:
        if not language:
            return self._default
        if language.lower().partition("-")[0] == "en":
            return ENGLISH if ENGLISH in self._answering else self._default
        return MULTILINGUAL

    def _pooled(self, name: str) -> str | None:
        """The model, as named in pools, that answers for ``name``: itself, or the one its routing name leads to."""
        return name if name in self._pools else self._answering.get(self._routing[name])

    def _resolved(self, model: str, *, substituted: bool) -> Resolved:
        return Resolved(self._pools[model], model, SHOWN_AS.get(model, model), substituted)

    def _default_model(self, default: str) -> str:
        if not default:
            return self._answering.get(ENGLISH) or next(iter(self._pools))
        model = self._pooled(self._known("default", default))
        if model is None:
            raise ModelMapError(f"default: '{default}' has no pool. Expected one of {', '.join(self._pools)}")
        return model

    def _known(self, setting: str, name: str) -> str:
        if name not in self._routing:
            raise ModelMapError(
                f"{setting}: unknown model '{name}'. Expected one of {', '.join(sorted(self._routing))}"
            )
        return name


def parse_pairs(setting: str, text: str) -> dict[str, str]:
    """``name=value,name=value`` to a dictionary, in order; spaces around names and values do not count.

    Raises ModelMapError naming ``setting``: an entry without both halves, or a name given twice.
    """
    pairs: dict[str, str] = {}
    for entry in text.split(",") if text.strip() else ():
        name, _, value = (part.strip() for part in entry.partition("="))
        if not name or not value:
            raise ModelMapError(f"{setting}: '{entry.strip()}' is no entry. Expected name=value,name=value")
        if name in pairs:
            raise ModelMapError(f"{setting}: '{name}' is given twice")
        pairs[name] = value
    return pairs
