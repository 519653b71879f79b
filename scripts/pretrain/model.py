"""The BitNet b1.58 decoder for quantization-aware training in PyTorch: the model of docs/ARITHMETIC.md in floating
point.

Ma et al., "The Era of 1-bit LLMs: All Large Language Models are in 1.58 Bits", 2024, and "BitNet b1.58 2B4T Technical
Report", 2025, describe it: absmean ternary weights, per-token absmax int8 activations, straight-through gradients,
sub-norms, squared ReLU, rotary positions, grouped-query attention, a tied head.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    layers: int = 6
    width: int = 256
    heads: int = 8
    kv_heads: int = 4
    head_dim: int = 32
    ffn_width: int = 768
    vocab: int = 1024
    context: int = 256
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5


def through(x, quantized):
    """Returns `quantized` in the forward pass; the backward pass treats it as `x` (straight-through estimator)."""
    return x + (quantized - x).detach()


def ternary(w):
    """Quantizes weights by their absolute mean; returns the trits and the scale by which they are multiplied."""
    scale = w.abs().mean().clamp(min=1e-5)
    return (w / scale).round().clamp(-1, 1), scale


class BitLinear(nn.Linear):
    """A linear layer with ternary weights and int8 inputs.

    `adapter` is None or (A [rank, in], B [out, rank], alpha / rank).
    """

    adapter = None

    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features, bias=False)
        nn.init.normal_(self.weight, std=in_features**-0.5)

    def forward(self, x):
        scale = 127 / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
        x = through(x, (x * scale).round().clamp(-128, 127) / scale)
        trits, unit = ternary(self.weight)
        y = F.linear(x, through(self.weight, trits * unit))
        if self.adapter is not None:
            a, b, scaling = self.adapter
            y = y + scaling * F.linear(F.linear(x, a), b)
        return y


def rotate(x, cos, sin):
    """Applies the rotary position embedding, which pairs feature i with feature i + head_dim / 2."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        norm = lambda width: nn.RMSNorm(width, eps=c.norm_epsilon)
        q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
        self.input_layernorm, self.attn_sub_norm = norm(c.width), norm(q)
        self.post_attention_layernorm, self.ffn_sub_norm = norm(c.width), norm(c.ffn_width)
        self.q_proj, self.k_proj, self.v_proj = BitLinear(c.width, q), BitLinear(c.width, kv), BitLinear(c.width, kv)
        self.o_proj = BitLinear(q, c.width)
        self.gate_proj, self.up_proj = BitLinear(c.width, c.ffn_width), BitLinear(c.width, c.ffn_width)
        self.down_proj = BitLinear(c.ffn_width, c.width)

    def forward(self, h, cos, sin):
        c, (batch, tokens, _) = self.c, h.shape
        n = self.input_layernorm(h)
        heads = lambda y, count: y.view(batch, tokens, count, c.head_dim).transpose(1, 2)
        q = rotate(heads(self.q_proj(n), c.heads), cos, sin)
        k = rotate(heads(self.k_proj(n), c.kv_heads), cos, sin)
        v = heads(self.v_proj(n), c.kv_heads)
        k, v = (x.repeat_interleave(c.heads // c.kv_heads, dim=1) for x in (k, v))
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        o = o.transpose(1, 2).reshape(batch, tokens, c.heads * c.head_dim)
        h = h + self.o_proj(self.attn_sub_norm(o))
        n = self.post_attention_layernorm(h)
        return h + self.down_proj(self.ffn_sub_norm(F.relu(self.gate_proj(n)).square() * self.up_proj(n)))


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c.vocab, c.width)
        nn.init.normal_(self.embed_tokens.weight, std=c.width**-0.5)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = nn.RMSNorm(c.width, eps=c.norm_epsilon)
        frequency = c.rope_theta ** (-torch.arange(0, c.head_dim, 2) / c.head_dim)
        angle = torch.arange(c.context)[:, None] * frequency
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids):
        """Returns the logits [batch, tokens, vocab] of token IDs [batch, tokens]."""
        h = self.embed_tokens(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for layer in self.layers:
            h = layer(h, cos, sin)
        return F.linear(self.norm(h), self.embed_tokens.weight)

    def loss(self, ids, labels):
        """Returns the mean cross-entropy in nats over the tokens that have a label."""
        return F.cross_entropy(self(ids).flatten(0, 1).float(), labels.flatten())
