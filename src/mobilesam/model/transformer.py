"""SAM's two-way transformer: prompt tokens and image cells attend to each other (arXiv 2304.02643, figure 14)."""

from __future__ import annotations

from torch import Tensor, nn

from mobilesam.model.layers import MLPBlock, attention

# N prompts, T tokens, K image cells, C channels


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than its channels."""

    def __init__(self, dim: int, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        inner = dim // downsample_rate
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        q, k, v = (self.heads(p(x)) for p, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v)))
        return self.out_proj(attention(q, k, v, bias).transpose(1, 2).flatten(2))

    def heads(self, x: Tensor) -> Tensor:
        """Split the channels by head: (N, T, inner) → (N, h, T, inner/h)."""
        return x.reshape(-1, x.shape[1], self.num_heads, int(x.shape[2]) // self.num_heads).transpose(1, 2)


class TwoWayAttentionBlock(nn.Module):
    """Tokens attend to themselves, then to the image, then a feed-forward; then the image attends to the tokens."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim, num_heads, downsample_rate=2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLPBlock(dim, mlp_dim, nn.ReLU())
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, num_heads, downsample_rate=2)

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.read_each_other(tokens, token_pe)
        image_keys = image + image_pe
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, image_keys, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.cross_attn_image_to_token(image_keys, tokens + token_pe, tokens)
        return tokens, self.norm4(image)

    def read_each_other(self, tokens: Tensor, token_pe: Tensor, bias: Tensor | None = None) -> Tensor:
        """The self-attention of the tokens: (N, T, C); `bias` (N, 1, 1, T) is added to its scores."""
        if self.first:  # the tokens still are their own position code
            tokens = self.self_attn(tokens, tokens, tokens, bias)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens, bias)
        return self.norm1(tokens)


class TwoWayTransformer(nn.Module):
    """Two-way blocks, then a final attention of the tokens to the image."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayAttentionBlock(dim, num_heads, mlp_dim, first=i == 0) for i in range(depth))
        self.final_attn_token_to_image = Attention(dim, num_heads, downsample_rate=2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Update tokens and cells: (N, K, C) cells, (1, K, C) positions, (N, T, C) tokens → tokens and cells."""
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        attended = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + attended), image
