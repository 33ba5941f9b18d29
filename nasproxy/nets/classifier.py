"""The form of every net: a body that embeds images, and a linear head.

Notation: N images, C channels, H height, W width, F features, K classes.
"""

from torch import Tensor, nn


class Classifier(nn.Module):
    """A body whose output is flattened, and a linear head."""

    def __init__(self, body: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(num_features, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, F): the input of the head."""
        features: Tensor = self.body(images)
        return features.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K) logits."""
        logits: Tensor = self.head(self.embed(images))
        return logits
