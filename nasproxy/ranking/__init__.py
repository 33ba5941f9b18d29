"""How far one ranking of architectures can be trusted as a stand-in for another: arrays in, numbers out.

Notation: A architectures, S seeds, P proxies. Scores are higher-is-better, finite, of shape (A,) or, seed by seed,
(A, S); rows of architectures with fewer seeds end with NaN.

No function returns NaN. What a figure cannot say is said: `Estimate.value` is None and `Estimate.note` has the reason
(too few architectures, scores that are all equal, one seed). Signs are kept: a proxy that anti-correlates shows a
negative value.
"""

from nasproxy.ranking.combination import MIN_TRUTHS as MIN_TRUTHS
from nasproxy.ranking.combination import FittedCombination as FittedCombination
from nasproxy.ranking.combination import average_ranks as average_ranks
from nasproxy.ranking.combination import fit_combination as fit_combination
from nasproxy.ranking.combination import include_fit as include_fit
from nasproxy.ranking.correlation import correlate as correlate
from nasproxy.ranking.diagnosis import Diagnosis as Diagnosis
from nasproxy.ranking.diagnosis import diagnose as diagnose
from nasproxy.ranking.difference import Difference as Difference
from nasproxy.ranking.difference import adjust_p_values as adjust_p_values
from nasproxy.ranking.difference import compare_correlations as compare_correlations
from nasproxy.ranking.difference import compare_methods as compare_methods
from nasproxy.ranking.effects import factor_effects as factor_effects
from nasproxy.ranking.estimate import Estimate as Estimate
from nasproxy.ranking.front import pareto_front as pareto_front
from nasproxy.ranking.noise import ceiling as ceiling
from nasproxy.ranking.noise import reliability as reliability
from nasproxy.ranking.resolution import Resolution as Resolution
from nasproxy.ranking.resolution import accuracy_intervals as accuracy_intervals
from nasproxy.ranking.resolution import answer_error as answer_error
from nasproxy.ranking.resolution import resolve as resolve
from nasproxy.ranking.sampling import sample_stratified as sample_stratified
from nasproxy.ranking.scores import count_seeds as count_seeds
from nasproxy.ranking.scores import mean_over_seeds as mean_over_seeds
from nasproxy.ranking.selection import count_of as count_of
from nasproxy.ranking.selection import noise_regret as noise_regret
from nasproxy.ranking.selection import precision_at as precision_at
from nasproxy.ranking.selection import random_regret_curve as random_regret_curve
from nasproxy.ranking.selection import regret_at as regret_at
from nasproxy.ranking.selection import regret_curve as regret_curve
from nasproxy.ranking.selection import select_top as select_top
from nasproxy.ranking.sets import SetNoise as SetNoise
from nasproxy.ranking.sets import correlate_sets as correlate_sets
from nasproxy.ranking.sets import set_noise as set_noise
