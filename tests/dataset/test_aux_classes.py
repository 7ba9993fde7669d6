"""Versions and specifications of datasets."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deriva_ml.dataset import DatasetHistory, DatasetMinid, DatasetSpec, DatasetSpecConfig, DatasetVersion, VersionPart

PARTS = st.tuples(*[st.integers(0, 10**9)] * 3)


@given(PARTS)
def test_a_version_survives_its_text_its_mapping_and_pickling(parts: tuple[int, int, int]) -> None:
    version = DatasetVersion(*parts)
    assert DatasetVersion.parse(str(version)) == version
    assert DatasetVersion(**version.to_dict()) == version
    assert pickle.loads(pickle.dumps(version)) == version
    assert version.to_tuple() == parts


@given(PARTS, PARTS)
def test_versions_are_ordered_as_their_numbers_are_and_compare_with_text(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    left, right = DatasetVersion(*one), DatasetVersion(*other)
    assert (left < right, left == right, left >= right) == (one < other, one == other, one >= other)
    assert (left < str(right)) == (one < other)
    assert left == str(left)
    assert hash(left) == hash(str(left))


@given(PARTS, st.integers(0, 10**6), st.sampled_from(list(VersionPart)))
def test_development_versions_come_between_the_release_before_and_any_after(
    parts: tuple[int, int, int], steps: int, part: VersionPart
) -> None:
    release = DatasetVersion(*parts)
    first = release.next_dev()
    later = DatasetVersion(*first.to_tuple(), first.dev + steps) if first.dev is not None else first
    assert release < first <= later < later.next_dev() < later.increment_version(part)
    assert later.increment_version(part) == release.increment_version(part)
    assert (later.is_release, later.increment_version(part).is_release) == (False, True)
    assert DatasetVersion.parse(str(later)) == later == DatasetVersion.of(later.to_dict())
    assert pickle.loads(pickle.dumps(later)) == later
    assert hash(later) == hash(str(later))
    assert later != DatasetVersion(*later.to_tuple())


def test_what_an_identifier_service_says_is_read() -> None:
    minid = DatasetMinid.model_validate(
        {
            "dataset_version": "1.2.0",
            "metadata": {"title": "Images"},
            "compact_uri": "minid:abc",
            "location": ["https://one", "https://two"],
            "identifier": "ark:/57799/abc",
            "landing_page": "https://example.org/abc",
            "RID": "1-ABC@2SX-WXYZ",
            "checksums": [{"function": "md5", "value": "m"}, {"function": "sha256", "value": "s"}],
        }
    )
    assert (minid.minid, minid.bag_url, minid.checksum) == ("minid:abc", "https://one", "s")
    assert (minid.dataset_rid, minid.dataset_snapshot) == ("1-ABC", "2SX-WXYZ")
    assert minid.model_dump()["dataset_version"] == {"major": 1, "minor": 2, "patch": 0}


@pytest.mark.parametrize(
    "text",
    [
        "1.0",
        "1",
        "",
        "1.2.3.4",
        "v1.2.3",
        "1.2.x",
        "01.2.3",
        "1.2.3.dev",
        "1.2.3.dev01",
        "1.2.dev3",
        "1.2.3dev1",
        "1.2.-3",
        " 1.2.3",
        "\u0661.2.3",
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="version"):
        DatasetVersion.parse(text)
    assert DatasetVersion(1) != text


@pytest.mark.parametrize(
    ("part", "expected"),
    [(VersionPart.major, "2.0.0"), (VersionPart.minor, "1.3.0"), (VersionPart.patch, "1.2.4"), ("minor", "1.3.0")],
)
def test_incrementing_a_part_clears_those_after_it(part: VersionPart, expected: str) -> None:
    assert DatasetVersion(1, 2, 3).increment_version(part) == expected


def test_a_version_does_not_change() -> None:
    with pytest.raises(AttributeError):
        DatasetVersion(1).major = 2  # type: ignore[misc]
    with pytest.raises(ValueError, match="negative"):
        DatasetVersion(-1)
    with pytest.raises(TypeError):
        DatasetVersion("1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given_", ["1.2.3", [1, 2, 3], (1, 2, 3), {"major": 1, "minor": 2, "patch": 3}, DatasetVersion(1, 2, 3)]
)
def test_a_specification_takes_a_version_in_every_form(given_: object) -> None:
    spec = DatasetSpec(rid="1-ABCD", version=given_)  # type: ignore[arg-type]
    assert spec.version == "1.2.3"
    assert spec.materialize
    assert spec.fetch_concurrency == 8
    assert json.loads(spec.model_dump_json())["version"] == {"major": 1, "minor": 2, "patch": 3}
    assert DatasetSpec.model_validate(spec.model_dump()) == spec


def test_a_specification_needs_a_version_and_a_rid() -> None:
    with pytest.raises(ValidationError, match="version"):
        DatasetSpec.model_validate("1-ABCD")
    with pytest.raises(ValidationError, match=r"X\.Y\.Z"):
        DatasetSpec(rid="1-ABCD", version="1.2")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="rid"):
        DatasetSpec(rid="not a rid", version="1.2.3")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="verion"):
        DatasetSpec(rid="1-ABCD", version="1.2.3", verion="1.2.4")  # type: ignore[arg-type, call-arg]


def test_a_configuration_instantiates_to_a_specification() -> None:
    from hydra_zen import instantiate
    from omegaconf import OmegaConf

    config = DatasetSpecConfig("1-ABCD", "1.0.0", exclude_tables=["Report"])
    for form in (config, OmegaConf.structured(config), pickle.loads(pickle.dumps(config))):
        spec = instantiate(form)
        assert isinstance(spec, DatasetSpec)
        assert (spec.rid, str(spec.version), spec.exclude_tables) == ("1-ABCD", "1.0.0", {"Report"})


def test_an_entry_of_the_history_forgives_what_catalogs_leave_empty() -> None:
    entry = DatasetHistory(
        dataset_version="1.0.0",  # type: ignore[arg-type]
        dataset_rid="1-ABCD",
        version_rid="2-ABCD",
        execution_rid="",
        description=None,  # type: ignore[arg-type]
    )
    assert entry.execution_rid is None
    assert entry.description == ""
