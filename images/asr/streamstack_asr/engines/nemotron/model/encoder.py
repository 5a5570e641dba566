"""One step of the cache-aware FastConformer over pooled state, on transformers' own modules.

Equal to the modules' own streaming, row by row (tests/asr/engines/nemotron/model/test_oracle.py). What differs is the
cost: positions are projected once per layer and lane instead of once per row and step, and rows start independently.
"""

from typing import Any, Final

import torch
from torch.nn import functional

from streamstack_asr.engines.nemotron.model.lanes import Lane
from streamstack_asr.engines.nemotron.model.pools import Pools, stages

MISSING_FRAMES: Final = (7, 3, 1)
"""A first step has 1 + 8 R mel frames, not 8 (R + 1): what is missing before each strided stage, as frames."""


class EncoderStep:
    """The encoder of one lane."""

    def __init__(self, model: Any, pools: Pools, lane: Lane) -> None:
        self._model = model
        self._encoder = model.encoder
        self._pools = pools
        self._lane = lane
        config = self._encoder.config
        self._heads = config.num_attention_heads
        self._head_size = config.hidden_size // config.num_attention_heads
        self._pool_window = pools.keys.shape[3]
        self._positions = self._project_positions()
        self._columns = self._distance_columns()
        self._cached = torch.arange(lane.window, device=pools.keys.device)

    def __call__(self, slots: torch.Tensor, features: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
        """Advance ``slots`` [rows] by ``features`` [rows, 8 (R + 1), bins]; what the joint takes [rows, R + 1, size].

        Rows that are ``fresh`` [rows] begin: their first seven mel frames mean nothing.
        """
        x = self._subsample(slots, features, fresh)
        bias = self._validity(slots, x.dtype)
        for index, layer in enumerate(self._encoder.layers):
            x = x + 0.5 * layer.feed_forward1(layer.norm_feed_forward1(x))
            x = x + self._attend(index, layer, slots, layer.norm_self_att(x), bias)
            x = x + self._convolve(index, layer, slots, layer.norm_conv(x))
            x = x + 0.5 * layer.feed_forward2(layer.norm_feed_forward2(x))
            x = layer.norm_out(x)
        length = self._pools.length
        length.index_copy_(0, slots, (length[slots] + self._lane.frames).clamp(max=self._pool_window))
        return self._projected(slots, x)

    def _projected(self, slots: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        projector = getattr(self._model, "prompt_projector", None)
        if projector is not None:
            known = torch.arange(self._model.config.num_prompts, device=x.device)
            prompts = (self._pools.prompt[slots][:, None] == known).to(x.dtype)
            x = projector(torch.cat([x, prompts[:, None].expand(-1, x.shape[1], -1)], dim=-1))
        projected: torch.Tensor = self._model.encoder_projector(x)
        return projected

    def _subsample(self, slots: torch.Tensor, features: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
        subsampling = self._encoder.subsampling
        x = features[:, None]
        for index, convolution in enumerate(stages(self._encoder)):
            missing = torch.arange(x.shape[2], device=x.device) < MISSING_FRAMES[index]
            x = x.masked_fill((fresh[:, None] & missing)[:, None, :, None], 0.0)
            x = functional.pad(x, convolution.freq_pad)
            pool = self._pools.subsampling[index]
            whole = torch.cat([pool[slots], x], dim=2)
            pool.index_copy_(0, slots, x[:, :, -1:])
            x = functional.conv2d(
                whole, convolution.weight, convolution.bias, convolution.stride, groups=convolution.groups
            )
            if index > 0:
                x = subsampling.layers[index - 1].pointwise_conv(x)
            x = subsampling.act_fn(x)
        x = x.transpose(1, 2).flatten(2)
        subsampled: torch.Tensor = subsampling.linear(x) * self._encoder.input_scale
        return subsampled

    def _validity(self, slots: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Additive mask [rows, 1, 1, window + R + 1]: frames a slot does not have yet are not attended to."""
        window = self._lane.window
        missing = self._cached < window - self._pools.length[slots][:, None]
        bias = torch.zeros(missing.shape, dtype=dtype, device=missing.device).masked_fill(missing, float("-inf"))
        return functional.pad(bias, (0, self._lane.frames))[:, None, None]

    def _attend(self, index: int, layer: Any, slots: torch.Tensor, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        attention = layer.self_attn
        query = self._split(attention.q_proj(x))
        keys = self._remember(self._pools.keys[index], slots, self._split(attention.k_proj(x)))
        values = self._remember(self._pools.values[index], slots, self._split(attention.v_proj(x)))
        shape = (1, self._heads, 1, self._head_size)
        by_distance = (query + attention.bias_v.view(shape)) @ self._positions[index]
        columns = self._columns.expand(*by_distance.shape[:2], -1, -1)
        relative = by_distance.gather(3, columns) * attention.scaling + bias
        seen = functional.scaled_dot_product_attention(
            query + attention.bias_u.view(shape), keys, values, attn_mask=relative, scale=attention.scaling
        )
        out: torch.Tensor = attention.o_proj(seen.transpose(1, 2).flatten(2))
        return out

    def _remember(self, pool: torch.Tensor, slots: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """Shift ``new`` [rows, heads, R + 1, size] into the pool; what this step attends to."""
        whole = torch.cat([pool[slots], new], dim=2)
        pool.index_copy_(0, slots, whole[:, :, self._lane.frames :])
        return whole[:, :, self._pool_window - self._lane.window :]

    def _convolve(self, index: int, layer: Any, slots: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        module = layer.conv
        # Convolutions of width 1 as products: several times as fast on a CPU.
        x = functional.glu(_pointwise(module.pointwise_conv1, x), dim=-1).transpose(1, 2)
        pool = self._pools.convolution[index]
        whole = torch.cat([pool[slots], x], dim=2)
        pool.index_copy_(0, slots, whole[:, :, -pool.shape[2] :])
        depthwise = module.depthwise_conv
        x = functional.conv1d(whole, depthwise.weight, depthwise.bias, groups=depthwise.groups)
        return _pointwise(module.pointwise_conv2, module.activation(module.norm(x.transpose(1, 2))))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (self._heads, self._head_size)).transpose(1, 2)

    def _project_positions(self) -> tuple[torch.Tensor, ...]:
        """For each layer [heads, head size, 2 L - 1]: distances from L - 1 down to 1 - L, for L = window + R + 1."""
        keys = self._lane.window + self._lane.frames
        like = self._model.encoder_projector.weight
        distances = torch.arange(keys - 1, -keys, -1, device=like.device, dtype=torch.float32)
        angles = distances[:, None] * self._encoder.encode_positions.inv_freq.to(like.device).float()
        embedding = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(like.dtype)
        return tuple(
            layer.self_attn.relative_k_proj(embedding)
            .unflatten(1, (self._heads, self._head_size))
            .permute(1, 2, 0)
            .contiguous()
            for layer in self._encoder.layers
        )

    def _distance_columns(self) -> torch.Tensor:
        """Columns of ``_positions``, of the distance from each query to each key: [1, 1, R + 1, window + R + 1]."""
        window, frames = self._lane.window, self._lane.frames
        keys = window + frames
        device = self._pools.keys.device
        queries = torch.arange(frames, device=device)
        return ((keys - 1 - window - queries)[:, None] + torch.arange(keys, device=device))[None, None]


def _pointwise(convolution: Any, x: torch.Tensor) -> torch.Tensor:
    """A convolution of width 1 over ``x`` [rows, frames, channels]."""
    out: torch.Tensor = functional.linear(x, convolution.weight[:, :, 0], convolution.bias)
    return out
