"""Methods that are functions of rooms."""

from __future__ import annotations

import inspect
import subprocess
import sys

from deriva_ml.ml import DerivaML
from deriva_ml.schema import vocabulary


def test_a_method_has_the_signature_and_the_text_of_its_function(ml: DerivaML) -> None:
    parameters = list(inspect.signature(ml.lookup_term).parameters)
    assert parameters == ["table", "term_name"]
    assert ml.lookup_term.__doc__ == vocabulary.lookup_term.__doc__


def test_the_class_gives_the_function_itself() -> None:
    assert DerivaML.lookup_term is vocabulary.lookup_term


def test_a_subclass_may_extend_a_method(ml: DerivaML) -> None:
    class Project(DerivaML):
        def retrieve_rid(self, rid: str) -> dict[str, object]:  # type: ignore[override]
            return {**super().retrieve_rid(rid), "extra": True}

    term = ml.lookup_term("Dataset_Type", "Training")
    project = Project(ml.host_name, working_dir=ml.working_dir)
    with project:
        assert project.retrieve_rid(term.rid)["extra"] is True


def test_every_declared_method_can_be_found_and_is_documented() -> None:
    for name, member in vars(DerivaML).items():
        if hasattr(member, "_find"):
            function = getattr(DerivaML, name)
            assert inspect.getdoc(function), name


def test_declaring_methods_imports_no_room() -> None:
    script = "import sys, deriva_ml.ml; print('deriva_ml.dataset.dataset' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
