"""Images: load, split, batch, keep. See `imageset` (one set), `loading` (named sets), `folder` (your own images)."""

from nasproxy.images.imageset import ImageSet, make_generator
from nasproxy.images.loading import DATASETS, ImageData, load_images
from nasproxy.images.pictures import save_picture_grid

__all__ = ["DATASETS", "ImageData", "ImageSet", "load_images", "make_generator", "save_picture_grid"]
