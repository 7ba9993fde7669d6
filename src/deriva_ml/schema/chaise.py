"""What a catalog tells Chaise, the web interface of Deriva catalogs, and ``deriva-upload-cli``: menu and upload rules.

The annotations do nothing to a catalog that no web interface shows; they go with it when it moves to one that does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from deriva_ml.core.constants import is_system_schema
from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.schema.annotation_values import DISPLAY
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset, is_association, is_vocabulary
from deriva_ml.wire.model import Json, Table

__all__ = [
    "add_page",
    "apply_catalog_annotations",
    "asset_rule",
    "catalog_annotation",
    "chaise_url",
    "record_url",
    "refresh_menu",
    "upload_rules",
]

CHAISE_CONFIG = "tag:isrd.isi.edu,2019:chaise-config"
BULK_UPLOAD = "tag:isrd.isi.edu,2017:bulk-upload"
_DOCUMENTATION = "https://docs.derivacloud.org/"
_PAGES = "www"


def _base(session: Session) -> str:
    return f"{session.place.base_url or f'tag:{session.identity}'}/chaise"


def _address(table: Table) -> str:
    return f"{quote(table.schema, safe='')}:{quote(table.name, safe='')}"


def chaise_url(session: Session, table: str | Table) -> str:
    """Where the web interface of the catalog's host shows a table's rows.

    A folder has no web interface: the URL then begins with a ``tag:`` of the folder's identity.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    return f"{_base(session)}/recordset/#{session.catalog_id}/{_address(session.table(table))}"


def record_url(session: Session, schema: str, name: str, rid: str) -> str:
    """Where the web interface of the catalog's host shows a record; of a folder, which has none, a name for it."""
    address = f"{quote(schema, safe='')}:{quote(name, safe='')}"
    return f"{_base(session)}/record/#{session.catalog_id}/{address}/RID={rid}"


def _item(session: Session, table: Table) -> Json:
    return {"name": table.name, "url": f"/chaise/recordset/#{session.catalog_id}/{_address(table)}"}


def _group(name: str, children: list[Json]) -> list[Json]:
    return [{"name": name, "children": children}] if children else []


def _tables(session: Session, schema: str) -> list[Table]:
    model = session.model()
    found = model.schemas[schema].tables.values() if schema in model.schemas else ()
    return sorted(found, key=lambda table: table.name)


def _menu(session: Session) -> list[Json]:
    """User Info, Deriva-ML, WWW, each of the project's schemas, vocabularies, assets, features, and two links."""
    domain = [table for schema in sorted(session.domain_schemas) for table in _tables(session, schema)]
    ml = _tables(session, session.ml_schema)
    every = [*domain, *ml]
    features = [table for table in domain if table.column("Feature_Name") and table.column("Execution")]
    known = ("ERMrest_Client", "ERMrest_Group")
    people = [table for table in _tables(session, "public") if table.name in known]
    core = [table for table in ml if not is_vocabulary(table) and not is_association(table) and not is_asset(table)]
    menu: list[Json] = []
    menu += _group("User Info", [_item(session, table) for table in people])
    menu += _group("Deriva-ML", [_item(session, table) for table in core])
    menu += _group("WWW", [_item(session, t) for s in ("www", "WWW") for t in _tables(session, s)])
    for schema in sorted(session.domain_schemas):
        plain = [t for t in domain if t.schema == schema and not is_vocabulary(t) and not is_association(t)]
        menu += _group(schema, [_item(session, t) for t in plain if t not in features])
    menu += _group("Vocabulary", [_item(session, table) for table in every if is_vocabulary(table)])
    menu += _group("Assets", [_item(session, table) for table in every if is_asset(table)])
    menu += _group("Features", [_item(session, table) for table in features])
    menu.append({"name": "Catalog Registry", "url": "/chaise/recordset/#0/ermrest:registry"})
    menu.append({"name": "Documentation", "url": _DOCUMENTATION})
    return menu


def catalog_annotation(session: Session, navbar_brand_text: str, head_title: str) -> dict[str, Json]:
    """The catalog's own annotation for the web interface: title, menu, where it begins."""
    return {
        "headTitle": head_title,
        "navbarBrandText": navbar_brand_text,
        "defaultTable": {"schema": session.ml_schema, "table": str(MLTable.dataset)},
        "deleteRecord": True,
        "showFaceting": True,
        "shareCiteAcls": True,
        "resolverImplicitCatalog": False,
        "systemColumnsDisplayCompact": ["RID"],
        "systemColumnsDisplayEntry": ["RID"],
        "navbarMenu": {"newTab": False, "menu": _menu(session)},
    }


def upload_rules(session: Session, chunk_size: int | None = None) -> dict[str, Json]:
    """Rules for ``deriva-upload-cli``: files, and rows in ``records/<schema>/<Table>.csv``.

    Args:
        session: The catalog.
        chunk_size: Files longer than this are sent in chunks of so many bytes; by default that tool decides.
    """
    mappings: list[Json] = [
        {
            "asset_type": "table",
            "default_columns": ["RID", "RCB", "RMB", "RCT", "RMT"],
            "file_pattern": "^.*/records/(?P<schema>.+?)/(?P<table>.+?)[.]",
            "ext_pattern": "^.*[.](?P<file_ext>json|csv)$",
        }
    ]
    for schema in sorted(session.domain_schemas):
        mappings.extend(asset_rule(table, chunk_size) for table in _tables(session, schema) if is_asset(table))
    return {"asset_mappings": mappings, "version_compatibility": [[">=1.4.0"]]}


def asset_rule(table: Table, chunk_size: int | None = None, metadata: Sequence[str] = ()) -> dict[str, Json]:
    """The rule for the files of one table: ``<schema>/<Table>/<values of metadata>/<file>``.

    Args:
        table: The asset table.
        chunk_size: Files longer than this are sent in chunks of so many bytes; by default that tool decides.
        metadata: The columns whose values the directories are, in their order.
    """
    values = "".join(f"(?P<value{at}>[^/]+)/" for at in range(len(metadata)))
    columns: dict[str, Json] = {name: f"{{value{at}}}" for at, name in enumerate(metadata)}
    facts: dict[str, Json] = {"URL": "{URI}", "Filename": "{file_name}", "Length": "{file_size}", "MD5": "{md5}"}
    options: dict[str, Json] = {"versioned_uris": True}
    return {
        "column_map": {**facts, **columns},
        "file_pattern": f"^.*/{re.escape(table.schema)}/{re.escape(table.name)}/{values}[^/]+$",
        "target_table": [table.schema, table.name],
        "checksum_types": ["md5"],
        "hatrac_templates": {
            "hatrac_uri": f"/hatrac/{quote(table.name, safe='')}/{{md5}}.{{file_name}}",
            "content-disposition": "filename*=UTF-8''{file_name}",
        },
        "hatrac_options": options if chunk_size is None else {**options, "chunk_size": chunk_size},
        "record_query_template": "/entity/{target_table}/MD5={md5}&Filename={file_name}",
    }


def apply_catalog_annotations(
    session: Session, navbar_brand_text: str = "ML Data Browser", head_title: str = "Catalog ML"
) -> None:
    """Give the catalog the menu, the look and the upload rules that fit its tables as they are now.

    Tables that are made later join the menu by themselves, as long as ``update_navbar`` is not false.

    Args:
        session: The catalog.
        navbar_brand_text: What stands at the left of the menu.
        head_title: The title of the browser's window.

    Raises:
        DerivaMLReadOnlyError: This is a snapshot.
    """
    session.require_writable()
    annotations: dict[str, Json] = {
        CHAISE_CONFIG: catalog_annotation(session, navbar_brand_text, head_title),
        DISPLAY: {"name_style": {"underline_space": True}},
        BULK_UPLOAD: upload_rules(session),
    }
    for tag, value in annotations.items():
        session.catalog.set_annotation(tag, value)


def refresh_menu(session: Session) -> bool:
    """Bring the catalog's menu up to date with its tables; False if it has none.

    Whoever has changed the menu by hand keeps all else of the annotation.
    """
    present = session.model().annotations.get(CHAISE_CONFIG)
    if not isinstance(present, dict) or "navbarMenu" not in present:
        return False
    fresh: dict[str, Json] = {**present, "navbarMenu": {"newTab": False, "menu": _menu(session)}}
    if fresh != present:
        session.catalog.set_annotation(CHAISE_CONFIG, fresh)
    return True


def add_page(session: Session, title: str, content: str) -> str:
    """Add a page to the catalog's own web pages, in a table of the project's name in schema ``www``.

    Args:
        session: The catalog.
        title: The page's title.
        content: Its text, Markdown.

    Returns:
        The RID of the page.

    Raises:
        DerivaMLConfigurationError: The catalog has no default schema, or holds no such pages.
    """
    session.require_writable()
    name = session.domain(None)
    pages = session.model().table(_PAGES, name)
    if pages is None or is_system_schema(name, ""):
        raise DerivaMLConfigurationError(
            f"The catalog has no table {_PAGES}:{name} for pages.",
            hint="such a table has the columns Title and Content; make it with ml.create_table(..., schema='www')",
        )
    made = session.catalog.insert(_PAGES, name, [{"Title": title, "Content": content}])
    return str(made[0]["RID"])
