"""The analysis of studies: intervals that cover the truth of simulated participants, exclusions, tests, tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulated import Person, coverage, session_of, toy_key
from unpaired.errors import ConfigError, DataError
from unpaired.study.analysing import Analysis, analyse
from unpaired.study.answer_files import Ranking, Session
from unpaired.study.beta_function import beta_quantile, incomplete_beta, t_quantile
from unpaired.study.exclusions import verdict
from unpaired.study.rank_statistics import friedman, kendall_w
from unpaired.study.rates import binomial_interval, bootstrap, clustered_interval, difference, rate, sign_test
from unpaired.study.study_key import Rule, StudyKey
from unpaired.study.study_report import to_markdown
from unpaired.study.table_one import PUBLISHED

KEY = toy_key()
NUM_STUDIES = 400


def study(people: list[Person], key: StudyKey = KEY, seed: int = 0) -> Analysis:
    generator = np.random.default_rng(seed)
    return analyse([session_of(person, key, generator) for person in people], key)


@pytest.mark.parametrize(("truth", "spread"), [(0.021, 0.03), (0.05, 0.05), (0.268, 0.13), (0.5, 0.15), (0.5, 0)])
def test_the_interval_covers_the_true_rate_of_participants_in_95_of_100_studies(truth: float, spread: float) -> None:
    assert 0.92 <= coverage(truth, spread)[0] <= 0.98


def test_the_interval_of_a_rare_rate_is_wide_for_like_participants_and_too_narrow_for_very_different_ones() -> None:
    assert coverage(0.006, 0)[0] >= 0.95
    assert 0.85 <= coverage(0.006, 0.017)[0] <= 0.95  # nearly all are never fooled, and a study misses the others


def test_the_interval_covers_the_truth_through_the_whole_analysis_of_simulated_people() -> None:
    covered = left = 0
    for number in range(NUM_STUDIES):
        generator = np.random.default_rng(number)
        found = study([Person(float(each)) for each in generator.beta(2.68, 7.32, 25)], seed=number)
        assert found.fooled is not None
        assert found.left is not None
        covered += found.fooled["one"].low <= 0.268 <= found.fooled["one"].high
        left += found.left.low <= 0.5 <= found.left.high
    assert 0.92 <= covered / NUM_STUDIES <= 0.98
    assert 0.92 <= left / NUM_STUDIES <= 0.99


def test_the_standard_error_is_the_spread_of_the_rates_of_studies() -> None:
    rates, errors = [], []
    for number in range(200):
        generator = np.random.default_rng(number)
        hits = generator.binomial(40, generator.beta(2.68, 7.32, 25))
        found = rate([int(each) for each in hits], [40] * 25)
        rates.append(found.value)
        assert found.error is not None
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(np.std(rates), rel=0.12)


def test_a_participant_who_always_chooses_left_fails_half_of_the_checks_and_is_excluded() -> None:
    for seed in range(40):
        found = study([Person(0.3)] * 3 + [Person(0, lapse=1, left=1)], seed=seed)
        (out,) = [each for each in found.participants if each.excluded]
        assert out.excluded == "failed 3 of 6 attention checks"
        assert (out.left, out.num_answers) == (40, 40)


def test_guessing_participants_move_the_rate_less_once_the_checks_exclude_them() -> None:
    with_rule, without = [], []
    lenient = replace(KEY, rule=Rule(max_failed_checks=6))
    for seed in range(100):
        people = [Person(0.2)] * 20 + [Person(0, lapse=1)] * 5
        for key, rates in ((KEY, with_rule), (lenient, without)):
            found = study(people, key, seed)
            assert found.fooled is not None
            rates.append(found.fooled["one"].value)
    assert np.mean(without) == pytest.approx(0.26, abs=0.01)  # 20 x .2 and 5 x .5
    assert np.mean(with_rule) == pytest.approx(0.2, abs=0.015)


def test_lapses_of_attentive_participants_cost_few_of_them_and_are_part_of_the_rate() -> None:
    excluded, rates = 0, []
    for seed in range(100):
        found = study([Person(0.2, lapse=0.1)] * 25, seed=seed)
        assert found.fooled is not None
        excluded += sum(bool(each.excluded) for each in found.participants)
        rates.append(found.fooled["one"].value)
    assert excluded / 2500 < 0.05
    assert np.mean(rates) == pytest.approx(0.9 * 0.2 + 0.1 * 0.5, abs=0.01)


def test_a_position_bias_is_reported_and_moves_the_rate_towards_a_half() -> None:
    fair, biased = study([Person(0.1)] * 25), study([Person(0.1, lapse=0.15, left=1)] * 25)
    for found in (fair, biased):
        assert found.left is not None
        assert found.fooled is not None
    assert fair.left.low <= 0.5 <= fair.left.high  # type: ignore[union-attr]
    assert biased.left.low > 0.5  # type: ignore[union-attr]
    assert "favour one side" in to_markdown(biased)
    assert biased.fooled["one"].value > fair.fooled["one"].value  # type: ignore[index]


def test_a_trial_whose_images_were_shown_for_another_time_does_not_count() -> None:
    session = session_of(Person(0.5), KEY, np.random.default_rng(0))
    scored = [answer for answer in session.answers if answer.trial.part == "scored"]
    late = [replace(answer, shown_ms=1250.0) for answer in scored[:3]] + [replace(scored[3], interrupted=True)]
    changed = replace(session, answers=(*late, *session.answers[4:]))
    found = verdict(changed, KEY)
    assert (len(found.answers), found.num_mistimed, found.included) == (36, 4, True)
    late.append(replace(scored[4], shown_ms=890.0))
    found = verdict(replace(session, answers=(*late, *session.answers[5:])), KEY)
    assert found.reason == "has valid answers in 35 of 40 scored trials"
    assert verdict(changed, replace(KEY, seconds=0)).num_mistimed == 0


def test_of_several_models_each_has_the_participants_who_saw_it() -> None:
    key, generator = toy_key(models=("first", "second")), np.random.default_rng(5)
    people = [(Person(0.1), 0)] * 12 + [(Person(0.4), 1)] * 10
    found = analyse([session_of(person, key, generator, number=number) for person, number in people], key)
    assert found.fooled is not None
    first, second = found.fooled["first"], found.fooled["second"]
    assert (first.num_participants, second.num_participants) == (12, 10)
    assert first.value < 0.15 < 0.35 < second.value
    (apart,) = found.differences
    assert (apart.model, apart.other) == ("first", "second")
    assert apart.value == pytest.approx(first.value - second.value)
    assert apart.low < apart.value < apart.high < 0
    text = to_markdown(found)
    assert f"| first | second | {100 * apart.value:+.1f} | [" in text


def test_the_interval_of_a_difference_covers_the_truth() -> None:
    covered = 0
    for number in range(NUM_STUDIES):
        generator = np.random.default_rng(number)
        one, other = (generator.binomial(40, generator.beta(10 * p, 10 - 10 * p, 25)) / 40 for p in (0.3, 0.2))
        _, low, high = difference(one, other)
        covered += low <= 0.1 <= high
    assert 0.92 <= covered / NUM_STUDIES <= 0.98


def test_without_a_participant_who_counts_there_are_no_rates_and_the_reasons_are_listed() -> None:
    found = study([Person(0, lapse=1, left=1)] * 2)
    assert found.fooled == {}
    text = to_markdown(found)
    assert "No participant counts" in text
    assert text.count("failed 3 of 6 attention checks") == 2


@pytest.mark.parametrize(("share", "num_people"), [(0.5, 25), (0.65, 25)])
def test_a_preference_has_a_share_that_covers_the_truth_and_a_sign_test(share: float, num_people: int) -> None:
    key = toy_key("preference", models=("new", "old"), seconds=0)
    covered = significant = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        people = [Person(float(each)) for each in generator.beta(share * 10, (1 - share) * 10, num_people)]
        found = study(people, key, seed).preference
        assert found is not None
        covered += found.share.low <= share <= found.share.high
        significant += found.sign_p < 0.05
        assert found.wins + found.losses + found.ties == num_people
    assert 0.92 <= covered / 200 <= 0.99
    assert significant / 200 <= 0.05 if share == 0.5 else significant / 200 > 0.6


def readers(key: StudyKey, qualities: list[float], num_readers: int, seed: int) -> list[Session]:
    """Return sessions of readers who rank by quality plus noise."""
    generator = np.random.default_rng(seed)
    sessions = []
    for number in range(num_readers):
        rankings = []
        for trial in key.sets[0].trials:
            perceived = {name: qualities[key.images[name].model] + generator.normal() for name in trial.images}
            order = sorted(perceived, key=lambda name: -perceived[name])
            comment = "blurred | <b>" if number == 0 and trial is key.sets[0].trials[0] else ""
            rankings.append(Ranking(trial, {name: order.index(name) + 1 for name in trial.images}, comment))
        sessions.append(Session(f"{number:016x}", Path("x"), 0, rankings=tuple(rankings), ended=True))
    return sessions


def test_readers_rank_models_by_quality_and_agree_if_it_differs() -> None:
    key = toy_key("readers", models=("good", "middle", "bad"), scored=12, checks=0, seconds=0)
    found = analyse(readers(key, [3, 1.5, 0], 3, 0), key).reading
    assert found is not None
    assert found.mean_ranks["good"] < found.mean_ranks["middle"] < found.mean_ranks["bad"]
    low, high = found.intervals["good"]
    assert low <= found.mean_ranks["good"] <= high
    assert found.kendall_w is not None
    assert found.kendall_w > 0.6
    assert found.friedman_p < 0.001
    assert (found.num_readers, found.num_cases, found.num_rankings) == (3, 12, 36)
    assert sum(found.first_places.values()) == 36
    alike = [analyse(readers(key, [0, 0, 0], 3, seed), key).reading for seed in range(1, 31)]
    assert sum(each.friedman_p < 0.05 for each in alike if each is not None) <= 5
    assert np.mean([each.kendall_w for each in alike if each is not None]) == pytest.approx(1 / 3, abs=0.08)


def test_comments_of_readers_are_listed_without_markup() -> None:
    key = toy_key("readers", models=("a", "b"), scored=3, checks=0, seconds=0)
    text = to_markdown(analyse(readers(key, [1, 0], 2, 0), key))
    assert r"blurred \| \<b>" in text
    with pytest.raises(DataError, match="No reader has ranked a case yet"):
        analyse([Session("0" * 16, Path("x"), 0)], key)


def test_rank_statistics_have_their_textbook_values() -> None:
    same = np.array([[1.0, 2, 3, 4]] * 5)
    assert kendall_w(same) == pytest.approx(1)
    assert kendall_w(np.array([[1.0, 2, 3], [3, 2, 1]])) == 0
    statistic, p_value = friedman(same)
    assert statistic == pytest.approx(5 * 3)  # n (k - 1) under full agreement
    assert p_value < 0.001
    statistic, p_value = friedman(np.array([[1.0, 2], [2, 1]]))
    assert (statistic, p_value) == (0, 1)


def test_exact_intervals_and_quantiles_have_their_textbook_values() -> None:
    assert t_quantile(0.975, 24) == pytest.approx(2.063899, abs=1e-5)
    assert t_quantile(0.975, 1) == pytest.approx(12.7062, abs=1e-3)
    assert incomplete_beta(0.3, 2, 5) == pytest.approx(0.579825)
    assert incomplete_beta(beta_quantile(0.3, 0.4, 7), 0.4, 7) == pytest.approx(0.3)
    assert binomial_interval(0, 100) == pytest.approx((0, 0.036217), abs=1e-5)
    assert binomial_interval(100, 100) == pytest.approx((1 - 0.036217, 1), abs=1e-5)
    assert binomial_interval(3, 40) == pytest.approx((0.01574, 0.20387), abs=1e-4)
    assert sign_test(8, 2) == pytest.approx(0.109375)
    assert sign_test(0, 0) == sign_test(5, 5) == 1
    assert 0 < sign_test(3000, 2500) < 1e-8


def test_an_interval_has_width_even_if_nobody_was_fooled_or_there_is_one_participant() -> None:
    nobody = rate([0] * 25, [40] * 25)
    assert (nobody.value, nobody.low, nobody.error) == (0, 0, 0)
    assert nobody.high == pytest.approx(1 - 0.025 ** (1 / 1000), rel=1e-6)
    alone = rate([10], [40])
    assert alone.low < 0.25 < alone.high
    assert (alone.low, alone.high) == binomial_interval(10, 40)
    assert alone.error is None


def test_both_intervals_agree_for_common_answers_and_use_the_spread_of_participants() -> None:
    generator = np.random.default_rng(0)
    alike = generator.binomial(40, 0.4, 25) / 40
    different = generator.binomial(40, generator.beta(2, 3, 25)) / 40
    widths = []
    for rates in (alike, different):
        _, low, high = bootstrap(rates)
        exact_low, exact_high = clustered_interval(rates, 1000)
        assert exact_low == pytest.approx(low, abs=0.015)
        assert exact_high == pytest.approx(high, abs=0.015)
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_the_table_of_the_paper_is_quoted_as_it_is() -> None:
    assert PUBLISHED["CycleGAN"] == {"map -> photo": (26.8, 2.8), "photo -> map": (23.2, 3.4)}
    assert list(PUBLISHED) == ["CoGAN", "BiGAN/ALI", "SimGAN", "Feature loss + GAN", "CycleGAN"]
    text = to_markdown(study([Person(0.3)] * 5))
    assert "| CycleGAN | 26.8 ± 2.8 | 23.2 ± 3.4 |" in text
    assert "| BiGAN/ALI | 2.1 ± 1.0 | 1.9 ± 0.9 |" in text


def test_results_are_strict_json_with_every_participant_and_the_rule() -> None:
    found = study([Person(0.3)] * 4 + [Person(0, lapse=1, left=1)])
    data = json.loads(found.to_json())
    assert data["rule"] == {"max_failed_checks": 1, "min_answered": 0.9, "shown_tolerance": 0.1}
    assert len(data["participants"]) == 5
    assert data["fooled"]["one"]["num_participants"] == 4
    assert "images" not in data
    assert data["preference"] is None


def test_a_rule_without_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="--max-failed-checks must be at least 0, not -1"):
        Rule(max_failed_checks=-1)
