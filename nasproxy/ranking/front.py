"""What is worth its cost: the Pareto front of a score against a cost."""

import math
from collections.abc import Sequence


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Indices of the points that no other one beats at the same cost or less, cheapest first.

    Args:
        costs: (A,) lower is better.
        scores: (A,) higher is better.
    """
    front: list[int] = []
    best = -math.inf
    for index in sorted(range(len(costs)), key=lambda index: (costs[index], -scores[index])):
        if scores[index] > best:
            best = scores[index]
            front.append(index)
    return front
