"""Projects at the three sizes that tests of datasets are run at."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.dataset.project import DEMO, Project, make_project

from deriva_ml.schema.session import Session


@pytest.fixture
def domain(session: Session) -> Session:
    """The session, knowing the project's schema."""
    return replace(session, domain_schemas=frozenset({DEMO}), default_schema=DEMO)


@pytest.fixture(params=[1, 10, 600])
def project(request: pytest.FixtureRequest, domain: Session) -> Project:
    """A project of 1, 10 or 600 images."""
    return make_project(domain, request.param)


@pytest.fixture
def small(domain: Session) -> Project:
    """A project of 10 images."""
    return make_project(domain, 10)
