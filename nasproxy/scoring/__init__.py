"""Scoring without training: costs of an architecture, and scores of its freshly initialised nets.

`costs` counts parameters and FLOPs, `gradients`, `separation` and `blocks` hold the formulas, `training_free` is the
registry of scores and averages them over seeds.
"""

from nasproxy.scoring.costs import Costs, measure_costs
from nasproxy.scoring.training_free import SCORES, TrainingFreeScore, score_nets

__all__ = ["SCORES", "Costs", "TrainingFreeScore", "measure_costs", "score_nets"]
