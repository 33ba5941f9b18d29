"""Images: load, split, sample, save. See `imageset` (one set), `loading` (splits), `datasets` and `folder` (files)."""

from nasproxy.images.datasets import DATASETS
from nasproxy.images.imageset import ImageSet, make_generator
from nasproxy.images.loading import ImageData, load_images
from nasproxy.images.pictures import save_picture_grid

__all__ = ["DATASETS", "ImageData", "ImageSet", "load_images", "make_generator", "save_picture_grid"]
