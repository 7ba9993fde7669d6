"""Names and versions of the object store against a model of two dictionaries."""

from __future__ import annotations

import json
import tempfile
from hashlib import sha256
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from deriva_ml.server.access import LOCAL_ROLE
from deriva_ml.server.hatrac import Hatrac
from deriva_ml.wire.http import Client, Request, Response

ME = Client("local:me", roles=frozenset({LOCAL_ROLE}))
NAMES = st.sampled_from(["/a", "/b", "/ns/a", "/ns/b", "/ns/deep/a", "/ns"])
CONTENTS = st.sampled_from([b"", b"one", b"two", b"three"])


class ObjectStore(RuleBasedStateMachine):
    """Puts, deletions and reopening in any order; after each step all that is readable is compared."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.store = Hatrac(self.root)
        self.versions: dict[str, list[tuple[str, bytes]]] = {}
        self.namespaces: set[str] = set()
        self.deleted: set[str] = set()

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Response:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.store(Request(method, f"/hatrac{target}", fields, body), ME)

    def above(self, name: str) -> list[str]:
        parts = name.split("/")
        return ["/".join(parts[:count]) for count in range(2, len(parts))]

    @rule(name=NAMES, content=CONTENTS)
    def put(self, name: str, content: bytes) -> None:
        answer = self.ask("PUT", f"{name}?parents=true", content)
        above = self.above(name)
        if name in self.namespaces | self.deleted or any(one in self.versions.keys() | self.deleted for one in above):
            assert answer.status == 409
            return
        assert answer.status == 201
        self.namespaces.update(above)
        version = answer.read().decode().strip().rpartition(":")[2]
        self.versions.setdefault(name, []).append((version, content))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        there = name in self.versions or name in self.namespaces
        assert self.ask("DELETE", name).status == (204 if there else 404)
        if there:
            below = {one for one in self.versions.keys() | self.namespaces if one == name or one.startswith(f"{name}/")}
            self.deleted |= below
            self.namespaces -= below
            for one in below:
                self.versions.pop(one, None)

    @rule(name=NAMES)
    def delete_oldest(self, name: str) -> None:
        if self.versions.get(name):
            version, _ = self.versions[name].pop(0)
            assert self.ask("DELETE", f"{name}:{version}").status == 204
            assert self.ask("GET", f"{name}:{version}").status == 404

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Hatrac(self.root)

    @invariant()
    def everything_reads_as_it_should(self) -> None:
        for name, versions in self.versions.items():
            current = self.ask("GET", name)
            assert current.status == (200 if versions else 409)
            if versions:
                assert current.read() == versions[-1][1]
            listed = json.loads(self.ask("GET", f"{name};versions").read())
            assert listed == [f"/hatrac{name}:{version}" for version, _ in reversed(versions)]
            for version, content in versions:
                assert self.ask("GET", f"{name}:{version}").read() == content
        for name in self.deleted:
            assert self.ask("GET", name).status == 404

    @invariant()
    def the_files_are_those_that_are_needed(self) -> None:
        wanted = {sha256(content).hexdigest() for versions in self.versions.values() for _, content in versions}
        kept = {path.name for path in (self.root / "objects").rglob("*") if path.is_file()}
        assert kept == wanted


ObjectStore.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestObjectStore = ObjectStore.TestCase
