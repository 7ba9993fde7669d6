"""Which datasets have to do with a table or a column."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.dataset.project import DEMO, Project
from tests.fakes import Counting

from deriva_ml.core.exceptions import DerivaMLNotFoundError, DerivaMLTableNotFound
from deriva_ml.dataset.finding import delete_dataset
from deriva_ml.dataset.referencing import find_datasets_referencing


def _rids(project: Project, *arguments: str, **more: bool) -> list[str]:
    return [dataset.dataset_rid for dataset in find_datasets_referencing(project.session, *arguments, **more)]


def test_datasets_are_found_by_their_members_and_by_what_these_refer_to(small: Project) -> None:
    images = small.dataset(small.images[:2], description="of images")
    subjects = small.dataset([small.subjects[0]])
    small.dataset([])
    both = small.dataset([small.images[0], small.subjects[0]])
    found = find_datasets_referencing(small.session, "Image")
    assert [dataset.dataset_rid for dataset in found] == sorted([images.dataset_rid, both.dataset_rid])
    assert found[0].description == "of images"
    everything = sorted([images.dataset_rid, subjects.dataset_rid, both.dataset_rid])
    assert _rids(small, "Subject") == everything
    assert _rids(small, "Grade") == []
    delete_dataset(small.session, subjects)
    assert _rids(small, "Subject") == [rid for rid in everything if rid != subjects.dataset_rid]
    assert _rids(small, "Subject", deleted=True) == everything


def test_a_column_counts_where_members_have_a_value_in_it_or_refer_to_it(small: Project) -> None:
    catalog = small.session.catalog
    catalog.update(DEMO, "Image", [{"RID": small.images[0], "Score": None, "Subject": None}])
    without, with_it = small.dataset([small.images[0]]), small.dataset([small.images[1]])
    assert _rids(small, "Image", "Score") == [with_it.dataset_rid]
    assert _rids(small, "Image", "Filename") == sorted([without.dataset_rid, with_it.dataset_rid])
    assert _rids(small, "Subject") == [with_it.dataset_rid]
    assert _rids(small, "Subject", "RID") == [with_it.dataset_rid]
    assert _rids(small, "Subject", "Name") == []
    with pytest.raises(DerivaMLNotFoundError, match=r"(?s)Image has no column Scor\..*Score"):
        _rids(small, "Image", "Scor")
    with pytest.raises(DerivaMLTableNotFound, match="Image"):
        _rids(small, "Imagge")


@pytest.mark.parametrize("datasets", [1, 12])
def test_the_number_of_requests_is_that_of_kinds_of_member(small: Project, datasets: int) -> None:
    for number in range(datasets):
        small.dataset(small.images[: number % 5 + 1])
    transport = Counting(small.session.catalog.transport)
    session = replace(small.session, catalog=type(small.session.catalog)(transport, small.session.catalog_id))
    session.model()
    transport.reset()
    assert len(find_datasets_referencing(session, "Subject")) == datasets
    assert transport.count == 3  # members that are subjects, images that refer to them, the datasets
