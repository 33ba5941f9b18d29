"""`python -m benchmarks.statistics [TABLE …] [--seed SEED]`: do the statements of a comparison hold?

Architectures are drawn from populations in which the answer is known, ugly ones too, and every statement is made many
times. A table has one row per case and number of architectures, with the number of draws. Statistics were chosen by
seed 0; levels in docstrings are of seed 1. The cases:

- normal: truth, noise that proxies share and noise of their own are normal;
- misjudged: as normal, 5 % of the architectures, each proxy its own, have a wide random score instead;
- extreme: the same with scores far outside, on either side;
- heavy: noise by Student's t with 2 degrees of freedom;
- cone, cone-down: noise grows, or falls, with the true quality.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nasproxy import ranking
from nasproxy.ranking import combination, difference, selection
from nasproxy.ranking.jackknife import clip_perfect, jackknife_error, spearman, spearman_value
from nasproxy.ranking.scores import normal_scores

Array = NDArray[np.float64]
CASES = ("normal", "misjudged", "extreme", "heavy", "cone", "cone-down")
SIZES = (20, 36, 60)
SHARED = 0.2
"""Standard deviation of the noise that proxies share; the truth has 1."""
Row = Sequence[object]


def draw(case: str, num_archs: int, spread: Sequence[float], rng: np.random.Generator) -> tuple[Array, Array]:
    """(P, A) scores of proxies whose own noise has these standard deviations, and the (A,) truth."""
    shape = (len(spread), num_archs)
    truth = rng.normal(size=num_archs)
    noise = rng.standard_t(2, size=shape) if case == "heavy" else rng.normal(size=shape)
    if case.startswith("cone"):
        noise *= 0.05 + 2 * stats.norm.cdf(truth if case == "cone" else -truth)
    scores = truth + SHARED * rng.normal(size=num_archs) + np.asarray(spread)[:, None] * noise
    if case in ("misjudged", "extreme"):
        junk = 3 * rng.normal(size=shape) if case == "misjudged" else rng.choice([-9.0, 9.0], size=shape)
        scores = np.where(rng.random(shape) < 0.05, junk + rng.normal(size=shape), scores)
    return scores, truth


def coverage(seed: int = 0, num_draws: int = 300) -> Iterable[Row]:
    """The interval of ρ: how often it covers the population's, and how often `diagnose` gives alarm.

    A sample that has none of the misjudged architectures is quiet, and has too high a ρ.
    """
    yield "case", "true rho", "n", "draws", "covered", "alarm", "covered if quiet"
    for case, wanted in [("normal", 0.0), ("normal", 0.4), *((case, rho) for rho in (0.76, 0.9) for case in CASES)]:
        spread, true_rho = _population(case, wanted)
        for num_archs in SIZES:
            rng, found = np.random.default_rng(seed), []
            for number in range(num_draws):
                proxy, truth = _draw_pair(case, num_archs, spread, rng)
                rho, seen = ranking.correlate(proxy, truth), ranking.diagnose(proxy, truth, seed=number)
                is_covered = (rho.low or 0.0) <= true_rho <= (rho.high or 0.0)
                found.append([is_covered, seen.is_carried_by_few])
            covered, alarm = np.array(found, dtype=bool).T
            quiet = float(covered[~alarm].mean())
            yield case, f"{true_rho:.2f}", num_archs, num_draws, covered.mean(), alarm.mean(), quiet


def _population(case: str, rho: float) -> tuple[float, float]:
    """Spread of a proxy's own noise that comes closest to a ρ in the limit, from 0.001 to 1,000, and what it has."""
    low, high = -3.0, 3.0
    for _ in range(20):
        spread = float(10 ** ((low + high) / 2))
        reached = float(stats.spearmanr(*_draw_pair(case, 100_000, spread, np.random.default_rng(1))).statistic)
        low, high = ((low + high) / 2, high) if reached > rho else (low, (low + high) / 2)
    return spread, reached


def _draw_pair(case: str, num_archs: int, spread: float, rng: np.random.Generator) -> tuple[Array, Array]:
    (proxy,), truth = draw(case, num_archs, (spread,), rng)
    return proxy, truth


def differences(seed: int = 0, num_draws: int = 1000) -> Iterable[Row]:
    """Two proxies: how often the test says that equal ones differ (level), and that unequal ones do (power)."""
    difference.NUM_SUBSETS = 999  # enough for a level
    yield "case", "n", "draws", "level, jackknife z", "level", "power, jackknife z", "power"
    for case in CASES:
        for num_archs in SIZES:
            rng = np.random.default_rng(seed)
            equal, unequal = (
                np.mean([_tests(*draw(case, num_archs, spread, rng), number) for number in range(count)], axis=0)
                for spread, count in (((0.25, 0.25), num_draws), ((0.25, 0.6), num_draws // 2))
            )
            yield case, num_archs, num_draws, equal[0], equal[1], unequal[0], unequal[1]


def _tests(scores: Array, truth: Array, seed: int) -> tuple[bool, bool]:
    """Whether two proxies are said to differ by normal quantiles of a jackknife on Fisher's z scale, and by ours."""
    (first, without), (second, others) = (spearman(row, truth, np.ones(len(truth))) for row in scores)
    inside = [clip_perfect("spearman", rho, len(truth)) for rho in (first, second)]
    error = jackknife_error(without / (1 - inside[0] ** 2) - others / (1 - inside[1] ** 2))
    gap = np.arctanh(inside[0]) - np.arctanh(inside[1])
    ours = ranking.compare_correlations(scores[0], scores[1], truth, seed=seed)
    return bool(abs(gap) > 1.96 * error), ours.is_sure


def unlike(seed: int = 0, num_draws: int = 1000) -> Iterable[Row]:
    """Two proxies of equal ρ whose noise is unlike: one normal, one misjudged or cone-shaped; alone or in a family."""
    difference.NUM_SUBSETS = 999
    yield "case", "n", "draws", "level", "mean difference"
    for case in ("misjudged", "heavy", "cone"):
        spread = _spread_of_equal(case)
        for num_archs in SIZES:
            rng, found = np.random.default_rng(seed), []
            for number in range(num_draws):
                ugly, truth = draw(case, num_archs, (0.25,), rng)
                plain = truth + spread * rng.normal(size=num_archs)
                found.append(ranking.compare_correlations(ugly[0], plain, truth, seed=number))
            values = [each.value for each in found if each.value is not None]
            yield f"normal beside {case}", num_archs, num_draws, np.mean([e.is_sure for e in found]), np.mean(values)


def _spread_of_equal(case: str) -> float:
    """Noise of a normal proxy that has the ρ of a proxy of this case, both in the limit."""
    (scores,), truth = draw(case, 400_000, (0.25,), np.random.default_rng(1))
    rho = stats.spearmanr(scores, truth).statistic
    pearson = 2 * np.sin(np.pi * rho / 6)
    return float(np.sqrt(1 / pearson**2 - 1))


def families(seed: int = 0, num_draws: int = 300) -> Iterable[Row]:
    """Nine equally good proxies: how often any pair is said to differ, with Holm's adjustment and without."""
    difference.NUM_SUBSETS = 4999
    yield "case", "n", "draws", "any pair, unadjusted", "any pair"
    for case in CASES:
        for num_archs in SIZES:
            rng, found = np.random.default_rng(seed), []
            for number in range(num_draws):
                scores, truth = draw(case, num_archs, (0.6,) * 9, rng)
                pairs = [ranking.compare_correlations(a, b, truth, seed=number) for a, b in combinations(scores, 2)]
                p_values = [pair.p_value for pair in pairs if pair.p_value is not None]
                found.append([min(p_values) < 0.05, min(ranking.adjust_p_values(p_values)) < 0.05])
            yield case, num_archs, num_draws, *np.mean(found, axis=0)


def sets(seed: int = 0, num_draws: int = 400) -> Iterable[Row]:
    """Four equally good methods of two sets each: how often pairs are said to differ; power where ρ differs by 0.15."""
    difference.NUM_SUBSETS = 4999
    yield "set sd of rho", "n", "draws", "any, sets ignored", "one pair", "any pair", "power, one pair"
    for spread in (0.0, 0.03, 0.08):
        rng, found = np.random.default_rng(seed), []
        for number in range(num_draws):
            methods, truth = _draw_methods(spread, (0.75, 0.75, 0.75, 0.6), 60, rng)
            noise = ranking.set_noise(methods, truth)
            fair = [*methods[:3], _draw_sets(spread, 0.75, truth, rng)]
            fair_noise = ranking.set_noise(fair, truth)
            ignored, paired = [], []
            for first, second in combinations(fair, 2):
                ignored.append(ranking.compare_methods(first, second, truth, seed=number).p_value or 0.0)
                with_noise = ranking.compare_methods(first, second, truth, noise=fair_noise, seed=number)
                paired.append(with_noise.p_value or 0.0)
            worse = ranking.compare_methods(methods[0], methods[3], truth, noise=noise, seed=number)
            found.append([
                min(ranking.adjust_p_values(ignored)) < 0.05,
                np.mean(np.array(paired) < 0.05),
                min(ranking.adjust_p_values(paired)) < 0.05,
                worse.is_sure,
            ])  # fmt: skip
        yield spread, 60, num_draws, *np.mean(np.array(found, dtype=float), axis=0)


def _draw_methods(
    spread: float, rhos: Sequence[float], num_archs: int, rng: np.random.Generator
) -> tuple[list[list[Array]], Array]:
    truth = rng.normal(size=num_archs)
    return [_draw_sets(spread, rho, truth, rng) for rho in rhos], truth


def _draw_sets(spread: float, rho: float, truth: Array, rng: np.random.Generator) -> list[Array]:
    """Two sets of a method; each has a ρ of its own, and half of the noise's variance is the method's."""
    ours, found = rng.normal(size=len(truth)), []
    for _ in range(2):
        own = float(np.clip(rho + spread * rng.normal(), 0.05, 0.98))
        noise = np.sqrt(0.5) * ours + np.sqrt(0.5) * rng.normal(size=len(truth))
        found.append(own * truth + np.sqrt(1 - own**2) * noise)
    return found


def ceilings(seed: int = 0, num_draws: int = 40) -> Iterable[Row]:
    """What a perfect proxy is measured at, and what two estimates say of it."""
    yield "case", "n", "seeds", "draws", "perfect proxy", "root of reliability", "ceiling", "sd of error"
    for case in ("plain", "chance", "ties", "unequal", "cluster"):
        for num_archs, num_seeds in ((36, 3), (60, 2), (150, 3)):
            rng, found = np.random.default_rng(seed), []
            for _ in range(num_draws):
                true, scores = draw_truth(case, num_archs, num_seeds, rng)
                perfect = float(stats.spearmanr(true, scores.mean(axis=1)).statistic)
                root = np.sqrt(ranking.reliability(scores).value or 0.0)
                found.append([perfect, root, ranking.ceiling(scores).value or 0.0])
            values = np.array(found, dtype=float)
            spread = float((values[:, 2] - values[:, 0]).std())
            yield case, num_archs, num_seeds, num_draws, *values.mean(axis=0), spread


def draw_truth(case: str, num_archs: int, num_seeds: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """True values (A,) and their measurements (A, S): plain; two in five nets at chance; four levels; noise of each
    net's own size; half of the nets within a fifth of their noise.
    """
    normal, is_one = rng.normal(size=num_archs), rng.random(num_archs) < (0.4 if case == "chance" else 0.5)
    cases: dict[str, tuple[Array, Array | float]] = {
        "plain": (normal, 0.7),
        "chance": (np.where(is_one, 0.1, 0.5 + 0.1 * normal), np.where(is_one, 0.005, 0.03)),
        "ties": (rng.choice([0.3, 0.5, 0.6, 0.7], size=num_archs), 0.03),
        "unequal": (normal, np.exp(0.8 * rng.normal(size=num_archs) - 0.7)),
        "cluster": (np.where(is_one, 0.7 + 0.002 * normal, 0.4 + 0.1 * normal), 0.01),
    }
    true, noise = cases[case]
    return true, true[:, None] + np.reshape(noise, (-1, 1)) * rng.normal(size=(num_archs, num_seeds))


def regrets(seed: int = 0, num_draws: int = 100) -> Iterable[Row]:
    """Proxies of 40 of 720 architectures, accuracies spread evenly or crowded at the top: how often the interval holds
    the mean regret of all such samples, with the truth's seeds left out of it and in it.
    """
    selection.NUM_RESAMPLES = 400
    yield "accuracies", "rho", "seed sd", "seeds", "trained", "draws", "mean regret", "coverage, no seeds", "coverage"
    for case, rho in product(("even", "crowded"), (0.5, 0.9)):
        rng = np.random.default_rng(seed)
        quality, noise = rng.normal(size=(2, 720))
        proxy = rho * quality + np.sqrt(1 - rho**2) * noise
        true = 0.9 + 0.02 * (quality if case == "even" else -np.exp(-0.7 * quality))
        for (deviation, num_seeds), count in product(((0.002, 3), (0.004, 2), (0.004, 1)), (1, 4)):
            found = []
            for number in range(num_draws):
                chosen = rng.choice(720, size=40, replace=False)
                truth = true[chosen, None] + deviation * rng.normal(size=(40, num_seeds))
                both = [ranking.regret_at(proxy[chosen], t, count, seed=number) for t in (truth.mean(axis=1), truth)]
                found.append([(e.value, e.low, e.high) for e in both])
            value, low, high = np.moveaxis(np.array(found, dtype=float), -1, 0)
            mean = float(value.mean())
            covered = ((low <= mean) & (mean <= high)).mean(axis=0)
            yield case, rho, deviation, num_seeds, count, num_draws, mean, *covered


def fitted(seed: int = 0, num_draws: int = 200) -> Iterable[Row]:
    """Fits to nine proxies of which two are good, or weak: how often the interval holds the ρ that fits to other
    architectures have on average in the population, without and with the error of the fit.
    """
    combination.NUM_RESAMPLES = 100
    yield "good proxies", "n", "draws", "mean rho", "in the population", "sd of z", "coverage, no fit", "coverage"
    for quality in (0.65, 0.45):
        unseen, true = draw_combined(quality, 20_000, np.random.default_rng(2))
        unseen = np.stack([normal_scores(row) for row in unseen])
        for num_archs in SIZES:
            rng, found, estimates = np.random.default_rng(seed), [], []
            for number in range(num_draws):
                scores, truth = draw_combined(quality, num_archs, rng)
                fit = ranking.fit_combination(scores, truth, seed=number)
                found.append(spearman_value(np.asarray(fit.weights) @ unseen, true, np.ones(len(true))))
                given = ranking.correlate(fit.predictions, truth)
                estimates.append([given, ranking.include_fit(given, fit.error)])
            mean = float(np.mean(found))
            ends = np.array([[(e.value, e.low, e.high) for e in pair] for pair in estimates], dtype=float)
            rho, low, high = np.moveaxis(ends, -1, 0)
            covered = ((low <= mean) & (mean <= high)).mean(axis=0)
            yield quality, num_archs, num_draws, rho[:, 0].mean(), mean, np.arctanh(rho[:, 0]).std(), *covered


def draw_combined(quality: float, num_archs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(9, A) scores, of which the first two correlate with the (A,) truth and share a quarter of their noise."""
    truth, shared, scores = rng.normal(size=num_archs), rng.normal(size=num_archs), rng.normal(size=(9, num_archs))
    noise = np.sqrt(0.25) * shared + np.sqrt(0.75) * scores[:2]
    scores[:2] = quality * truth + np.sqrt(1 - quality**2) * noise
    return scores, truth


def useless(seed: int = 0, num_draws: int = 600) -> Iterable[Row]:
    """Fits to useless proxies: mean ρ of the held-out predictions with the truth, and its standard error."""
    combination.MIN_TRUTHS, combination.NUM_RESAMPLES = 0, 2
    yield "proxies", "n", "draws", "mean rho", "standard error"
    for num_proxies in (3, 9):
        for num_archs in (12, 16, 20, 28):
            rng, found = np.random.default_rng(seed), []
            for number in range(num_draws):
                scores, truth = rng.normal(size=(num_proxies, num_archs)), rng.normal(size=num_archs)
                predictions = np.asarray(ranking.fit_combination(scores, truth, seed=number).predictions)
                found.append(spearman_value(predictions, truth, np.ones(num_archs)))
            yield num_proxies, num_archs, num_draws, float(np.mean(found)), float(stats.sem(found))


TABLES: dict[str, Callable[[int], Iterable[Row]]] = {
    "coverage": coverage,
    "differences": differences,
    "unlike": unlike,
    "families": families,
    "sets": sets,
    "ceilings": ceilings,
    "regrets": regrets,
    "fitted": fitted,
    "useless": useless,
}


def main() -> None:
    """Prints tables, all if none is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    options = parser.parse_args()
    for name in options.tables or TABLES:
        print(f"\n{name}, seed {options.seed}: {(TABLES[name].__doc__ or '').strip()}")
        for row in TABLES[name](options.seed):
            cells = [f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row]
            print("  ".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
