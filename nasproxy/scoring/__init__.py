"""Scoring without training: costs of an architecture, and scores of its freshly initialised nets.

`costs` counts parameters and FLOPs, `latency` times a forward pass, `gradients`, `separation` and `blocks` hold the
formulas, `training_free` is the registry of scores and averages them over seeds.
"""

from nasproxy.scoring.costs import Costs, measure_costs
from nasproxy.scoring.latency import measure_latency
from nasproxy.scoring.training_free import SCORES, TrainingFreeScore, score_nets

__all__ = ["SCORES", "Costs", "TrainingFreeScore", "measure_costs", "measure_latency", "score_nets"]
