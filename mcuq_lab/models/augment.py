"""Training batches from images held in memory as uint8: random crop, flip, pixel / 255."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_images(images: Tensor, margin_px: int) -> Tensor:
    """Reflect-pad uint8 NHWC images once, so that a random crop is only an index: NHWC uint8."""
    nchw = images.permute(0, 3, 1, 2)
    # Reflection is not implemented for uint8; pieces keep the float copy small.
    pieces = [
        F.pad(piece.float(), (margin_px,) * 4, mode="reflect").to(torch.uint8)
        for piece in nchw.split(4096)
    ]
    return torch.cat(pieces).permute(0, 2, 3, 1).contiguous()


def random_crop_flip(
    padded: Tensor,
    rows: Tensor,
    size_px: tuple[int, int],
    *,
    flip: bool,
    generator: torch.Generator,
) -> Tensor:
    """Crops from the padded images in `rows`, mirrored with probability 1/2 if `flip`.

    padded: NHWC uint8; rows: int64 (B,); size_px: height and width. Returns (B, h, w, C) uint8.
    """
    batch = rows.numel()
    height, width = size_px
    dy = torch.randint(padded.shape[1] - height + 1, (batch,), generator=generator)
    dx = torch.randint(padded.shape[2] - width + 1, (batch,), generator=generator)
    windows = padded.unfold(1, height, 1).unfold(2, width, 1)
    crops = windows[rows, dy, dx].permute(0, 2, 3, 1)
    if flip:
        mirrored = torch.rand(batch, generator=generator) < 0.5
        crops = torch.where(mirrored[:, None, None, None], crops.flip(2), crops)
    return crops.contiguous()


def to_input(images: Tensor) -> Tensor:
    """uint8 NHWC -> float32 NCHW (channels_last in memory), pixel / 255 in [0, 1]."""
    x = images.permute(0, 3, 1, 2).float().div_(255.0)
    return x.contiguous(memory_format=torch.channels_last)
