"""Content of code files: git's checksum of it, notebooks without their outputs, new files as patches; no git."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["blob_checksum", "file_content", "new_file_patch", "same_but_for_outputs", "without_outputs"]

_SHA256_LENGTH = 64
_VOLATILE_CELL = ("ExecuteTime", "collapsed", "execution", "heading_collapsed", "hidden", "scrolled")
"""Metadata of a cell that running or folding it changes."""


def blob_checksum(content: bytes, commit_length: int = 40) -> str:
    """What ``git hash-object`` says of this content.

    Args:
        content: The content.
        commit_length: Digits of the repository's object names, which tell its hash function.
    """
    digest = hashlib.sha256() if commit_length == _SHA256_LENGTH else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(content) + content)
    return digest.hexdigest()


def file_content(path: Path) -> bytes:
    """The content of a code file by which it is identified: that of a notebook is without its outputs."""
    content = path.read_bytes()
    return without_outputs(content) if path.suffix == ".ipynb" else content


def without_outputs(notebook: bytes) -> bytes:
    """A notebook as it is before it was run, in the form in which Jupyter writes it.

    What cannot be read as a notebook is left as it is.
    """
    try:
        document: Any = json.loads(notebook)
        cells = document["cells"]
        for cell in cells:
            cell["metadata"] = {name: value for name, value in cell["metadata"].items() if name not in _VOLATILE_CELL}
            if cell["cell_type"] == "code":
                cell["outputs"] = []
                cell["execution_count"] = None
        document["metadata"].pop("widgets", None)
        document["metadata"].pop("signature", None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return notebook
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def same_but_for_outputs(one: bytes | None, other: bytes) -> bool:
    """Whether two states of a notebook differ in nothing but what running it changes."""
    return one is not None and without_outputs(one) == without_outputs(other)


def new_file_patch(path: Path, name: str) -> bytes:
    """A patch, as git writes it, that makes a file of this name with the content of ``path``.

    Content that is no text is named and not kept.
    """
    content = path.read_bytes()
    if b"\0" in content:
        return f"# {name} is not text, and is not kept\n".encode("utf-8", "surrogateescape")
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n".encode("utf-8", "surrogateescape")
    if not content:
        return head
    whole = content.endswith(b"\n")
    lines = content.removesuffix(b"\n").split(b"\n")
    body = b"".join(b"+" + line + b"\n" for line in lines)
    range_of = f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n".encode("utf-8", "surrogateescape")
    return head + range_of + body + (b"" if whole else b"\\ No newline at end of file\n")
