"""The model store: where a model's files come from, and whether they can be trusted, used and loaded."""

from streamstack_asr.engines.nemotron.store.apart import locate_apart
from streamstack_asr.engines.nemotron.store.licenses import License
from streamstack_asr.engines.nemotron.store.locating import ModelFolder, StoreSettings, locate

__all__ = ["License", "ModelFolder", "StoreSettings", "locate", "locate_apart"]
