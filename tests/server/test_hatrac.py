"""The object store in process: names, versions, digests, ranges, rights, upload jobs, and what faults leave behind."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import random
import threading
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5, sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.server.access import LOCAL_ROLE
from deriva_ml.server.hatrac import Hatrac
from deriva_ml.wire.hatrac import NAMESPACE_TYPE, ObjectTarget, UnknownResource, object_name, parse_object_target
from deriva_ml.wire.http import ANONYMOUS, Client, Request, Response

ME = Client("local:me", roles=frozenset({"local:me", LOCAL_ROLE}))


class Store:
    """A store with a short way to ask it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hatrac = Hatrac(root, owners=("ann",))

    def __call__(
        self, method: str, target: str, body: bytes | io.IOBase | None = None, who: Client = ME, **headers: str
    ) -> Response:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.hatrac(Request(method, f"/hatrac{target}", fields, body), who)  # type: ignore[arg-type]

    def put(self, target: str, body: bytes | io.IOBase, **headers: str) -> str:
        answer = self("PUT", f"{target}?parents=true", body, **headers)
        assert answer.status == 201, answer.read()
        return answer.read().decode().strip().removeprefix("/hatrac")

    def files(self) -> list[Path]:
        return sorted(path for path in (self.root / "objects").rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.hatrac.close()


def b64(digest: bytes) -> str:
    return b64encode(digest).decode()


# ---------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/hatrac", ObjectTarget("")),
        ("/hatrac/", ObjectTarget("")),
        ("/hatrac/a/b/", ObjectTarget("/a/b")),
        ("/hatrac/a%2Fb:V1", ObjectTarget("/a%2Fb", "V1")),
        ("/hatrac/a;versions", ObjectTarget("/a", None, "versions")),
        ("/hatrac/a:V;acl/read/x%20y", ObjectTarget("/a", "V", "acl", ("read", "x y"))),
        ("/hatrac/a;upload/J/3", ObjectTarget("/a", None, "upload", ("J", "3"))),
        ("/hatrac/a?parents=true&cid=x", ObjectTarget("/a", parents=True)),
        ("/hatrac/..", ObjectTarget("/..")),
    ],
)
def test_targets_are_read_as_they_were_written(raw: str, expected: ObjectTarget) -> None:
    assert parse_object_target(raw) == expected


@pytest.mark.parametrize("raw", ["/hatrac/a;what", "/hatrac/a;acl/b/c/d", "/hatrac/a:", "/hatrac/a:b/c", "/other"])
def test_a_target_of_no_known_kind_is_refused(raw: str) -> None:
    with pytest.raises(UnknownResource):
        parse_object_target(raw)


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20), min_size=1, max_size=4))
def test_any_text_can_be_a_name(segments: list[str]) -> None:
    url = object_name(*segments)
    target = parse_object_target(url)
    assert target.url == url
    assert target.name.count("/") == len(segments)


@given(st.text(max_size=60))
def test_no_target_is_worse_than_refused(tail: str) -> None:
    with contextlib.suppress(ValueError):
        parse_object_target("/hatrac/" + tail)


def test_names_never_reach_the_file_system(store: Store) -> None:
    store.put("/../../etc/%2E%2E%2Fpasswd", b"content")
    digest = sha256(b"content").hexdigest()
    assert store.files() == [store.root / "objects" / digest[:2] / digest]
    assert store("GET", "/../../etc/%2E%2E%2Fpasswd").read() == b"content"


def test_a_namespace_lists_what_lies_in_it(store: Store) -> None:
    assert store("PUT", "/ns", content_type=NAMESPACE_TYPE).status == 201
    store.put("/ns/b", b"1")
    store.put("/ns/a/deep", b"2")
    assert json.loads(store("GET", "/ns").read()) == ["/hatrac/ns/a", "/hatrac/ns/b"]
    assert store("GET", "/ns", accept="text/uri-list").read() == b"/hatrac/ns/a\n/hatrac/ns/b\n"
    assert store("PUT", "/ns", content_type=NAMESPACE_TYPE).status == 409


def test_reading_an_empty_store_writes_nothing(store: Store) -> None:
    assert store("GET", "/").read() == b"[]\n"
    assert store("GET", "/x").status == 404
    assert list(store.root.iterdir()) == []


def test_reading_changes_no_byte(store: Store) -> None:
    store.put("/a", b"x")
    store.hatrac.close()
    before = (store.root / "hatrac.db").read_bytes()
    again = Store(store.root)
    assert again("GET", "/a").read() == b"x"
    again.hatrac.close()
    assert (store.root / "hatrac.db").read_bytes() == before
    assert sorted(path.name for path in store.root.iterdir()) == ["hatrac.db", "objects"]


# ---------------------------------------------------------------------------------------------- content


def test_a_put_makes_a_version_and_the_newest_is_current(store: Store) -> None:
    first, second = store.put("/a", b"one"), store.put("/a", b"two", content_type="text/Plain; charset=x")
    answer = store("GET", "/a")
    assert answer.read() == b"two"
    assert answer.headers["content-location"] == f"/hatrac{second}"
    assert answer.headers["content-type"] == "text/plain"
    assert store("GET", first).read() == b"one"
    assert json.loads(store("GET", "/a;versions").read()) == [f"/hatrac{second}", f"/hatrac{first}"]


@pytest.mark.parametrize("as_stream", [False, True])
def test_both_digests_are_checked(store: Store, as_stream: bool) -> None:
    content, wrong = b"content" * 1000, b"other"
    for name, good, bad in (
        ("content_md5", md5(content).digest(), md5(wrong).digest()),
        ("content_sha256", sha256(content).digest(), sha256(wrong).digest()),
    ):
        body = io.BytesIO(content) if as_stream else content
        assert store("PUT", f"/{name}", body, **{name: b64(bad)}).status == 400
        assert store("GET", f"/{name}").status == 409  # as in the original: the object is there, without content
        body = io.BytesIO(content) if as_stream else content
        store.put(f"/{name}", body, **{name: b64(good)})
        assert store("GET", f"/{name}").headers[name.replace("_", "-")] == b64(good)
    assert len(store.files()) == 1


def test_a_body_that_stops_early_is_not_stored(store: Store) -> None:
    answer = store("PUT", "/a", io.BytesIO(b"half"), content_length="8")
    assert answer.status == 408
    assert store("GET", "/a").status == 404
    assert store.files() == []


def test_a_full_disk_is_said_and_leaves_nothing(store: Store) -> None:
    store.put("/before", b"there")

    class Full(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    answer = store("PUT", "/a", Full())
    assert answer.status == 507
    assert b"full" in answer.read()
    assert store("GET", "/a").status == 404
    assert len(store.files()) == 1


@pytest.mark.parametrize(
    ("header", "status", "expected"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=0-99", 200, b"0123456789"),
        ("bytes=5-2", 200, b"0123456789"),
        ("bytes=20-,1-2", 206, b"12"),
    ],
)
def test_ranges(store: Store, header: str, status: int, expected: bytes) -> None:
    store.put("/a", b"0123456789", content_md5=b64(md5(b"0123456789").digest()))
    answer = store("GET", "/a", range=header)
    assert (answer.status, answer.read()) == (status, expected)
    assert ("content-md5" in answer.headers) == (status == 200)


@pytest.mark.parametrize(("header", "status"), [("bytes=10-", 416), ("bytes=0-1,3-4", 501), ("lines=1-2", 501)])
def test_ranges_that_cannot_be_served(store: Store, header: str, status: int) -> None:
    store.put("/a", b"0123456789")
    assert store("GET", "/a", range=header).status == status


def test_preconditions(store: Store) -> None:
    version = store.put("/a", b"one").partition(":")[2]
    tag = f'"{version}"'
    assert store("GET", "/a", if_none_match=f'W/"x", {tag}').status == 304
    assert store("GET", "/a", if_match='"other"').status == 412
    assert store("PUT", "/a", b"two", if_none_match="*").status == 412
    assert store("PUT", "/new", b"two", if_none_match="*").status == 201
    assert store("PUT", "/absent", b"two", if_match="*").status == 412
    assert store("DELETE", "/a", if_match='"other"').status == 412
    assert store("DELETE", "/a", if_match=tag).status == 204


def test_head_has_the_headers_of_get_and_no_content(store: Store) -> None:
    store.put("/a", b"one")
    answer = store("HEAD", "/a")
    assert answer.read() == b""
    assert answer.headers["content-length"] == "3"
    assert answer.headers["accept-ranges"] == "bytes"


# ---------------------------------------------------------------------------------------------- deleting and renaming


def test_a_deleted_name_is_never_given_out_again(store: Store) -> None:
    store.put("/ns/a", b"one")
    assert store("DELETE", "/ns").status == 204
    for target in ("/ns", "/ns/a", "/ns/new"):
        assert store("GET", target).status == 404
        assert store("PUT", f"{target}?parents=true", b"x").status == 409
    assert store.files() == []


def test_content_goes_with_its_last_version_only(store: Store) -> None:
    first, second = store.put("/a", b"same"), store.put("/b", b"same")
    assert store("DELETE", first).status == 204
    assert store("GET", "/a").status == 409
    assert store("GET", second).read() == b"same"
    assert store("DELETE", "/b").status == 204
    assert store.files() == []
    store.put("/a", b"anew")
    assert store("GET", "/a").read() == b"anew"


def test_rename_takes_the_versions_along_and_leaves_the_old_urls_working(store: Store) -> None:
    first, second = store.put("/old", b"one"), store.put("/old", b"two")
    command = json.dumps({"command": "rename_from", "source_name": "/old"}).encode()
    answer = store("POST", "/new", command, content_type="application/json")
    assert answer.status == 201
    ids = [url.partition(":")[2] for url in (first, second)]
    assert answer.read().decode().split() == [f"/hatrac/new:{one}" for one in ids]
    assert store("GET", "/new").read() == b"two"
    moved = store("GET", first)
    assert (moved.read(), moved.headers["content-location"]) == (b"one", f"/hatrac/new:{ids[0]}")
    assert store("POST", "/new", command, content_type="application/json").status == 204


# ---------------------------------------------------------------------------------------------- rights


def test_a_stranger_sees_nothing_and_changes_nothing(store: Store) -> None:
    ann, bob = Client("ann", roles=frozenset({"ann"})), Client("bob", roles=frozenset({"bob"}))
    assert store("PUT", "/ns/a?parents=true", b"one", ann).status == 201
    for who, status in ((bob, 403), (ANONYMOUS, 401)):
        assert store("GET", "/ns/a", None, who).status == status
        assert store("PUT", "/ns/a", b"x", who).status == status
        assert store("PUT", "/ns/b", b"x", who).status == status
        assert store("DELETE", "/ns/a", None, who).status == status
        assert store("GET", "/ns/a;acl", None, who).status == status
        assert store("PUT", "/ns;acl/subtree-read", b'["*"]', who, content_type="application/json").status == status
    grant = store("PUT", "/ns;acl/subtree-read", b'["bob"]', ann, content_type="application/json")
    assert grant.status == 204
    assert store("GET", "/ns/a", None, bob).read() == b"one"
    assert store("PUT", "/ns/a", b"x", bob).status == 403
    assert store.hatrac.local_path("/hatrac/ns/a", bob) is not None
    assert store.hatrac.local_path("/hatrac/ns/a", ANONYMOUS) is None


# ---------------------------------------------------------------------------------------------- upload jobs


def begin(store: Store, target: str, content: bytes, chunk: int, **more: str) -> str:
    document = {"chunk-length": chunk, "content-length": len(content), **more}
    answer = store(
        "POST", f"{target};upload?parents=true", json.dumps(document).encode(), content_type="application/json"
    )
    assert answer.status == 201, answer.read()
    return answer.read().decode().strip().removeprefix("/hatrac")


def test_chunks_in_any_order_also_after_a_restart(store: Store) -> None:
    content = random.Random(1).randbytes(10_500)
    job = begin(store, "/up/file", content, 1000, **{"content-md5": b64(md5(content).digest())})
    order = list(range(11))
    random.Random(2).shuffle(order)
    for index in order[:6]:
        assert store("PUT", f"{job}/{index}", content[index * 1000 : (index + 1) * 1000]).status == 204
    assert store("POST", job).status == 409  # chunks are missing
    store.hatrac.close()
    store.hatrac = Hatrac(store.root)
    for index in order[5:]:
        assert (
            store(
                "PUT",
                f"{job}/{index}",
                io.BytesIO(content[index * 1000 : (index + 1) * 1000]),
                content_length=str(len(content[index * 1000 : (index + 1) * 1000])),
            ).status
            == 204
        )
    answer = store("POST", job)
    assert answer.status == 201
    assert answer.read().decode().strip() == f"/hatrac/up/file:{job.rpartition('/')[2]}"
    assert store("GET", "/up/file").read() == content
    assert store("POST", job).status == 404
    assert len(store.files()) == 1


def test_a_chunk_of_the_wrong_size_or_digest_does_not_count(store: Store) -> None:
    job = begin(store, "/up", b"0123456789", 6)
    assert store("PUT", f"{job}/0", b"01234").status == 409
    assert store("PUT", f"{job}/1", b"67890").status == 409
    assert store("PUT", f"{job}/0", b"012345", content_md5=b64(md5(b"x").digest())).status == 400
    assert store("POST", job).status == 409
    assert store("DELETE", job).status == 204
    assert store("GET", job).status == 404
    assert store.files() == []


def test_content_that_is_not_as_announced_is_not_published(store: Store) -> None:
    job = begin(store, "/up", b"0123456789", 10, **{"content-sha256": b64(sha256(b"0123456789").digest())})
    assert store("PUT", f"{job}/0", b"9876543210").status == 204
    assert store("POST", job).status == 409
    assert store("GET", "/up").status == 409
    assert store("PUT", f"{job}/0", b"0123456789").status == 204
    assert store("POST", job).status == 201


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{bad",
        b"[1]",
        b"{}",
        b'{"chunk-length": 0, "content-length": 1}',
        b'{"chunk-length": -1, "content-length": 1}',
        b'{"chunk-length": 1.5, "content-length": 1}',
        b'{"chunk-length": true, "content-length": 1}',
    ],
)
def test_a_bad_description_of_a_job_is_refused(store: Store, body: bytes) -> None:
    assert store("POST", "/up;upload", body, content_type="application/json").status == 400


# ---------------------------------------------------------------------------------------------- metadata


def test_a_digest_is_said_once_and_must_be_true(store: Store) -> None:
    store.put("/a", b"one")
    true, false = b64(md5(b"one").digest()).encode(), b64(md5(b"two").digest()).encode()
    assert store("PUT", "/a;metadata/content-md5", false, content_type="text/plain").status == 409
    assert store("PUT", "/a;metadata/content-md5", true, content_type="text/plain").status == 204
    assert store("PUT", "/a;metadata/content-md5", false, content_type="text/plain").status == 409
    assert store("GET", "/a;metadata/content-md5").read().strip() == true
    assert store("PUT", "/a;metadata/x-mine", b"v", content_type="text/plain").status == 400


# ---------------------------------------------------------------------------------------------- many at once


def test_many_threads_on_two_openings_lose_nothing(tmp_path: Path) -> None:
    stores = [Hatrac(tmp_path), Hatrac(tmp_path)]
    failures: list[bytes] = []

    def work(number: int) -> None:
        hatrac = stores[number % 2]
        for step in range(15):
            request = Request("PUT", f"/hatrac/ns/{number}/{step}?parents=true", {}, f"content {step}".encode())
            answer = hatrac(request, ME)
            if answer.status != 201:
                failures.append(answer.read())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for number in range(8):
        listed = json.loads(stores[0](Request("GET", f"/hatrac/ns/{number}"), ME).read())
        assert len(listed) == 15
    for hatrac in stores:
        hatrac.close()
    assert len([path for path in (tmp_path / "objects").rglob("*") if path.is_file()]) == 15


# ---------------------------------------------------------------------------------------------- forms of answers


def test_lists_come_in_the_form_that_is_asked_for(store: Store) -> None:
    url = store.put("/ns/a%26b", b"1")
    name = "/hatrac/ns/a%26b"
    for accept, kind, body in [
        ("*/*", "application/json", f'["{name}"]\n'),
        ("text/uri-list", "text/uri-list", f"{name}\n"),
        ("text/uri-list;q=0.2, application/json", "application/json", f'["{name}"]\n'),
        ("application/xml, text/uri-list;q=0.2", "text/uri-list", f"{name}\n"),
    ]:
        answer = store("GET", "/ns", accept=accept)
        assert (answer.headers["content-type"], answer.read().decode()) == (kind, body)
    page = store("GET", "/ns", accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert page.headers["content-type"] == "text/html"
    assert f'<a href="{name}">' in page.read().decode()
    assert page.headers["content-length"] == str(len(page.read()))
    assert f'<a href="/hatrac{url}">' in store("GET", "/ns/a%26b;versions", accept="text/html").read().decode()


def test_refusals_are_pages_for_browsers_only(store: Store) -> None:
    line = store("GET", "/none", accept="*/*")
    assert (line.status, line.headers["content-type"]) == (404, "text/plain")
    page = store("GET", "/none", accept="text/html,*/*;q=0.8")
    assert (page.status, page.headers["content-type"]) == (404, "text/html")
    assert "Resource /hatrac/none not found." in page.read().decode()
    assert page.headers["content-length"] == str(len(page.read()))
    store.put("/o", b"x")
    evil = store("PUT", "/o", b"x", accept="text/html", content_disposition="<script>\u00e9\u65e5")
    assert evil.status == 400
    assert "<script>" not in evil.read().decode()
    assert store("GET", "/o", accept="text/html", range="bytes=9-").headers["content-range"] == "bytes */1"


# ---------------------------------------------------------------------------------------------- what nobody should send


@pytest.mark.parametrize("name", ["/" + "x" * 9000, "/y" * 300, "/y" * 40_000, "/y" * 400_000])
def test_names_beyond_any_use_are_refused_at_once(store: Store, name: str) -> None:
    for method, target in (("PUT", f"{name}?parents=true"), ("GET", name), ("POST", f"{name};upload")):
        answer = store(method, target, b"x")
        assert answer.status == 400
        assert "at most" in answer.read().decode()


def test_the_longest_names_work(store: Store) -> None:
    for name in ("/" + "x" * 8191, "/y" * 256):
        url = store.put(name, b"x")
        assert store("GET", url).read() == b"x"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("bytes=0-" + "9" * 5000, 200),
        ("bytes=-" + "9" * 5000, 200),
        (f"bytes={'9' * 5000}-", 416),
        (f"bytes={'0' * 5000}1-2", 206),
        ("bytes=\u0661-", 200),
        ("bytes=\u00b2-", 200),
    ],
)
def test_ranges_of_absurd_numbers(store: Store, header: str, status: int) -> None:
    store.put("/o", b"0123")
    assert store("GET", "/o", range=header).status == status


def test_a_range_of_content_that_has_changed_is_not_given(store: Store) -> None:
    store.put("/o", b"first")
    tag = store("HEAD", "/o").headers["etag"]
    assert store("GET", "/o", range="bytes=1-2", if_range=tag).status == 206
    store.put("/o", b"second")
    answer = store("GET", "/o", range="bytes=1-2", if_range=tag)
    assert (answer.status, answer.read()) == (200, b"second")


@pytest.mark.parametrize("value", ["", "text/plain\r\nX-More: 1", "text/\u00e9", "a/b\x00", "a\x7f"])
def test_a_content_type_that_no_answer_can_carry_is_refused(store: Store, value: str) -> None:
    store.put("/o", b"1", content_type="a/b")
    put = store("PUT", "/o;metadata/content-type", value.encode(), content_type="text/plain")
    assert put.status == 400
    assert store("GET", "/o").headers["content-type"] == "a/b"
    described = json.dumps({"chunk-length": 1, "content-length": 1, "content-type": value or 5}).encode()
    assert store("POST", "/o;upload", described, content_type="application/json").status == 400


def test_documents_are_not_read_without_end(store: Store) -> None:
    store.put("/o", b"1")
    long = 1 << 23
    for method, target, kind in [
        ("POST", "/o;upload", "application/json"),
        ("POST", "/o", "application/json"),
        ("PUT", "/o;acl/read", "application/json"),
        ("PUT", "/o;metadata/content-type", "text/plain"),
    ]:
        body = io.BytesIO(b" " * long)
        assert store(method, target, body, content_type=kind).status == 413
        assert body.tell() < long
        deep = b"[" * 1_000_000
        assert store(method, target, deep, content_type=kind).status == 400


def job_of(store: Store, name: str, **about: object) -> str:
    answer = store("POST", f"{name};upload?parents=true", json.dumps(about).encode(), content_type="application/json")
    assert answer.status == 201, answer.read()
    return answer.read().decode().strip().removeprefix("/hatrac")


def test_a_chunk_beyond_the_end_of_any_file_is_said(store: Store) -> None:
    job = job_of(store, "/o", **{"chunk-length": 10, "content-length": 1 << 61})
    assert store("PUT", f"{job}/{(1 << 61) // 10 - 1}", b"x" * 10).status == 507


@pytest.mark.parametrize(("field", "digest"), [("content_md5", md5), ("content_sha256", sha256)])
def test_digests_of_chunks_are_checked(store: Store, field: str, digest: object) -> None:
    job = job_of(store, "/o", **{"chunk-length": 4, "content-length": 4})
    wrong, right = (b64(digest(content).digest()) for content in (b"evil", b"good"))  # type: ignore[operator]
    assert store("PUT", f"{job}/0", b"good", **{field: wrong}).status == 400
    assert store("PUT", f"{job}/0", b"good", **{field: "?"}).status == 400
    assert store("POST", job).status == 409
    assert store("PUT", f"{job}/0", b"good", **{field: right}).status == 204
    assert store("POST", job).status == 201


class Slow(io.RawIOBase):
    """A body whose second half waits until it is let go."""

    def __init__(self, first: bytes, second: bytes) -> None:
        self.parts = [first, second]
        self.begun, self.go = threading.Event(), threading.Event()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        del size
        if len(self.parts) == 1:
            self.begun.set()
            assert self.go.wait(30)
        return self.parts.pop(0) if self.parts else b""


def test_a_chunk_that_arrives_twice_at_once_never_reaches_published_content(store: Store) -> None:
    job = job_of(store, "/o", **{"chunk-length": 8, "content-length": 8})
    slow = Slow(b"evil", b"evil")
    statuses: dict[str, int] = {}

    def put() -> None:
        statuses["slow"] = store("PUT", f"{job}/0", slow, content_length="8").status  # type: ignore[arg-type]

    def finish() -> None:
        statuses["finish"] = store("POST", job).status

    writer = threading.Thread(target=put)
    writer.start()
    assert slow.begun.wait(30)
    assert store("PUT", f"{job}/0", b"goodgood").status == 204  # the client gave the first one up, and sent it again
    finisher = threading.Thread(target=finish)
    finisher.start()
    slow.go.set()
    writer.join(30)
    finisher.join(30)
    assert statuses == {"slow": 204, "finish": 201}
    held = store("GET", "/o").read()
    assert sha256(held).hexdigest() == store.files()[0].name


def test_a_chunk_whose_second_sender_breaks_off_has_to_be_sent_again(store: Store) -> None:
    job = job_of(store, "/o", **{"chunk-length": 8, "content-length": 8})
    slow = Slow(b"evil", b"")
    statuses: list[int] = []
    writer = threading.Thread(
        target=lambda: statuses.append(
            store("PUT", f"{job}/0", slow, content_length="8").status  # type: ignore[arg-type]
        )
    )
    writer.start()
    assert slow.begun.wait(30)
    assert store("PUT", f"{job}/0", b"goodgood").status == 204
    slow.go.set()
    writer.join(30)
    assert statuses == [409]
    assert store("POST", job).status == 409
    assert store("PUT", f"{job}/0", b"goodgood").status == 204
    assert store("POST", job).status == 201
    assert store("GET", "/o").read() == b"goodgood"


def test_a_job_that_ends_while_its_chunk_arrives_leaves_nothing(store: Store) -> None:
    job = job_of(store, "/o", **{"chunk-length": 8, "content-length": 8})
    slow = Slow(b"half", b"half")
    statuses: list[int] = []
    writer = threading.Thread(
        target=lambda: statuses.append(
            store("PUT", f"{job}/0", slow, content_length="8").status  # type: ignore[arg-type]
        )
    )
    writer.start()
    assert slow.begun.wait(30)
    assert store("DELETE", job).status == 204
    slow.go.set()
    writer.join(30)
    assert statuses == [404]
    assert store.files() == []
    assert store("POST", job).status == 404
    assert store.files() == []
