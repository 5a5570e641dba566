"""The model in transformers' own classes, and the losses it learns by."""

import copy
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from transformers import NemotronAsrStreamingConfig, NemotronAsrStreamingEncoderConfig, NemotronAsrStreamingForRNNT

LOOKAHEADS: Final = (3, 6, 1, 0)
"""What it is trained with, the default first: encoder frames of 80 ms."""
MEL_MEAN: Final = -10.0
MEL_SCALE: Final = 4.0
"""The log-mels of speech between -1 and 1 are about -11.6 ± 4.6."""

_IMPOSSIBLE: Final = -1e30


class Standardised(nn.Module):
    """The first convolution while it learns: its weights are for log-mels brought to about ±1.

    What it computes is for log-mels as they come, with zeros before the first frame, as transformers pads them: so
    what is learned can be folded into the plain convolution of a model folder, exactly.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        self.learned = plain

    @classmethod
    def unfolded(cls, plain: nn.Conv2d) -> "Standardised":
        """Go on from a plain convolution that was trained before."""
        assert plain.bias is not None  # noqa: S101 - transformers' own has one
        with torch.no_grad():
            plain.weight.mul_(MEL_SCALE)
            plain.bias.add_(plain.weight.sum((1, 2, 3)) * (MEL_MEAN / MEL_SCALE))
        return cls(plain)

    def folded(self) -> dict[str, Tensor]:
        """``weight`` and ``bias`` of the plain convolution."""
        weight, bias = self.learned.get_parameter("weight"), self.learned.get_parameter("bias")
        return {"weight": weight / MEL_SCALE, "bias": bias - weight.sum((1, 2, 3)) * (MEL_MEAN / MEL_SCALE)}

    def forward(self, mels: Tensor, padding_cache: object = None) -> Tensor:
        """As the plain one."""
        found: Tensor = functional_call(self.learned, self.folded(), (mels,), {"padding_cache": padding_cache})
        return found

    def output_length(self, *arguments: Any, **options: Any) -> Any:
        """As the plain one."""
        return self.learned.output_length(*arguments, **options)


def build(vocabulary: int) -> NemotronAsrStreamingForRNNT:
    """Return an untrained model; ``vocabulary`` pieces, the blank behind them.

    transformers initialises with a deviation of 0.02, by which a model this narrow does not begin to learn: torch's own
    way is taken instead, and Kaiming's for the convolutions that come before any normalisation.
    """
    encoder = NemotronAsrStreamingEncoderConfig(
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=384,
        subsampling_conv_channels=32,
        num_mel_bins=80,
        sliding_window=29,
        default_num_lookahead_tokens=LOOKAHEADS[0],
        dropout=0.1,
        activation_dropout=0.1,
        attention_dropout=0.1,
        layerdrop=0.0,
        dropout_positions=0.0,
        convolution_bias=False,
        attention_bias=False,
        scale_input=False,
    )
    config = NemotronAsrStreamingConfig(
        vocab_size=vocabulary + 1,
        blank_token_id=vocabulary,
        pad_token_id=0,
        decoder_hidden_size=128,
        num_decoder_layers=1,
        encoder_config=encoder.to_dict(),
    )
    model = NemotronAsrStreamingForRNNT(config)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.LSTM):
            module.reset_parameters()
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, 0, 0.3)
    for module in model.encoder.subsampling.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    model.encoder.subsampling.conv_in = Standardised(model.encoder.subsampling.conv_in)
    return model


def load(folder: Path) -> NemotronAsrStreamingForRNNT:
    """Return the model of a folder in single precision, ready to learn on."""
    model = NemotronAsrStreamingForRNNT.from_pretrained(folder, dtype=torch.float32)
    model.encoder.subsampling.conv_in = Standardised.unfolded(model.encoder.subsampling.conv_in)
    return model


def plain(model: NemotronAsrStreamingForRNNT) -> NemotronAsrStreamingForRNNT:
    """Return a copy as a model folder has it."""
    found = copy.deepcopy(model).eval()
    convolution = found.encoder.subsampling.conv_in
    folded = {name: value.detach() for name, value in convolution.folded().items()}
    convolution.learned.load_state_dict(folded)
    found.encoder.subsampling.conv_in = convolution.learned
    return found


class Batch(NamedTuple):
    """``mels`` [B, F, 80] as the feature extractor gives them, ``mask`` [B, F], ``pieces`` [B, U], ``lengths`` [B]."""

    mels: Tensor
    mask: Tensor
    pieces: Tensor
    lengths: Tensor


class Losses(NamedTuple):
    """Nats a piece."""

    rnnt: Tensor
    ctc: Tensor


def losses(
    model: NemotronAsrStreamingForRNNT, ctc_head: nn.Linear, batch: Batch, *, lookahead: int, head_alone: bool
) -> Losses:
    """Return both losses with ``lookahead``; ``head_alone`` keeps those of the CTC head from the encoder."""
    blank = model.config.blank_token_id
    encoded = model.get_audio_features(
        input_features=batch.mels, attention_mask=batch.mask, num_lookahead_tokens=lookahead, output_attention_mask=True
    )
    frames = encoded.attention_mask.sum(-1).long()
    hidden = encoded.last_hidden_state.detach() if head_alone else encoded.last_hidden_state
    ctc = functional.ctc_loss(
        functional.log_softmax(ctc_head(hidden), -1).transpose(0, 1),
        batch.pieces,
        frames,
        batch.lengths,
        blank=blank,
        zero_infinity=True,
    )
    begun = functional.pad(batch.pieces, (1, 0), value=blank)
    logits = model.joint(
        encoder_hidden_states=encoded.pooler_output[:, :, None], decoder_hidden_states=model.decoder(begun)[:, None]
    )
    total = torch.logsumexp(logits, -1)  # [B, T, U + 1]
    index = batch.pieces[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    emit = logits[:, :, :-1].gather(-1, index).squeeze(-1) - total[:, :, :-1]
    rnnt = rnnt_loss(logits[..., blank] - total, emit, frames=frames, lengths=batch.lengths)
    return Losses((rnnt / batch.lengths.clamp(min=1)).mean(), ctc)


def rnnt_loss(blank: Tensor, emit: Tensor, *, frames: Tensor, lengths: Tensor) -> Tensor:
    """Negative log likelihood of each row, over all alignments (Graves 2012, "Sequence Transduction").

    ``blank`` [B, T, U + 1] and ``emit`` [B, T, U] are log probabilities at a frame behind so many pieces: of going on
    to the next frame, and of the next piece. A frame's pieces are taken in one scan; with c the prefix sums of
    ``emit``, alpha_t = c_t + logcumsumexp(alpha_{t-1} + blank_{t-1} - c_t).
    """
    rows = torch.arange(len(blank))
    before = torch.full_like(blank[:, 0], _IMPOSSIBLE)
    before[:, 0] = 0
    prefix = functional.pad(emit.cumsum(-1), (1, 0))
    alphas = []
    for frame in range(blank.shape[1]):
        alpha = torch.logcumsumexp(before - prefix[:, frame], -1) + prefix[:, frame]
        alphas.append(alpha)
        before = alpha + blank[:, frame]
    last = torch.stack(alphas, 1)[rows, frames - 1, lengths]
    return -(last + blank[rows, frames - 1, lengths])
