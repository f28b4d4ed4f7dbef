"""Directions as users type them."""

from __future__ import annotations

import pytest

from unpaired.errors import ConfigError
from unpaired.translate.directions import direction_named

DOMAINS = {"A": "summer", "B": "winter"}


@pytest.mark.parametrize(
    "text",
    ["BtoA", "btoa", "B2A", "b_to_a", "B->A", "ba", "winter2summer", "Winter to Summer", "summer", "A", "to summer"],
)
def test_a_direction_is_known_by_letters_and_by_domains(text: str) -> None:
    assert direction_named(text, ("AtoB", "BtoA"), DOMAINS) == "BtoA"


@pytest.mark.parametrize("text", ["autumn", "AtoC", "", "2", "summer2summer"])
def test_other_names_are_refused_with_the_directions_of_the_model(text: str) -> None:
    with pytest.raises(ConfigError, match="AtoB"):
        direction_named(text, ("AtoB", "BtoA"), DOMAINS)


def test_a_direction_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Unknown direction .b2a.; .*AtoB"):
        direction_named("b2a", ("AtoB",), DOMAINS)


def test_domains_of_one_name_have_no_direction_of_their_own() -> None:
    with pytest.raises(ConfigError):
        direction_named("photo", ("AtoB", "BtoA"), {"A": "photo", "B": "photo"})
