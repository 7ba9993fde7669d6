"""Names made of any text can be used where they are meant to be used."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.execution.overrides import parse
from deriva_ml.project.naming import configuration_name, distribution_name, project_name, unique_name


@given(st.text())
def test_a_configuration_s_name_is_an_identifier_that_hydra_takes_as_it_is(text: str) -> None:
    name = configuration_name(text, "dataset")
    assert name.isidentifier()
    assert len(name) <= 50
    assert parse(f"datasets={name}").value() == name


@given(st.text())
def test_a_distribution_s_name_is_one_that_packaging_tools_take(text: str) -> None:
    assert re.fullmatch(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", distribution_name(text), re.IGNORECASE)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Handwritten digits for training", "handwritten_digits_for_training"),
        ("2024 scans, Zürich", "dataset_2024_scans_zurich"),
        ("None", "dataset_none"),
        ("default_dataset", "dataset_default_dataset"),
        ("漢字", "dataset"),
        ("", "dataset"),
        ("word " * 30, "word_word_word_word_word_word_word_word"),
        ("x" * 90, "x" * 40),
    ],
)
def test_a_configuration_s_name_says_what_it_is(text: str, name: str) -> None:
    assert configuration_name(text, "dataset") == name


def test_a_name_that_is_taken_gets_the_record_s_rid() -> None:
    assert unique_name("digits", "1-ABCD", {"images"}) == "digits"
    assert unique_name("digits", "1-ABCD", {"digits"}) == "digits_1_abcd"


@pytest.mark.parametrize("text", ["", "  ", "two\nlines", "a" * 101, "cost ${model.cost}", "bell\a"])
def test_a_project_s_name_is_one_line_of_text(text: str) -> None:
    with pytest.raises(DerivaMLConfigurationError, match="cannot be the name") as caught:
        project_name(text, source="--name")
    assert caught.value.source == "--name"
