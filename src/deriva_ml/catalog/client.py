"""The rows and the model of one catalog, or of one snapshot of it: every operation, as the requests that it takes.

``wire.path`` (reading) and ``wire.targets`` (changing) say it in the protocol's words; ``batches`` cuts it into parts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, TypeVar, cast

from deriva_ml.catalog import model_changes, searches
from deriva_ml.catalog.batches import Document, batches, by_changes, defaulted_columns
from deriva_ml.catalog.drafts import Drafts
from deriva_ml.catalog.exchange import check, json_body, read_whole
from deriva_ml.catalog.searches import ItemLike, Row
from deriva_ml.catalog.several import Several
from deriva_ml.catalog.transport import Retry, Transport
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLReadOnlyError,
    DerivaMLTableNotFound,
)
from deriva_ml.core.files import nearest
from deriva_ml.wire import targets
from deriva_ml.wire.batch import Member
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.model import Json, Model, Table
from deriva_ml.wire.model_documents import model_from_document, rights_of
from deriva_ml.wire.path import Path
from deriva_ml.wire.syntax import Call

__all__ = ["CatalogClient", "Row"]

T = TypeVar("T")

TARGET_BYTES = 4096
"""The longest request target that is sent; some services and proxies refuse longer ones, with a misleading 404."""


class CatalogClient:
    """The rows and the model of a catalog.

    Args:
        transport: The way to the service; shared, and closed by whoever made it.
        catalog_id: The catalog.
        snaptime: A moment: the client then sees the catalog as it was, and changes nothing.
        target_bytes: The longest request target to send.
        retry: When to repeat a reading request whose answer broke off.

    Attributes:
        transport: The way to the service.
        catalog_id: The catalog.
        snaptime: The moment, or None for the present.
        base: The catalog's own target.
        target_bytes: The longest request target to send.
        drafts: Changes that are going to be made together; threads that are in one see it.
        several: Sends several requests.
    """

    def __init__(
        self,
        transport: Transport,
        catalog_id: str,
        snaptime: str | None = None,
        *,
        target_bytes: int = TARGET_BYTES,
        retry: Retry | None = None,
    ) -> None:
        self.transport = transport
        self.catalog_id = catalog_id
        self.snaptime = snaptime
        self.base = targets.catalog(catalog_id, snaptime)
        self.target_bytes = target_bytes
        self._retry = retry or Retry(attempts=3)
        self.several = Several(transport, self.base, self._retry)
        self.drafts = Drafts()
        self._model: Model | None = None
        self._model_tag: str | None = None
        self._model_is_current = False
        self._rights: dict[tuple[str, str], Mapping[str, Json]] = {}

    def __repr__(self) -> str:
        return f"CatalogClient({self.base!r})"

    def over(self, transport: Transport) -> CatalogClient:
        """The same catalog over another way to its service; what is known of it stays known."""
        if transport is self.transport:
            return self
        made = copy(self)
        made.transport = transport
        made.several = Several(transport, self.base, self._retry)
        return made

    # ------------------------------------------------------------------------------------------ requests

    def send(
        self, method: str, target: str, *, document: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send a request below the catalog and read its answer.

        Args:
            method: The HTTP method.
            target: Relative to the catalog, beginning with a slash.
            document: The body, sent as JSON.
            headers: Further header fields, with names in lower case.

        Raises:
            DerivaMLReadOnlyError: A change to a snapshot.
            DerivaMLAuthenticationError: The catalog does not know the client, or grants too little.
            DerivaMLCatalogError: Any other refusal.
            DerivaMLUnreachable: There was no answer.
        """
        if self.snaptime and method not in {"GET", "HEAD"}:
            raise DerivaMLReadOnlyError(
                f"A snapshot cannot be changed: {self.catalog_id}@{self.snaptime}", source=f"{method} {target[:200]}"
            )
        fields = {"accept": "application/json", **(headers or {})}
        if method == "GET" and self.snaptime is None and (before := self.drafts.before(target)):
            # Answered in full, whatever the client has: what is drafted has no version to compare with.
            seen = self.several.change([*before, Member("GET", target, accept=fields["accept"])], commit=False)
            return check(Request(method, self.base + target, fields), seen[-1])
        body = None
        if document is not None:
            body = json_body(document)
            fields["content-type"] = "application/json"
        return read_whole(self.transport, Request(method, self.base + target, fields, body), self._retry)

    def batch(self, members: Sequence[Member], take: Callable[[int, Response], T]) -> list[T]:
        """Read several things, in one request and of one moment where the service takes that; see `Several.read`."""
        if self.snaptime is None and any(self.drafts.before(member.target) for member in members):
            return [
                take(place, self.send("GET", member.target, headers={"accept": member.accept or "application/json"}))
                for place, member in enumerate(members)
            ]
        return self.several.read(members, take)

    @property
    def takes_batches(self) -> bool:
        """Whether the service takes several requests in one, so that changes can happen together."""
        return self.transport.batch is not None

    def batch_rows(self, paths: Sequence[str]) -> list[list[Row]]:
        """The rows at several targets below the catalog; see `batch`."""
        members = [Member("GET", target, accept="application/json") for target in paths]
        return self.batch(members, lambda _place, answer: cast("list[Row]", json.loads(answer.read())))

    def get(self, target: str) -> Any:
        """The JSON document at a target below the catalog."""
        return json.loads(self.send("GET", target).read())

    def change_model(self, method: str, target: str, document: Any = None) -> Any:
        """Change the model; give the document that the catalog answers, if any."""
        self._model_is_current = False
        content = self.send(method, target, document=document).read()
        return json.loads(content) if content.strip() else None

    # ------------------------------------------------------------------------------------------ the catalog

    def info(self) -> Row:
        """The catalog's own document: snaptime, rights, features."""
        return cast("Row", self.get("/"))

    def latest_snaptime(self) -> str:
        """The moment of the catalog's latest change, of its rows or of its model."""
        return str(self.info()["snaptime"])

    def snapshot(self, snaptime: str) -> CatalogClient:
        """The catalog as it was at a moment; shares the transport."""
        return CatalogClient(
            self.transport, self.catalog_id, snaptime, target_bytes=self.target_bytes, retry=self._retry
        )

    def model(self, *, refresh: bool = False) -> Model:
        """The catalog's model.

        It is kept, and asked for again (which costs little if it is unchanged) after this client has changed it.

        Args:
            refresh: Ask for it in any case: another client may have changed it.
        """
        if self._model is None or refresh or not self._model_is_current:
            known = self._model is not None and self._model_tag is not None
            answer = self.send("GET", "/schema", headers={"if-none-match": str(self._model_tag)} if known else {})
            if answer.status != 304 or self._model is None:
                document = json.loads(answer.read())
                self._model = model_from_document(document)
                self._rights = rights_of(document)
                self._model_tag = answer.headers.get("etag")
            self._model_is_current = True
        return self._model

    def table(self, schema: str, name: str) -> Table:
        """One table of the model.

        Raises:
            DerivaMLTableNotFound: There is none of this name.
        """
        model = self.model()
        found = model.table(schema, name)
        if found is None:
            known = [t.name for t in model.tables() if t.schema == schema]
            raise DerivaMLTableNotFound(f"{schema}:{name}", allowed=nearest(name, known))
        return found

    def may(self, right: str, schema: str, name: str) -> bool:
        """Whether the caller may ``insert``, ``update``, ``delete`` or ``select`` rows of a table.

        True also where it depends on the row, and where the service does not say.
        """
        self.model()
        return self._rights.get((schema, name), {}).get(right) is not False

    # ------------------------------------------------------------------------------------------ reading rows

    def rows(self, path: Path) -> list[Row]:
        """The rows of a path's context table."""
        return cast("list[Row]", self.get(path.entity()))

    def attributes(self, path: Path, *columns: ItemLike, **named: ItemLike) -> list[Row]:
        """Some columns of a path's rows; those given by keyword are called by it."""
        return cast("list[Row]", self.get(path.attributes(*columns, **named)))

    def aggregate(self, path: Path, **aggregates: Call) -> Row:
        """Aggregates over all rows of a path."""
        return cast("Row", self.get(path.aggregate(**aggregates))[0])

    def attributegroup(self, path: Path, keys: Sequence[ItemLike], **aggregates: ItemLike) -> list[Row]:
        """One row for each combination of the keys' values."""
        return cast("list[Row]", self.get(path.attributegroup(keys, **aggregates)))

    rows_by = searches.rows_by
    get_by = searches.get_by
    resolve_rids = searches.resolve_rids
    place_of_rid = searches.place_of_rid

    # ------------------------------------------------------------------------------------------ writing rows

    def insert(
        self,
        schema: str,
        table_name: str,
        rows: Iterable[Document],
        *,
        defaults: Collection[str] = (),
        nondefaults: Collection[str] = (),
        on_conflict_skip: bool = False,
    ) -> list[Row]:
        """Add rows.

        A batch is added whole or not at all; a list of more than 10,000 rows is several batches.

        Args:
            schema: The table's schema.
            table_name: The table.
            rows: The rows. A column that none of them has takes its default; one that only some have is null in others.
            defaults: Columns that take their default, whatever the rows say.
            nondefaults: System columns that take what the rows say, such as a leased RID.
            on_conflict_skip: Leave out rows that are there already, by any key; the rest is added and returned.

        Returns:
            The rows as they are stored, in the order in which they were given.

        Raises:
            DerivaMLDataError: A row has a column that the table lacks.
        """
        given = list(rows)
        target = self._insertion(schema, table_name, given, defaults, nondefaults, skip=on_conflict_skip)
        stored: list[Row] = []
        for batch in batches(given):
            stored.extend(self._exchange_rows("POST", target, batch))
        return stored

    def insertions(
        self,
        schema: str,
        table_name: str,
        rows: Sequence[Document],
        *,
        nondefaults: Collection[str] = (),
        on_conflict_skip: bool = False,
    ) -> list[Member]:
        """What `insert` would send, as members of a batch."""
        target = self._insertion(schema, table_name, rows, (), nondefaults, skip=on_conflict_skip)
        return [Member("POST", target, body=json_body(batch).decode()) for batch in batches(rows)]

    def _insertion(
        self,
        schema: str,
        table_name: str,
        rows: Sequence[Document],
        defaults: Collection[str],
        nondefaults: Collection[str],
        *,
        skip: bool,
    ) -> str:
        defaulted = defaulted_columns(self.table(schema, table_name), rows, defaults, nondefaults) if rows else []
        return targets.insertion(
            schema, table_name, defaults=defaulted, nondefaults=sorted(nondefaults), on_conflict_skip=skip
        )

    def _exchange_rows(self, method: str, target: str, rows: Sequence[Document]) -> list[Row]:
        return cast("list[Row]", json.loads(self.send(method, target, document=rows).read()))

    def update(
        self,
        schema: str,
        table_name: str,
        rows: Iterable[Document],
        *,
        keys: Sequence[str] = ("RID",),
        columns: Sequence[str] | None = None,
    ) -> list[Row]:
        """Change columns of rows that are there.

        Args:
            schema: The table's schema.
            table_name: The table.
            rows: The keys of the rows to change, with the new values. Rows may differ in the columns that they have;
                a column that a row does not have is not changed in it.
            keys: The columns by which rows are found.
            columns: Change these columns only; by default, all that a row has beside its keys.

        Returns:
            Keys and new values of the rows that were changed. A row that is not found is left out.
        """
        changed: list[Row] = []
        for names, members in by_changes(rows, keys, columns).items():
            target = targets.update(schema, table_name, keys, names)
            for batch in batches(members):
                changed.extend(self._exchange_rows("PUT", target, batch))
        return changed

    def upsert(self, schema: str, table_name: str, rows: Iterable[Document]) -> list[Row]:
        """Add rows, or overwrite those with equal keys; a column that a row does not have becomes null."""
        stored: list[Row] = []
        for batch in batches(list(rows)):
            stored.extend(self._exchange_rows("PUT", targets.upsert(schema, table_name), batch))
        return stored

    def delete(self, path: Path) -> bool:
        """Delete the rows of a path's context table.

        Returns:
            Whether there were any.
        """
        try:
            self.send("DELETE", path.entity())
        except DerivaMLCatalogError as error:
            # The catalog has one status for "no such catalog" and for "no such rows".
            if error.status == 404 and "entities matching" in error.detail:
                return False
            raise
        return True

    def lease_rids(self, count: int) -> list[str]:
        """Take new RIDs, for rows that are to be inserted later with ``nondefaults={"RID"}``."""
        target = targets.insertion("public", "ERMrest_RID_Lease")
        leased: list[Row] = []
        for batch in batches([{"ID": None}] * count):
            leased.extend(self._exchange_rows("POST", target, batch))
        return [str(row["RID"]) for row in leased]

    # ------------------------------------------------------------------------------------------ changing the model

    create_schema = model_changes.create_schema
    create_table = model_changes.create_table
    create_tables = model_changes.create_tables
    create_column = model_changes.create_column
    create_key = model_changes.create_key
    create_foreign_key = model_changes.create_foreign_key
    alter = model_changes.alter
    drop_schema = model_changes.drop_schema
    drop_table = model_changes.drop_table
    drop_column = model_changes.drop_column
    drop_key = model_changes.drop_key
    drop_foreign_key = model_changes.drop_foreign_key
    set_annotation = model_changes.set_annotation
