"""A model folder as transformers writes it, in half precision."""

from pathlib import Path

from tokenizers import Tokenizer
from transformers import (
    GenerationConfig,
    NemotronAsrStreamingFeatureExtractor,
    NemotronAsrStreamingForRNNT,
    NemotronAsrStreamingProcessor,
    PreTrainedTokenizerFast,
)

from tiny_model.network import LOOKAHEADS, plain

BLANK = "<blank>"
UNKNOWN = "<unk>"


def export(model: NemotronAsrStreamingForRNNT, tokenizer: Tokenizer, folder: Path) -> None:
    """Write weights, configuration, tokenizer and what the features are made by.

    A model folder's configuration says what the weights are: half precision, the encoder's too.
    """
    exported = plain(model).half()
    blank = exported.config.blank_token_id
    exported.config.encoder_config.dtype = "float16"
    exported.generation_config = GenerationConfig(decoder_start_token_id=blank, pad_token_id=0)
    exported.save_pretrained(folder)
    special = {"unk_token": UNKNOWN, "pad_token": UNKNOWN, "additional_special_tokens": [BLANK]}
    text = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    features = NemotronAsrStreamingFeatureExtractor(feature_size=exported.config.encoder_config.num_mel_bins)
    processor = NemotronAsrStreamingProcessor(
        features, text, supported_num_lookahead_tokens=list(LOOKAHEADS), default_num_lookahead_tokens=LOOKAHEADS[0]
    )
    processor.save_pretrained(folder)
    features.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
