"""The mask decoder for export, with matrix products re-associated: the same function with much less computation.

A prompt has about seven tokens, an image 4096 cells. The plain decoder projects every cell (4096 × 256 × 128, four
times a block) to meet the tokens' width. Matrix products may be taken in another order: project the tokens to the
cells' width instead, and let the cells be as they are.

    scores  (cells Wk + bk)·q   =  cells·(Wkᵀ q) + bk·q
    values  a (cells Wv + bv)   =  (a cells) Wv + bv          the attention a of a token sums to 1
    queries (cells Wq + bq)·k   =  cells·(Wqᵀ k) + bq·k
    outputs (a v) Wo + bo       =  a (v Wo) + bo              head by head

And while no prompt has a mask, all prompts of a call see the same cells in the first block: there the cells have a
batch of one (M), and only what the tokens wrote into them has one of N.

Weights are used as they are stored, so an exported graph still is a checkpoint. A test holds this to the plain form.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.contract import NUM_MASKS, PATCH_SIZE
from mobilesam.model.layers import LayerNorm2d, static_shape
from mobilesam.model.mask_decoder import MaskDecoder
from mobilesam.model.sam import Sam
from mobilesam.model.transformer import Attention, TwoWayAttentionBlock, TwoWayTransformer

NUM_OUTPUT_TOKENS = 1 + NUM_MASKS
"""Tokens before those of the prompt: one for the scores, one for each mask."""

# N prompts, S of them sure enough, M = N where prompts have photos or masks of their own, else 1
# T tokens, K image cells, C channels, h heads, d width of a head


def decode(
    sam: Sam,
    embedding: Tensor,
    point_coords: Tensor,
    point_labels: Tensor,
    mask_input: Tensor,
    has_mask_input: Tensor,
    min_score: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`Sam.decode` in folded form.

    Args:
        embedding: (1, C, g, g), or (N, C, g, g): a photo for each prompt.
        mask_input: (M, 1, 4g, 4g), one for all prompts or one each.
        has_mask_input: (M,)
        min_score: () prompts whose best score is not above it get no masks; None makes masks for all.
    """
    height, width = embedding.shape[2:]
    input_hw = (height * PATCH_SIZE, width * PATCH_SIZE)
    sparse = sam.prompt_encoder.embed_points(point_coords, point_labels, input_hw)
    dense = sam.prompt_encoder.embed_masks(mask_input, has_mask_input)
    image = embedding + dense  # (M, C, g, g), M = N where prompts have photos or masks of their own
    image_pe = sam.prompt_encoder.pe_layer.grid(height, width)
    return predict_masks(sam.mask_decoder, image, image_pe, sparse, min_score)


def predict_masks(
    decoder: MaskDecoder,
    image: Tensor,
    image_pe: Tensor,
    sparse: Tensor,
    min_score: Tensor | None,
    token_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(M, C, g, g) cells, (C, g, g) positions, (N, P, C) prompt tokens → (S, 4, 4g, 4g) logits, (N, 4) scores.

    `token_bias` (N, T) is added to the attention scores of each token, to leave some out.
    """
    h, w = image.shape[2:]
    tokens = first_tokens(decoder, sparse)
    cells = image.flatten(2).transpose(1, 2)  # (M, K, C)
    tokens, cells = transform(decoder.transformer, cells, image_pe.flatten(1).T[None], tokens, token_bias)
    scores = decoder.iou_prediction_head(tokens[:, 0])
    if min_score is not None:  # scores need the tokens alone; a third of the work lies behind this line
        sure = (scores.amax(dim=1) > min_score).nonzero()[:, 0]  # (S,)
        tokens, cells = tokens[sure], cells[sure]
    matrix, bias = as_product(decoder.output_upscaling[0])
    product = torch.addmm(bias, cells.flatten(0, 1), matrix)  # (SK, C)
    upscaled = finish_upscaling(decoder.output_upscaling, product, h * w)  # (S, 16K, C/8)
    return to_logits(decoder, tokens[:, 1 : 1 + NUM_MASKS], upscaled, (h, w)), scores


def first_tokens(decoder: MaskDecoder, sparse: Tensor) -> Tensor:
    """Put the output tokens before the prompt tokens (N, P, C): (N, 1 + 4 + P, C)."""
    output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])[None]  # (1, 1 + 4, C)
    # Added to zeros of the prompts' shape rather than expanded: exporters write an Expand as a dozen nodes.
    return torch.cat([output_tokens + 0 * sparse[:, :1], sparse], dim=1)


def finish_upscaling(upscaling: nn.Sequential, product: Tensor, num_cells: int) -> Tensor:
    """Apply the up-scaling after its first convolution, from (NK, C) cells on: (N, 16K, C/8).

    The channels stay last throughout, so that nothing large is moved in memory; the four sub-pixels of a cell lie one
    after the other.
    """
    _, norm, _, second, _ = upscaling
    assert isinstance(norm, LayerNorm2d)
    c = static_shape(product)[1]
    x = F.gelu(norm.channels_last(product.reshape(-1, c // 4)))  # (4NK, C/4)
    matrix, bias = as_product(second)
    x = torch.addmm(bias, x, matrix).reshape(-1, c // 8)  # (16NK, C/8)
    return F.gelu(x).reshape(-1, 16 * num_cells, c // 8)


def as_product(convolution: nn.Module) -> tuple[Tensor, Tensor]:
    """Convert a transposed 2×2 convolution of stride 2 to one product per cell: matrix (in, 4*out), bias (4*out,)."""
    assert isinstance(convolution, nn.ConvTranspose2d)
    assert convolution.bias is not None
    inner, outer, _, _ = static_shape(convolution.weight)
    return convolution.weight.permute(0, 2, 3, 1).reshape(inner, 4 * outer), convolution.bias.repeat(4)


def to_logits(decoder: MaskDecoder, mask_tokens: Tensor, upscaled: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mask tokens (N, 4, C) and the up-scaled image (N, 16K, C/8) → (N, 4, 4g, 4g)."""
    h, w = grid
    weights = [mlp(mask_tokens[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
    masks = torch.stack(weights, dim=1) @ upscaled.transpose(1, 2)  # (N, 4, 16K)
    # The sub-pixels of each cell lie together; only now, with four channels left, they go to their places.
    # In two steps, because CoreML takes five dimensions and ExecuTorch's XNNPACK six.
    masks = masks.reshape(-1, 2, 2, 2, 2).transpose(2, 3)  # (4Ngg, y, y', x, x')
    masks = masks.reshape(-1, w, 4, 4).transpose(1, 2).reshape(-1, NUM_MASKS, 4 * h, 4 * w)  # from (4Ng, g, 4, 4)
    return decoder.calibrate(masks)


def transform(
    transformer: TwoWayTransformer, cells: Tensor, cell_pe: Tensor, tokens: Tensor, token_bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The two-way transformer: (M, K, C) cells, (1, K, C) positions, (N, T, C) tokens → tokens, (N, K, C) cells."""
    token_pe = tokens
    for layer in transformer.layers:
        assert isinstance(layer, TwoWayAttentionBlock)
        tokens, cells = block(layer, cells, cell_pe, tokens, token_pe, token_bias)
    final = transformer.final_attn_token_to_image
    attended = token_to_image(final, tokens + token_pe, cells + cell_pe, cells)
    return transformer.norm_final_attn(tokens + attended), cells


def block(
    layer: TwoWayAttentionBlock,
    cells: Tensor,
    cell_pe: Tensor,
    tokens: Tensor,
    token_pe: Tensor,
    token_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute one block with the same steps as `TwoWayAttentionBlock.forward`."""
    to_each_other = None if token_bias is None else token_bias[:, None, None]  # (N, 1, 1, T)
    tokens = layer.read_each_other(tokens, token_pe, to_each_other)
    keys = cells + cell_pe
    tokens = layer.norm2(tokens + token_to_image(layer.cross_attn_token_to_image, tokens + token_pe, keys, cells))
    tokens = layer.norm3(tokens + layer.mlp(tokens))
    written = image_to_token(layer.cross_attn_image_to_token, keys, tokens + token_pe, tokens, token_bias)
    return tokens, layer.norm4(cells + written)


def token_to_image(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of tokens (N, T, C) to cells (M, K, C): (N, T, C)."""
    h = attention.num_heads
    t, c = queries.shape[1], static_shape(keys)[2]
    q = attention.heads(attention.q_proj(queries))  # (N, h, T, d)
    q = q * static_shape(q)[3] ** -0.5
    probes = (q @ per_head_in(attention.k_proj.weight, h)).flatten(1, 2)  # (N, hT, C)
    bias = (q @ attention.k_proj.bias.view(h, -1, 1)).flatten(1, 2)  # (N, hT, 1)
    weights = (probes @ keys.transpose(1, 2) + bias).softmax(dim=-1)  # (N, hT, K)
    read = (weights @ values).reshape(-1, h, t, c)
    heads = read @ per_head_in(attention.v_proj.weight, h).transpose(1, 2)  # (N, h, T, d)
    return attention.out_proj(heads.transpose(1, 2).flatten(2) + attention.v_proj.bias)


def image_to_token(
    attention: Attention, queries: Tensor, keys: Tensor, values: Tensor, token_bias: Tensor | None = None
) -> Tensor:
    """Attention of cells (M, K, C) to tokens (N, T, C): (N, K, C)."""
    h = attention.num_heads
    t = keys.shape[1]
    k = attention.heads(attention.k_proj(keys))  # (N, h, T, d)
    k = k * static_shape(k)[3] ** -0.5
    probes = (k @ per_head_in(attention.q_proj.weight, h)).flatten(1, 2)  # (N, hT, C)
    bias = (k @ attention.q_proj.bias.view(h, -1, 1)).flatten(1, 2)  # (N, hT, 1)
    scores = probes @ queries.transpose(1, 2) + bias  # (N, hT, K)
    scores = scores.reshape(-1, h, t, scores.shape[2])  # (N, h, T, K)
    if token_bias is not None:
        scores = scores + token_bias[:, None, :, None]
    weights = scores.softmax(dim=2).flatten(1, 2)  # (N, hT, K), over the tokens of a head
    v = attention.heads(attention.v_proj(values))  # (N, h, T, d)
    # Each head's weights sum to 1, so the bias may be given to the tokens, a share by each head.
    written = v @ per_head_out(attention.out_proj.weight, h) + attention.out_proj.bias / h  # (N, h, T, C)
    return weights.transpose(1, 2) @ written.flatten(1, 2)


def per_head_in(weight: Tensor, num_heads: int) -> Tensor:
    """Split an input projection (hd, C) by head: (h, d, C)."""
    return weight.view(num_heads, -1, static_shape(weight)[1])


def per_head_out(weight: Tensor, num_heads: int) -> Tensor:
    """Split an output projection (C, hd) by head and transpose it: (h, d, C)."""
    return weight.T.reshape(num_heads, -1, static_shape(weight)[0])
