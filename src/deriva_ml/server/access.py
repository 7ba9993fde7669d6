"""Who may do what: ERMrest's access control lists, decided on the model.

A decision is True, False, or None where it depends on the row. Source: the protocol specification, section A5.2.
Whoever uses a folder in process owns it: the file system has already decided.
"""

from __future__ import annotations

from deriva_ml.server.errors import Forbidden
from deriva_ml.wire.http import Client
from deriva_ml.wire.model import Column, Document, Element, ForeignKey, Key, Model, Schema, Table

__all__ = ["LOCAL_ROLE", "Access", "is_local", "label", "roles_of"]

LOCAL_ROLE = "deriva-ml:local"
"""The role of clients in process. The HTTP service never gives it to anyone."""

GRANTING = {
    "owner": ("owner",),
    "create": ("create", "owner"),
    "write": ("write", "owner"),
    "insert": ("insert", "write", "owner"),
    "update": ("update", "write", "owner"),
    "delete": ("delete", "write", "owner"),
    "select": ("select", "update", "delete", "write", "owner"),
    "enumerate": ("enumerate", "select", "insert", "update", "delete", "create", "write", "owner"),
}
"""Which ACLs give a right."""

SHOWN = {
    Model: ("owner", "create"),
    Schema: ("owner", "create"),
    Table: ("owner", "insert", "update", "delete", "select"),
    Column: ("insert", "update", "delete", "select"),
    ForeignKey: ("insert", "update"),
}
"""The rights that documents show."""

HISTORY_CAPTURE = "tag:isrd.isi.edu,2020:history-capture"
"""Annotation of a table; where it is false, the table has no past."""

NEVER = {"RID": ("update",), "RCB": ("update",), "RMT": ("insert", "update"), "RMB": ("insert", "update")}
"""What no one may do with a system column."""


def is_local(client: Client) -> bool:
    """The client uses the folder in process, or is the one who serves it."""
    return LOCAL_ROLE in client.roles


def roles_of(client: Client) -> frozenset[str]:
    """The names by which ACLs can mean the client."""
    own = {client.id} if client.id is not None else set()
    return frozenset((client.roles | own | {"*"}) - {LOCAL_ROLE})


def label(element: Element, table: Table | None = None) -> str:
    """How a refusal names an element."""
    if isinstance(element, Model):
        return "catalog"
    if isinstance(element, Schema):
        return f"schema {element.name}"
    if isinstance(element, Table):
        return f":{element.schema}:{element.name}"
    if isinstance(element, ForeignKey):
        near, far = ",".join(element.columns), ",".join(element.referenced_columns)
        return f":{element.table[0]}:{element.table[1]}:{near}=@:{':'.join(element.referenced_table)}:{far}"
    home = f":{table.schema}:{table.name}" if table else ""
    return f"{home}:{element.name}"


def _has_no_past(table: Table) -> bool:
    return table.annotations.get(HISTORY_CAPTURE) is False


class Access:
    """What one client may do with one model.

    Args:
        model: The model.
        client: The client.
        is_snapshot: The model is of a moment in the past, where nothing can be changed.
    """

    def __init__(self, model: Model, client: Client, *, is_snapshot: bool = False) -> None:
        self.model = model
        self.roles = roles_of(client)
        self.is_anonymous = client.id is None
        self.is_snapshot = is_snapshot
        self.is_all = is_local(client) or self._meets(model.acls, "owner")
        """The client owns the catalog, hence may do everything."""
        self.is_whole = self.is_all and not (is_snapshot and any(map(_has_no_past, model.tables())))
        """Nothing of the model is hidden from the client."""
        self._decided: dict[tuple[int, str], bool | None] = {}

    # ------------------------------------------------------------------------------------------ deciding

    def right(self, element: Element, name: str, table: Table | None = None) -> bool | None:
        """Decide a right.

        Args:
            element: Of the model.
            name: The right.
            table: The table that a column belongs to.
        """
        if isinstance(element, Column) and name in NEVER.get(element.name, ()):
            return False
        if self.is_snapshot and isinstance(element, Table) and _has_no_past(element):
            return False
        if self.is_whole or (self.is_all and not isinstance(element, ForeignKey)):
            return True
        key = (id(element), name)
        if key not in self._decided:
            self._decided[key] = self._decide(element, name, table)
        return self._decided[key]

    def _meets(self, acls: object, name: str) -> bool:
        members = acls.get(name) if isinstance(acls, dict) else None
        return isinstance(members, list) and not self.roles.isdisjoint(str(member) for member in members)

    def _decide(self, element: Element, name: str, table: Table | None) -> bool | None:
        if isinstance(element, ForeignKey):
            return self._decide_reference(element, name)
        if self.roles == {"*"} and name not in ("select", "enumerate"):
            return False
        parent = self._parent(element, table)
        if self._is_shut(element, parent, name):
            return False
        if any(self._meets(element.acls, granting) for granting in GRANTING[name]):
            return True
        if parent is None:
            return False
        if self.right(parent, "owner") is True:
            return True
        if name not in element.acls and self.right(parent, name) is True:
            return True
        return self._bound(element, name, table)

    def _is_shut(self, element: Element, parent: Model | Schema | Table | None, name: str) -> bool:
        """What the element is in denies it, whatever the element's own lists say."""
        if isinstance(element, Table):
            return parent is None or self.right(parent, "enumerate") is not True
        return isinstance(element, Column) and (parent is None or self.right(parent, name) is False)

    def _parent(self, element: Element, table: Table | None) -> Model | Schema | Table | None:
        if isinstance(element, Column):
            return table
        if isinstance(element, Table):
            return self.model.schemas.get(element.schema)
        return self.model if isinstance(element, Schema) else None

    def _bound(self, element: Element, name: str, table: Table | None) -> bool | None:
        """None if a binding may give the right for some rows, else False."""
        if isinstance(element, Table):
            bindings = dict(element.acl_bindings)
        elif isinstance(element, Column):
            inherited = dict(table.acl_bindings) if table and name not in element.acls else {}
            bindings = inherited | dict(element.acl_bindings)
        elif isinstance(element, ForeignKey):
            bindings = dict(element.acl_bindings)
        else:
            return False
        wanted = set(GRANTING[name])
        for binding in bindings.values():
            if not isinstance(binding, dict):
                continue
            types, scope = binding.get("types"), binding.get("scope_acl")
            in_scope = isinstance(scope, list) and not self.roles.isdisjoint(map(str, scope))
            if in_scope and isinstance(types, list) and not wanted.isdisjoint(map(str, types)):
                return None
        return False

    def _decide_reference(self, fk: ForeignKey, name: str) -> bool | None:
        near = self.model.table(*fk.table)
        far = self.model.table(*fk.referenced_table)
        if near is None or far is None:
            return False
        if name == "owner":
            return self.right(near, "owner")
        ends = [(near, column) for column in fk.columns] + [(far, column) for column in fk.referenced_columns]
        columns = [(table, column) for table, named in ends if (column := table.column(named)) is not None]
        if name == "enumerate":
            if "enumerate" in fk.acls and not self._is_listed(fk, near, name):
                return False
            # Both ends must be there for the client, or its model would refer to what is not in it.
            return all(
                self.right(table, "enumerate") is not False
                and self.right(column, "enumerate", table) is not False
                and self.right(column, "select", table) is not False
                for table, column in columns
            )
        rights = [self.right(column, name, table) for table, column in columns[: len(fk.columns)]]
        rights.append(self.may_refer(fk, name))
        return False if False in rights else None if None in rights else True

    def may_refer(self, fk: ForeignKey, name: str) -> bool | None:
        """Whether values of a foreign key may be written, as far as the foreign key itself says.

        Args:
            fk: The foreign key; one without a list of that name is open to all who may write its columns.
            name: ``insert`` or ``update``.

        Returns:
            None where it depends on the row that is referred to.
        """
        near = self.model.table(*fk.table)
        if self.is_all or name not in fk.acls or self._is_listed(fk, near, name):
            return True
        return self._bound(fk, name, None)

    def _is_listed(self, fk: ForeignKey, near: Table | None, name: str) -> bool:
        """The foreign key's lists give the right, or the client owns the table that it belongs to."""
        if self.is_all or any(self._meets(fk.acls, granting) for granting in GRANTING[name]):
            return True
        return near is not None and self.right(near, "owner") is True

    # ------------------------------------------------------------------------------------------ for documents

    def shown(self, element: Element, table: Table | None = None) -> Document:
        """The rights that the element's document shows."""
        names = SHOWN[type(element)]
        if self.is_snapshot:
            return {name: self.right(element, name, table) if name == "select" else False for name in names}
        return {name: self.right(element, name, table) for name in names}

    def owns(self, element: Element, table: Table | None = None) -> bool:
        """The client owns the element, hence sees its ACLs."""
        return self.is_all or self.right(table if isinstance(element, Column) and table else element, "owner") is True

    def sees(self, element: Element | Key, table: Table | None = None) -> bool:
        """The element exists for the client; a key does if its columns may be read."""
        if isinstance(element, Key):
            columns = [table.columns_by_name[name] for name in element.columns] if table else []
            return self.is_all or all(self.right(column, "select", table) is not False for column in columns)
        return self.is_whole or self.right(element, "enumerate", table) is not False

    # ------------------------------------------------------------------------------------------ refusing

    def refuse(self, detail: str) -> Forbidden:
        """The refusal: an anonymous client is asked to log in."""
        return Forbidden(detail, anonymous=self.is_anonymous)

    def need(self, element: Element, name: str, table: Table | None = None) -> bool | None:
        """Refuse unless the client has the right, for some rows at least; gives True or None."""
        right = self.right(element, name, table)
        if right is False:
            raise self.refuse(f"{name} access on {label(element, table)}")
        return right

    def need_outright(self, element: Element, name: str, table: Table | None = None) -> None:
        """Refuse unless the client has the right whatever the row: there is none yet that a binding could test."""
        if self.right(element, name, table) is not True:
            raise self.refuse(f"{name} access on {label(element, table)}")

    def need_owner(self, element: Element, table: Table | None = None) -> None:
        """Refuse unless the client owns the element: that of a column or constraint is its table's owner."""
        owned = table if table is not None and not isinstance(element, Table) else element
        if self.right(owned, "owner") is not True:
            raise self.refuse(f"owner access on {label(element, table)}")
