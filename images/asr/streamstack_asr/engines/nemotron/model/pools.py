"""What a model remembers of every slot, in tensors whose addresses never change."""

from dataclasses import dataclass
from typing import Any

import torch

from streamstack_asr.engines.nemotron.model.features import HISTORY_SAMPLES


@dataclass(frozen=True, slots=True)
class Pools:
    """State by slot: dimension ``N`` of each tensor.

    ``audio`` [N, 353]; ``subsampling`` one mel-time frame before each strided stage [N, channels, 1, bins];
    ``keys`` and ``values`` [layers, N, heads, window, head size]; ``convolution`` [layers, N, hidden, kernel - 1];
    ``length`` cached frames [N]; ``fresh`` whether no step was made yet [N]; ``hidden`` and ``cell`` of the predictor
    [LSTM layers, N, size] with its ``output`` [N, size]; ``prompt`` [N]; ``keyterm`` the state in the slot's
    prefix tree [N].
    """

    audio: torch.Tensor
    subsampling: tuple[torch.Tensor, ...]
    keys: torch.Tensor
    values: torch.Tensor
    convolution: torch.Tensor
    length: torch.Tensor
    fresh: torch.Tensor
    hidden: torch.Tensor
    cell: torch.Tensor
    output: torch.Tensor
    prompt: torch.Tensor
    keyterm: torch.Tensor

    @classmethod
    def allocate(cls, model: Any, *, slots: int, window: int) -> "Pools":
        """Make the pools of ``slots`` slots on the model's device and in its format."""
        encoder, config = model.encoder, model.encoder.config
        like = model.encoder_projector.weight
        head = config.hidden_size // config.num_attention_heads
        layers, size = config.num_hidden_layers, model.config.decoder_hidden_size

        def zeros(*shape: int, dtype: torch.dtype = like.dtype) -> torch.Tensor:
            return torch.zeros(*shape, dtype=dtype, device=like.device)

        subsampling = []
        bins = config.num_mel_bins
        for convolution in stages(encoder):
            padded = bins + sum(convolution.freq_pad)
            subsampling.append(zeros(slots, convolution.in_channels, 1, padded))
            bins = (padded - convolution.kernel_size[1]) // convolution.stride[1] + 1
        kv = (layers, slots, config.num_attention_heads, window, head)
        predictor = (model.config.num_decoder_layers, slots, size)
        return cls(
            audio=zeros(slots, HISTORY_SAMPLES, dtype=torch.float32),
            subsampling=tuple(subsampling),
            keys=zeros(*kv),
            values=zeros(*kv),
            convolution=zeros(layers, slots, config.hidden_size, config.conv_kernel_size - 1),
            length=zeros(slots, dtype=torch.long),
            fresh=torch.ones(slots, dtype=torch.bool, device=like.device),
            hidden=zeros(*predictor),
            cell=zeros(*predictor),
            output=zeros(slots, size),
            prompt=zeros(slots, dtype=torch.long),
            keyterm=zeros(slots, dtype=torch.long),
        )

    def by_slot(self) -> tuple[torch.Tensor, ...]:
        """Every tensor with its slot dimension first, as views."""
        layered = (self.keys, self.values, self.convolution, self.hidden, self.cell)
        flat = (self.audio, *self.subsampling, self.length, self.fresh, self.output, self.prompt, self.keyterm)
        return (*(tensor.transpose(0, 1) for tensor in layered), *flat)

    def copy(self, source: int, target: int) -> None:
        """Give ``target`` the state of ``source``."""
        for tensor in self.by_slot():
            tensor[target].copy_(tensor[source])

    def bytes_per_slot(self) -> int:
        """Memory of one slot."""
        return sum(tensor[0].numel() * tensor.element_size() for tensor in self.by_slot())


def stages(encoder: Any) -> tuple[Any, ...]:
    """Return the strided convolutions of the subsampling, in order."""
    return (encoder.subsampling.conv_in, *(layer.depthwise_conv for layer in encoder.subsampling.layers))
