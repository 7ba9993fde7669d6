"""How a bag is laid out: the names of its files, and the texts of its tag files; no I/O.

    Dataset_<RID>/
        bagit.txt, bag-info.txt
        fetch.txt                where the files of assets are, as long as they are not in the bag
        manifest-md5.txt         every payload file, fetched or not
        manifest-sha256.txt      the tables and the model: of an asset the catalog knows the MD5 only
        tagmanifest-md5.txt, tagmanifest-sha256.txt
        data/schema.json         the model, without anything that depends on who asks
        data/<schema>/<Table>.csv
        data/asset/<RID>/<Table>/<Filename>

The same version of a dataset gives the same bytes, wherever and whenever it is exported: rows and files are sorted,
dates are those of the version's snapshot, and no file but one holds a version of this software, an address, or the
identity of a folder. ``fetch.txt`` alone tells how the catalog is reached, or which folder it is: it is there only as
long as files are missing, and no manifest lists it. So a bag has the same manifests with its files and without, from a
folder and from the same folder served; with its files it is the same in every byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from deriva_ml.core.codes import decode
from deriva_ml.core.constants import ML_SCHEMA
from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import Digests
from deriva_ml.core.values import dataclass
from deriva_ml.wire.model import Json, Table

__all__ = [
    "ASSETS",
    "BAGIT",
    "FETCH",
    "MINID_FACT",
    "SEAL",
    "Payload",
    "bag_info",
    "bag_name",
    "fetch_text",
    "is_stored",
    "listed_paths",
    "manifest_text",
    "payload_of",
    "payload_path",
    "read_fetch",
    "read_info",
    "read_manifest",
    "read_schemas",
    "schema_facts",
    "table_path",
]

BAGIT = "BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n"
"""Version 0.97 lets a manifest list some of the files only, as ``manifest-sha256.txt`` does."""

SEAL = "tagmanifest-sha256.txt"
"""What vouches for all of a bag: its own SHA-256 is the bag's checksum."""

FETCH = "fetch.txt"
"""The list of the files that are not in the bag."""

MINID_FACT = "Minid"
"""The entry of ``bag-info.txt`` that names the identifier by which a bag was found elsewhere."""

ASSETS = "data/asset"
"""Where the files of assets lie, each at ``<RID>/<Table>/<Filename>``."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029/\\]")
"""Among them everything that some reader takes for the end of a line."""
_LINE_END = re.compile("%(?=0[AaDd])")
_MD5 = re.compile("[0-9a-fA-F]{32}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Payload:
    """A file of an asset.

    Attributes:
        path: Where it lies in the bag, from the bag's directory on.
        url: Where the object store has it, as the catalog's record says.
        length: Its size in bytes.
        md5: Hexadecimal MD5.
    """

    path: str
    url: str
    length: int
    md5: str


def bag_name(rid: str) -> str:
    """The name of a bag's directory."""
    return f"Dataset_{rid}"


def _component(name: str) -> str:
    """A schema's or table's name as one component of a path; manifests give ``%`` a meaning, so ``=`` escapes."""
    return quote(name, safe=" ()+,-._@").replace("%", "=") if name.strip(".") else name.replace(".", "=2E")


def table_path(schema: str, name: str) -> str:
    """Where a table's rows lie in a bag."""
    return f"data/{_component(schema)}/{_component(name)}.csv"


def _file_name(row: Mapping[str, Json]) -> str:
    """A file's name as it can stand in a bag: without directories, control characters and blanks at its ends.

    ``%0A`` and ``%0D`` stand for the ends of lines in a manifest, so a name must not hold them.
    """
    given = str(row.get("Filename") or "") or unquote(PurePosixPath(str(row["URL"])).name.partition(":")[0])
    name = _LINE_END.sub("_", _CONTROL.sub("_", given))
    name = "_" * (len(name) - len(name.lstrip())) + name.strip() + "_" * (len(name) - len(name.rstrip()))
    return name if name.strip("._") else f"file{name}"


def payload_path(table: Table, row: Mapping[str, Json]) -> str:
    """Where the file of an asset lies in a bag."""
    return _payload_path(_component(table.name), row)


def _payload_path(component: str, row: Mapping[str, Json]) -> str:
    return f"{ASSETS}/{row['RID']}/{component}/{_file_name(row)}"


def is_stored(row: Mapping[str, Json]) -> bool:
    """Whether an asset's file is in an object store; else the row only refers to a file elsewhere."""
    return str(row["URL"] or "").startswith(("/", "http://", "https://", "deriva-ml:"))


def payload_of(table: Table, rows: Iterable[Mapping[str, Json]]) -> list[Payload]:
    """The files of an asset table's rows; rows that only refer to a file elsewhere have none.

    Raises:
        DerivaMLDataError: A record lacks the size or the MD5 of its file.
    """
    found: list[Payload] = []
    component = _component(table.name)
    for row in rows:
        url = str(row["URL"] or "")
        if not is_stored(row):
            continue
        length, md5 = row["Length"], str(row["MD5"] or "")
        if not isinstance(length, int) or not _MD5.fullmatch(md5):
            raise DerivaMLDataError(
                f"Record {row['RID']} of {table.schema}:{table.name} lacks the size or the MD5 of its file.",
                hint="correct the record, make a new version of the dataset and name that; or exclude the table",
            )
        found.append(Payload(_payload_path(component, row), url, length, md5.lower()))
    return sorted(found, key=lambda payload: payload.path)


# ---------------------------------------------------------------------------------------------- tag files


def _line_path(path: str) -> str:
    """A path as ``fetch.txt`` writes it; readers undo the escapes."""
    return path.replace("%", "%25")


def _line_url(url: str) -> str:
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def manifest_text(digests: Iterable[tuple[str, str]]) -> str:
    """A manifest of (path, checksum) pairs, by path."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests))


def fetch_text(payload: Iterable[Payload], base_url: str) -> str:
    """The list of the files that are to be fetched.

    Args:
        payload: The files.
        base_url: What stands before the path of a URL that has no authority.
    """
    lines = []
    for item in sorted(payload, key=lambda each: each.path):
        url = base_url + item.url if item.url.startswith("/") else item.url
        lines.append(f"{_line_url(url)}\t{item.length}\t{_line_path(item.path)}\n")
    return "".join(lines)


def read_manifest(text: str) -> dict[str, str]:
    """The checksums of a manifest by path."""
    lines = (line.partition("  ") for line in text.split("\n") if line)
    return {path: digest for digest, _blank, path in lines}


def listed_paths(text: str) -> list[str]:
    """The paths that ``fetch.txt`` lists."""
    return [unquote(line.split("\t", 2)[2]) for line in text.split("\n") if line]


def read_fetch(text: str, base_url: str, md5: Mapping[str, str]) -> list[Payload]:
    """The files that ``fetch.txt`` lists, with their checksums of the manifest.

    Args:
        text: The content of ``fetch.txt``.
        base_url: What was put before URLs without authority, and is taken off again.
        md5: The checksums by path.
    """
    found = []
    for line in text.split("\n"):
        if line:
            url, length, path = line.split("\t", 2)
            path = unquote(path)
            found.append(Payload(path, url.removeprefix(base_url), int(length), md5[path]))
    return found


def bag_info(facts: Mapping[str, str], snapshot: str, digests: Iterable[Digests], payload: Iterable[Payload]) -> str:
    """The text of ``bag-info.txt``.

    Args:
        facts: Further entries.
        snapshot: The version's snapshot, from which the date is taken.
        digests: The files that are in the bag from the beginning.
        payload: The files that are to be fetched.
    """
    lengths = [each.length for each in digests] + [each.length for each in payload]
    moment = _EPOCH + timedelta(microseconds=decode(snapshot))
    entries = {
        **facts,
        "Bag-Software-Agent": "deriva-ml",
        "Bagging-Date": moment.date().isoformat(),
        "Payload-Oxum": f"{sum(lengths)}.{len(lengths)}",
    }
    return "".join(f"{name}: {' '.join(str(entries[name]).split())}\n" for name in sorted(entries))


def read_info(text: str) -> dict[str, str]:
    """The entries of ``bag-info.txt``."""
    lines = (line.partition(":") for line in text.split("\n"))
    return {name.strip(): value.strip() for name, colon, value in lines if colon}


def schema_facts(ml_schema: str, domain_schemas: Iterable[str]) -> dict[str, str]:
    """Entries for ``bag-info.txt`` that tell the ML schema and the project's schemas."""
    domain = " ".join(quote(name, safe="") for name in sorted(domain_schemas))
    return {"ML-Schema": quote(ml_schema, safe=""), "Domain-Schemas": domain}


def read_schemas(info: Mapping[str, str]) -> tuple[str, frozenset[str]]:
    """The ML schema and the project's schemas, of the entries of ``bag-info.txt``."""
    domain = frozenset(unquote(name) for name in info.get("Domain-Schemas", "").split())
    return unquote(info.get("ML-Schema", ML_SCHEMA)), domain
