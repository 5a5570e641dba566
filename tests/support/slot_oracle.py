"""What transformers itself makes of one stream: the judge of the slot-pooled engine.

Imports torch and transformers when called, so that it can be collected where they are not installed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstack_asr.engines.nemotron.facts import ENGLISH, MULTILINGUAL, ModelFacts
from streamstack_asr.engines.nemotron.model.lanes import Lane

SAMPLE_RATE = 16_000
LOOKAHEADS = (0, 1, 3, 6)


@dataclass(frozen=True)
class Heard:
    """One stream by transformers: features [frames, bins], what the joint takes [frames, size], (token, frame).

    ``margin`` is by how much the closest choice of a token was won.
    """

    features: Any
    encoded: Any
    tokens: list[tuple[int, int]]
    margin: float


def random_model(architecture: str = ENGLISH, *, talkative: bool = True) -> Any:
    """A small model with weights that matter everywhere: transformers' own initialisation hides mistakes.

    One that is not ``talkative`` has encoder frames of about one, and says the same at all times.
    """
    import torch
    import transformers

    torch.manual_seed(0)
    encoder = transformers.NemotronAsrStreamingEncoderConfig(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, subsampling_conv_channels=16,
        num_mel_bins=80, sliding_window=28, scale_input=False, convolution_bias=True, attention_bias=True,
    ).to_dict()  # fmt: skip
    sizes = {"vocab_size": 30, "blank_token_id": 29, "decoder_hidden_size": 32, "encoder_config": encoder}
    if architecture == MULTILINGUAL:
        config = transformers.Nemotron3_5AsrConfig(**sizes, num_decoder_layers=2, prompt_intermediate_size=64)
        model = transformers.Nemotron3_5AsrForRNNT(config)
    else:
        config = transformers.NemotronAsrStreamingConfig(**sizes, num_decoder_layers=1)
        model = transformers.NemotronAsrStreamingForRNNT(config)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.LSTM):
            module.reset_parameters()
    for layer in model.encoder.layers:
        torch.nn.init.normal_(layer.self_attn.bias_u, 0, 0.3)
        torch.nn.init.normal_(layer.self_attn.bias_v, 0, 0.3)
    model = model.eval().requires_grad_(requires_grad=False)
    if talkative:
        with torch.no_grad():
            _let_it_speak(model, architecture)
    return model


def _let_it_speak(model: Any, architecture: str) -> None:
    """Spread what the joint hears, which random layers make nearly constant, and have it emit now and then."""
    import torch

    whole = features(loaded(model, architecture).extractor, noise(4.0, seed=99))
    heard = model.get_audio_features(input_features=whole, num_lookahead_tokens=3).pooler_output[0]
    spread = 2.0 / heard.std(0)
    projector, head = model.encoder_projector, model.joint.head
    projector.bias.copy_((projector.bias - heard.mean(0)) * spread)
    projector.weight.mul_(spread[:, None])
    heard = model.get_audio_features(input_features=whole, num_lookahead_tokens=3).pooler_output
    torch.nn.init.normal_(head.weight, 0, 1.0)
    model.decoder.decoder_projector.weight.mul_(10.0)
    blank = model.config.blank_token_id
    start = model.decoder(torch.tensor([[blank]]))
    logits = model.joint(encoder_hidden_states=heard, decoder_hidden_states=start)[0]
    best = torch.cat([logits[:, :blank], logits[:, blank + 1 :]], dim=1).amax(1)
    head.bias[blank] += (best - logits[:, blank]).quantile(0.5)


def loaded(model: Any, architecture: str = ENGLISH) -> Any:
    """A random model as the loader would hand it over."""
    import torch
    import transformers

    from streamstack_asr.engines.nemotron.model.loading import Loaded

    config = model.config
    prompts = {"auto": 101, "en-US": 0, "de-DE": 9} if architecture == MULTILINGUAL else {}
    facts = ModelFacts(
        architecture=architecture,
        mel_bins=80,
        hidden_size=48,
        layers=3,
        heads=4,
        left_context_frames=config.encoder_config.sliding_window - 1,
        vocab_size=config.vocab_size,
        blank_token=config.blank_token_id,
        lookaheads=LOOKAHEADS,
        default_lookahead=LOOKAHEADS[0],
        languages=tuple(sorted(set(prompts) - {"auto"})),
        prompts=prompts,
    )
    extractor = transformers.NemotronAsrStreamingFeatureExtractor(feature_size=80)
    return Loaded(model, extractor, facts, torch.device("cpu"))


def noise(seconds: float, *, seed: int) -> NDArray[np.int16]:
    """Something that is different everywhere, as loud as speech."""
    generator = np.random.default_rng(seed)
    envelope = np.repeat(generator.uniform(50, 6000, int(seconds * 20) + 1), SAMPLE_RATE // 20)
    samples = (generator.standard_normal(len(envelope)) * envelope).clip(-32_768, 32_767)
    return samples[: int(seconds * SAMPLE_RATE)].astype(np.int16)


def features(extractor: Any, pcm: NDArray[np.int16]) -> Any:
    """The extractor's features of the whole recording [1, frames, bins]."""
    audio = pcm.astype(np.float32) / 32_768
    return extractor(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features


def chunks(whole: Any, lookahead: int) -> Iterator[Any]:
    """Cut features as transformers wants them: 1 + 8 R frames, then 8 (R + 1) each, whole ones only."""
    first, size = 1 + 8 * lookahead, 8 * (lookahead + 1)
    yield whole[:, :first]
    for start in range(first, whole.shape[1] - size + 1, size):
        yield whole[:, start : start + size]


def hear(loaded_model: Any, pcm: NDArray[np.int16], lookahead: int, *, prompt: int | None = None) -> Heard:
    """One stream by transformers' cache-aware streaming and the plain greedy loop."""
    import torch

    model = loaded_model.model
    kept: dict[str, Any] = {"cache": None, "padding_cache": None}
    extra = {} if prompt is None else {"prompt_ids": torch.tensor([prompt])}
    whole, encoded = features(loaded_model.extractor, pcm), []
    with torch.inference_mode():
        for chunk in chunks(whole, lookahead):
            out = model.get_audio_features(
                input_features=chunk, num_lookahead_tokens=lookahead, use_cache=True, output_attention_mask=False,
                **kept, **extra,
            )  # fmt: skip
            kept = {"cache": out.cache, "padding_cache": out.padding_cache}
            encoded.append(out.pooler_output[0])
        frames = torch.cat(encoded)
        return Heard(whole[0], frames, *greedy(model, frames))


def greedy(model: Any, frames: Any) -> tuple[list[tuple[int, int]], float]:
    """The plain loop: emit until blank or the limit, then the next frame. Tokens, and the closest choice's margin."""
    import torch

    blank = model.config.blank_token_id

    def predict(token: int, state: Any) -> Any:
        out, state = model.decoder.lstm(model.decoder.embedding(torch.tensor([[token]])), state)
        return model.decoder.decoder_projector(out)[:, 0], state

    output, state = predict(blank, None)
    found, margin = [], float("inf")
    for number, frame in enumerate(frames):
        for _ in range(model.config.max_symbols_per_step):
            logits = model.joint(encoder_hidden_states=frame[None], decoder_hidden_states=output)
            best, second = logits[0].topk(2).values.tolist()
            margin = min(margin, best - second)
            token = int(logits.argmax(-1))
            if token == blank:
                break
            found.append((token, number))
            output, state = predict(token, state)
    return found, margin


class Stream:
    """A recording on its way through a slot: what it needs next, and what came of it."""

    def __init__(self, pcm: NDArray[np.int16], lane: Lane) -> None:
        self.lane = lane
        self._pcm = pcm
        self._at = 0
        self._steps = 0
        self.tokens: list[tuple[int, int]] = []

    @property
    def over(self) -> bool:
        return self._at + self._needs > len(self._pcm)

    @property
    def _needs(self) -> int:
        return self.lane.step_samples if self._steps else self.lane.first_samples

    def next(self, *, rubbish: int = 0) -> NDArray[np.int16]:
        """Audio of the next step; what is left of a first one is ``rubbish``."""
        needs = self._needs
        audio = np.full(self.lane.step_samples, rubbish, np.int16)
        audio[-needs:] = self._pcm[self._at : self._at + needs]
        self._at += needs
        self._steps += 1
        return audio

    def take(self, row: Any) -> None:
        base = (self._steps - 1) * self.lane.frames
        self.tokens += [(emitted.token, base + emitted.frame) for emitted in row.tokens]
