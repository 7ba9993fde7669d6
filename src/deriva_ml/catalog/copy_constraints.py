"""What a copy's rows must satisfy: keys, references and access rules, made as far as the rows allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.copy_model import CopiedModel, Doc
from deriva_ml.core.exceptions import DerivaMLCatalogError
from deriva_ml.wire import targets

__all__ = ["Constraints"]


class Constraints:
    """Makes keys and references of a copy, and takes them away again.

    Args:
        target: The copy.
        model: Its model.

    Attributes:
        standing: Those that stand, by identity, with the targets that name them.
        refused: Those that the rows did not allow, in words, by identity.
    """

    def __init__(self, target: CatalogClient, model: CopiedModel) -> None:
        self._target = target
        self._model = model
        self.standing: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    def free(self) -> None:
        """Remove the keys and references that stand."""
        for reference, target, _ in self._model.references():
            if self.standing.pop(reference, None) is not None:
                self._target.send("DELETE", target)
        for key, name, document in self._model.unique_keys():
            if self.standing.pop(key, None) is not None:
                self._target.send("DELETE", targets.key(*name, document["unique_columns"]))

    def make(self, key: str, target: str, document: Any, said: str, *, method: str = "POST") -> None:
        """Make one element, unless the rows or the service do not allow it.

        Args:
            key: Its identity.
            target: Where it is made.
            document: What makes it.
            said: What it is, in words.
            method: How it is made.
        """
        try:
            self._target.send(method, target, document=document)
        except DerivaMLCatalogError as error:
            if error.status not in (400, 404, 409):
                raise
            self.refused[key] = said
        else:
            self.standing[key] = target
            self.refused.pop(key, None)

    def make_references(self, wanted: Sequence[tuple[str, Doc]]) -> None:
        """Make foreign keys, all at once if the rows allow; else those that they allow."""
        if len(wanted) == 1:
            ((reference, document),) = wanted
            said = f"foreign key {document.get('names') or document['foreign_key_columns']}"
            self.make(reference, targets.schema(), [document], said)
        elif wanted:
            try:
                self._target.send("POST", targets.schema(), document=[document for _, document in wanted])
            except DerivaMLCatalogError as error:
                if error.status != 409:
                    raise
                half = len(wanted) // 2
                self.make_references(wanted[:half])
                self.make_references(wanted[half:])
            else:
                self.standing.update({reference: "" for reference, _ in wanted})
                for reference, _ in wanted:
                    self.refused.pop(reference, None)

    def make_bindings(self) -> None:
        """Make the access rules that look at the rows."""
        for place, document in self._model.bindings():
            if place not in self.standing:
                self.make(place, place, document, f"access rules {place}", method="PUT")

    def finish(self) -> None:
        """Make what comes last: what references do on changes, annotations and access lists of the catalog."""
        for target, document in self._model.actions():
            self.make(target, target, document, f"actions of {target}", method="PUT")
        for target, document in (*self._model.annotations(), *self._model.lists()):
            self._target.send("PUT", target, document=document)

    def begin_history(self, snaptime: str) -> None:
        """Forget what the copy was before a moment, and let its past be read by who may read it now."""
        # What is before the first moment that is needed shows a catalog that was never so.
        self._target.send("DELETE", f"/history/,{snaptime}")
        # The past is read by the lists of its time, when only who made the copy had any rights.
        self._target.send("PUT", "/history/,/acl", document=self._target.get(targets.acl("")))
