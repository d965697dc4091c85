"""The mask decoder for many prompts per photo: shared parts are computed once, the others as low-rank updates.

A prompt's seven tokens write into 4096 cells of 256 channels, but what they write has the rank of their attention: one
row of 256 channels for each head and token (56), spread over the cells by weights. The cells are never built. They are

    cells = scale ∘ (image + Σ weightsᵀ rows) + offset

with an image (K, C) that all prompts share. Every product of the decoder splits along that sum: the shared part is
projected once for all prompts, the written part is a product of two small matrices. A layer norm needs each cell's
length, which splits the same way, |a + b|² = |a|² + 2ab + |b|², and leaves a sum of the same form. This is exact; a
test holds it to the plain form.

Scores need the final attention of one token only; the other tokens and the masks are computed only for prompts whose
score is high enough. For one prompt `mobilesam.export.folded` is cheaper; mask inputs are supported only there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.contract import NUM_MASKS, PATCH_SIZE
from mobilesam.export.folded import as_product, finish_upscaling, first_tokens, per_head_in, to_logits
from mobilesam.model.layers import static_shape
from mobilesam.model.mask_decoder import MaskDecoder
from mobilesam.model.sam import Sam
from mobilesam.model.transformer import Attention, TwoWayAttentionBlock, TwoWayTransformer

# N prompts, S of them sure enough, T tokens, K image cells, C channels, h heads, d width of a head


@dataclass(frozen=True)
class Written:
    """The low-rank update of the cells by the tokens of one block: weightsᵀ rows."""

    weights: Tensor
    """(N, hT, K) how much of each row a cell got."""
    rows: Tensor
    """(N, hT, C) equal to `values @ basis`."""
    values: Tensor
    """(N, h, T, d + 1)"""
    basis: Tensor
    """(h, d + 1, C) the same for all prompts, so that products with the image are too."""


@dataclass(frozen=True)
class Cells:
    """Image cells in factored form, scale ∘ (image + Σ weightsᵀ rows) + offset; the (N, K, C) array is never built."""

    image: Tensor
    """(K, C) shared by all prompts."""
    scale: Tensor
    """(N, 1, K), or (1, 1, 1) before anything is written."""
    written: tuple[Written, ...]
    offset: Tensor
    """(C,)"""

    def of(self, prompts: Tensor) -> Cells:
        """The cells of some of the prompts."""
        kept = [
            replace(w, weights=w.weights[prompts], rows=w.rows[prompts], values=w.values[prompts]) for w in self.written
        ]
        return replace(self, scale=self.scale[prompts], written=tuple(kept))


def decode(
    sam: Sam, embedding: Tensor, point_coords: Tensor, point_labels: Tensor, min_score: Tensor
) -> tuple[Tensor, Tensor]:
    """`folded.decode` for one photo, (1, C, g, g), and prompts without masks."""
    h, w = embedding.shape[2:]
    sparse = sam.prompt_encoder.embed_points(point_coords, point_labels, (h * PATCH_SIZE, w * PATCH_SIZE))
    image = embedding[0].flatten(1).T + sam.prompt_encoder.no_mask_embed.weight  # (K, C)
    positions = sam.prompt_encoder.pe_layer.grid(h, w).flatten(1).T  # (K, C)
    return predict_masks(sam.mask_decoder, image, positions, sparse, min_score, (h, w))


def predict_masks(
    decoder: MaskDecoder, image: Tensor, positions: Tensor, sparse: Tensor, min_score: Tensor, grid: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """(K, C) image and positions of its cells, (N, P, C) prompt tokens → (S, 4, 4g, 4g) logits, (N, 4) scores."""
    tokens = token_pe = first_tokens(decoder, sparse)
    cells = Cells(image, image.new_ones(1, 1, 1), (), image.new_zeros(image.shape[1:]))
    for layer in decoder.transformer.layers:
        assert isinstance(layer, TwoWayAttentionBlock)
        tokens, cells = block(layer, cells, positions, tokens, token_pe)
    iou_token = last_look(decoder.transformer, cells, positions, tokens[:, :1], token_pe[:, :1])
    scores = decoder.iou_prediction_head(iou_token[:, 0])
    sure = (scores.amax(dim=1) > min_score).nonzero()[:, 0]  # (S,)
    cells, outputs = cells.of(sure), slice(1, 1 + NUM_MASKS)
    mask_tokens = last_look(decoder.transformer, cells, positions, tokens[sure, outputs], token_pe[sure, outputs])
    product = times(cells, *as_product(decoder.output_upscaling[0])).flatten(0, 1)  # (SK, C)
    upscaled = finish_upscaling(decoder.output_upscaling, product, image.shape[0])  # (S, 16K, C/8)
    return to_logits(decoder, mask_tokens, upscaled, grid), scores


def block(
    layer: TwoWayAttentionBlock, cells: Cells, positions: Tensor, tokens: Tensor, token_pe: Tensor
) -> tuple[Tensor, Cells]:
    """Compute one block with the same steps as `TwoWayAttentionBlock.forward`."""
    tokens = layer.read_each_other(tokens, token_pe)
    tokens = layer.norm2(tokens + read(layer.cross_attn_token_to_image, tokens + token_pe, cells, positions))
    tokens = layer.norm3(tokens + layer.mlp(tokens))
    cells = write(layer.cross_attn_image_to_token, cells, positions, tokens + token_pe, tokens)
    return tokens, normalise(layer.norm4, cells)


def last_look(
    transformer: TwoWayTransformer, cells: Cells, positions: Tensor, tokens: Tensor, token_pe: Tensor
) -> Tensor:
    """Apply the transformer's final attention from tokens to image cells: (N, T, C)."""
    attended = read(transformer.final_attn_token_to_image, tokens + token_pe, cells, positions)
    return transformer.norm_final_attn(tokens + attended)


def read(attention: Attention, queries: Tensor, cells: Cells, positions: Tensor) -> Tensor:
    """Attention of tokens (N, T, C) to the cells: (N, T, C)."""
    h, t = attention.num_heads, queries.shape[1]
    c = static_shape(cells.image)[1]
    q = attention.heads(attention.q_proj(queries))  # (N, h, T, d)
    # A softmax over the cells does not see what is the same for all of them, such as the projection's bias.
    scores = meet(q * static_shape(q)[3] ** -0.5, cells, positions, attention.k_proj.weight)
    weights = scores.softmax(dim=-1) * cells.scale  # (N, hT, K)
    own = project(cells.image, attention.v_proj.weight, h)
    values = by_head(weights, h, t) @ own.transpose(2, 3)  # (N, h, T, d)
    for part in cells.written:
        got = (weights @ part.weights.transpose(1, 2) @ part.rows).reshape(-1, h, t, c)
        values = values + got @ per_head_in(attention.v_proj.weight, h).transpose(1, 2)
    joined = values.transpose(1, 2).reshape(-1, t, h * static_shape(values)[3])  # (N, T, hd)
    return attention.out_proj(joined + attention.v_proj(cells.offset))


def write(attention: Attention, cells: Cells, positions: Tensor, queries: Tensor, values: Tensor) -> Cells:
    """Add the attention of the cells to tokens (N, T, C), as another low-rank update."""
    h, t = attention.num_heads, queries.shape[1]
    c = static_shape(cells.image)[1]
    q = attention.heads(attention.k_proj(queries))  # (N, h, T, d)
    bias = attention.q_proj(cells.offset)
    scores = meet(q * static_shape(q)[3] ** -0.5, cells, positions, attention.q_proj.weight, bias)
    scores = by_head(scores, h, t)  # (N, h, T, K)
    # A softmax over the tokens of a head; written out because runtimes are slow on any but the last dimension.
    likely = (scores - scores.amax(dim=2, keepdim=True)).exp()
    weights = likely / (likely.sum(dim=2, keepdim=True) * cells.scale[:, None])  # the scale is applied to all terms
    # Each head's weights sum to 1, so what every cell gets may be given to the tokens, a share by each head.
    everywhere = ((attention.out_proj.bias + cells.offset) / h).expand(h, 1, c)
    basis = torch.cat([attention.out_proj.weight.T.reshape(h, -1, c), everywhere], dim=1)  # (h, d + 1, C)
    v = F.pad(attention.heads(attention.v_proj(values)), (0, 1), value=1.0)  # (N, h, T, d + 1)
    new = Written(weights.reshape(-1, h * t, cells.image.shape[0]), (v @ basis).flatten(1, 2), v, basis)
    return replace(cells, written=(*cells.written, new), offset=torch.zeros_like(cells.offset))


def normalise(norm: nn.LayerNorm, cells: Cells) -> Cells:
    """Apply a layer norm over the channels of cells that have no offset yet."""
    image = centred(cells.image)
    written = tuple(replace(w, rows=centred(w.rows), basis=centred(w.basis)) for w in cells.written)
    length = squared_length(image, written) * cells.scale**2  # (N, 1, K)
    scale = cells.scale * (length.clamp(min=0) / static_shape(image)[1] + norm.eps).rsqrt()
    gained = tuple(replace(w, rows=w.rows * norm.weight, basis=w.basis * norm.weight) for w in written)
    return Cells(image * norm.weight, scale, gained, norm.bias)


def squared_length(image: Tensor, written: tuple[Written, ...]) -> Tensor:
    """Squared length of each cell of image + Σ weightsᵀ rows: (N, 1, K)."""
    total = (image * image).sum(dim=1)[None, None]
    for i, part in enumerate(written):
        heads = static_shape(part.basis)[0]
        with_image = 2 * part.values @ project(image, part.basis.flatten(0, 1), heads)  # (N, h, T, K)
        meets = with_image.flatten(1, 2) + part.rows @ part.rows.transpose(1, 2) @ part.weights  # (N, hT, K)
        for earlier in written[:i]:
            meets = meets + 2 * part.rows @ earlier.rows.transpose(1, 2) @ earlier.weights
        total = total + (meets * part.weights).sum(dim=1, keepdim=True)
    return total


def meet(tokens: Tensor, cells: Cells, positions: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute products of tokens (N, h, T, d) with the projected cells and their positions: (N, hT, K)."""
    _, h, _, _ = static_shape(tokens)
    t = tokens.shape[2]
    k, c = cells.image.shape[0], static_shape(cells.image)[1]
    if not cells.written:  # then image and positions are all there is, the same for every prompt
        return (tokens @ project(cells.image + positions, weight, h, bias)).reshape(-1, h * t, k)
    found = (tokens @ project(cells.image, weight, h)).reshape(-1, h * t, k)
    probes = (tokens @ per_head_in(weight, h)).reshape(-1, h * t, c)
    for part in cells.written:
        found = found + probes @ part.rows.transpose(1, 2) @ part.weights
    return cells.scale * found + (tokens @ project(positions, weight, h, bias)).reshape(-1, h * t, k)


def times(cells: Cells, matrix: Tensor, bias: Tensor) -> Tensor:
    """Compute cells @ matrix (C, out) + bias (out,): (N, K, out)."""
    # Joined while they are small: every pass over (N, K, out) counts.
    weights = torch.cat([part.weights for part in cells.written], dim=1)
    rows = torch.cat([part.rows for part in cells.written], dim=1) @ matrix
    product = cells.image @ matrix + weights.transpose(1, 2) @ rows
    return cells.scale.transpose(1, 2) * product + (cells.offset @ matrix + bias)


def project(image: Tensor, weight: Tensor, num_heads: int, bias: Tensor | None = None) -> Tensor:
    """Project (K, C) by (hd, C) and split by head: (1, h, d, K). The same for all prompts."""
    product = weight @ image.T
    if bias is not None:
        product = product + bias[:, None]
    return product.reshape(1, num_heads, static_shape(product)[0] // num_heads, -1)


def by_head(x: Tensor, num_heads: int, num_tokens: int) -> Tensor:
    """Split the first axis of tokens by head: (N, hT, K) → (N, h, T, K)."""
    return x.reshape(-1, num_heads, num_tokens, x.shape[2])


def centred(x: Tensor) -> Tensor:
    """Subtract the mean over the channels, the last dimension."""
    return x - x.mean(dim=-1, keepdim=True)
