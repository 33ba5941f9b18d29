"""Image sets as pictures."""

from pathlib import Path

import torch

from nasproxy.files import write_atomically
from nasproxy.images.imageset import ImageSet


def save_picture_grid(images: ImageSet, path: Path, *, max_per_class: int = 50, min_side: int = 32) -> None:
    """Writes a PNG of the set, one row per class, with pixels clamped to the visible range.

    Args:
        images: the set, any device.
        path: the PNG file.
        max_per_class: maximum number of images per row.
        min_side: smaller images are enlarged by a whole factor to at least this side.
    """
    from torchvision.transforms.functional import to_pil_image  # takes more than a second
    from torchvision.utils import make_grid

    columns = min(max_per_class, max(len(index) for index in images.class_indices))
    unit = 255.0 if images.images.dtype == torch.uint8 else 1.0
    blank = torch.ones(columns, *images.image_shape)
    rows = []
    for index in images.class_indices:
        row = blank.clone()
        shown = index[:columns]
        row[: len(shown)] = images.images[shown].cpu().float().div(unit).clamp(0, 1)
        rows.append(row)
    factor = -(-min_side // min(images.image_shape[1:]))
    tiles = torch.cat(rows).repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    picture = to_pil_image(make_grid(tiles, nrow=columns, padding=2, pad_value=1.0))
    write_atomically(path, picture.save)
