"""Where an SQLite store may be: its URL, its folder, the file system it is on."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mainspring.errors import InvalidURL, MainspringError, StoreUnavailable, UnsuitableStore
from mainspring.model.job import NewJob
from mainspring.store.base import Filter, FindRequest, InsertRequest
from mainspring.store.connect import connect
from mainspring.store.sqlite import SqliteStore, location
from mainspring.store.sqlite.location import check_folder, file_system_of


def use(url: str) -> list[str]:
    """Keep a job at `url` and read what is there."""
    driver = connect(url).driver()
    try:
        driver.run(InsertRequest((NewJob("j", "task"),)))
        return [job.id for job in driver.run(FindRequest(Filter())).jobs]
    finally:
        driver.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestURL:
    """What can be a URL, and which file it names."""

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("sqlite:///jobs.db", "jobs.db"),
            ("SQLITE:///jobs.db", "jobs.db"),
            ("sqlite:///./somewhere/../jobs.db", "jobs.db"),
            ("sqlite:///jobs", "jobs"),
            ("sqlite:///:memory:", ":memory:"),
            ("sqlite:///two words.db", "two words.db"),
            ("sqlite:///two%20words.db", "two words.db"),
            ("sqlite:///grüße-日本-☃.db", "grüße-日本-☃.db"),
            ("sqlite:///gr%C3%BC%C3%9Fe.db", "grüße.db"),
            ("sqlite:///a%23b%3Fc%25d.db", "a#b?c%d.db"),
            ("sqlite:///%3Fvfs=memdb", "?vfs=memdb"),
            ("sqlite:///100%.db", "100%.db"),
            ('sqlite:///it\'s;a&b=c+"d".db', 'it\'s;a&b=c+"d".db'),
            ("sqlite:///back%5Cslash.db", "back\\slash.db"),
            ("sqlite:///line%0Aend.db", "line\nend.db"),
        ],
    )
    def test_a_file_in_the_current_folder(self, here: Path, url: str, name: str) -> None:
        assert use(url) == ["j"]
        assert os.listdir(here) == [name]

    @pytest.mark.parametrize("name", ["jobs.db", "two words.db", "grüße.db", "a#b?c%d.db", "%41.db", "line\nend.db"])
    def test_the_url_of_a_store_names_the_same_file_again(self, here: Path, name: str) -> None:
        (here / name).touch()
        store = connect((here / name).as_uri().replace("file:", "sqlite:/"))
        assert Path(location.locate(store.url).path or "") == here / name
        assert connect(store.url).url == store.url

    def test_an_absolute_path(self, here: Path) -> None:
        (here / "folder").mkdir()
        assert use(f"sqlite:///{here}/folder/jobs.db") == ["j"]
        assert os.listdir(here / "folder") == ["jobs.db"]

    def test_the_file_stays_the_same_when_the_current_folder_changes(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = connect("sqlite:///jobs.db")
        (here / "folder").mkdir()
        monkeypatch.chdir(here / "folder")
        store.migrate()
        assert (here / "jobs.db").exists()

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("sqlite:/jobs.db", "sqlite:///jobs.db"),
            ("sqlite:jobs.db", "sqlite:///jobs.db"),
            ("sqlite:", "sqlite:///jobs.db"),
            ("sqlite", "sqlite:///jobs.db"),
            ("jobs.db", "sqlite:///jobs.db"),
            ("", "sqlite:///jobs.db"),
            ("sqlite://host/jobs.db", "did you mean 'sqlite:///host/jobs.db'"),
            ("sqlite://jobs.db", "did you mean 'sqlite:///jobs.db'"),
            ("sqlite://[::1/jobs.db", "cannot be read"),
            ("sqlite:///", "names no file"),
            ("sqlite:///jobs.db?mode=ro", "%3F"),
            ("sqlite:///jobs.db?", "%3F"),
            ("sqlite:///jobs.db#1", "%23"),
            ("sqlite://?cache=shared", "parameters"),
            ("sqlite:///a\x00b.db", "NUL"),
            ("sqlite:///a%00b.db", "NUL"),
            ("sqlite:///%FF.db", "UTF-8"),
            ("sqlite:///\ud800.db", "UTF-8"),
        ],
    )
    def test_what_cannot_be_one_is_refused_before_anything_is_made(self, here: Path, url: str, says: str) -> None:
        with pytest.raises(InvalidURL) as refusal:
            connect(url)
        assert says in str(refusal.value)
        assert os.listdir(here) == []

    @pytest.mark.parametrize("url", ["sqlite:/jobs.db", "sqlite:jobs.db", "sqlite://host/jobs.db", "sqlite:///"])
    def test_the_store_itself_takes_no_more_than_connect_does(self, url: str) -> None:
        with pytest.raises(InvalidURL):
            SqliteStore(url)


class TestFolder:
    """What must be there, and what must not be, before a byte is written."""

    def refused(self, path: Path, kind: type[MainspringError], says: str) -> None:
        """Both a look and a use are refused, with an error that names the path, and nothing is made."""
        store = SqliteStore(f"sqlite:///{path}")
        there = sorted(os.listdir(path.parent)) if os.path.isdir(path.parent) else None
        for attempt in (store.schema, store.migrate, lambda: use(store.url)):
            with pytest.raises(kind) as refusal:
                attempt()
            assert says in str(refusal.value)
            assert str(path) in str(refusal.value)
        assert there == (sorted(os.listdir(path.parent)) if os.path.isdir(path.parent) else None)

    def test_a_folder_that_is_missing(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "missing" / "jobs.db", StoreUnavailable, "does not exist; create it")

    def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        self.refused(tmp_path / "file" / "jobs.db", StoreUnavailable, "does not exist; create it")

    def test_a_path_that_is_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        self.refused(tmp_path / "folder", UnsuitableStore, "it is a folder; name a file in it")

    def test_a_path_that_is_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        self.refused(tmp_path / "pipe", UnsuitableStore, "device, pipe or socket")

    def test_a_path_that_is_a_socket(self, here: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            self.refused(here / "socket", UnsuitableStore, "device, pipe or socket")

    def test_a_name_that_is_too_long(self, tmp_path: Path) -> None:
        self.refused(tmp_path / ("x" * 300), StoreUnavailable, "too long")

    def test_a_path_that_is_too_long(self, tmp_path: Path) -> None:
        self.refused(tmp_path / ("x/" * 3000), StoreUnavailable, "too long")

    def test_a_link_to_nowhere(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "missing" / "jobs.db")
        with pytest.raises(StoreUnavailable, match="cannot open"):
            use(f"sqlite:///{tmp_path}/link")
        assert os.listdir(tmp_path) == ["link"]

    def test_a_link_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "link")
        with pytest.raises(StoreUnavailable, match="cannot open"):
            use(f"sqlite:///{tmp_path}/link")

    def test_a_link_to_a_file_is_that_file(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "there" / "jobs.db")
        assert use(f"sqlite:///{tmp_path}/link") == ["j"]
        assert use(f"sqlite:///{tmp_path}/there/jobs.db") == ["j"]

    def test_a_current_folder_that_was_deleted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "folder").mkdir()
        monkeypatch.chdir(tmp_path / "folder")
        (tmp_path / "folder").rmdir()
        with pytest.raises(StoreUnavailable, match="give an absolute path"):
            connect("sqlite:///jobs.db")


MOUNTS = r"""
proc /proc proc rw 0 0
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local xfs rw 0 0
tmpfs /home/local/deep/tmp tmpfs rw 0 0
//server/share /mnt/two\040words cifs rw 0 0
user@server:/ /mnt/tab\011and\134040back\043slash fuse.sshfs rw 0 0
/dev/sdc1 /over ext4 rw 0 0
server:/over /over nfs rw 0 0
nonsense
""".lstrip()


class TestFileSystem:
    """Locks cannot be trusted over a network, so such file systems are refused."""

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/jobs.db", "ext4"),
            ("/var/lib/jobs.db", "ext4"),
            ("/homes/jobs.db", "ext4"),
            ("/home/jobs.db", "nfs4"),
            ("/home/me/jobs.db", "nfs4"),
            ("/home/localhost/jobs.db", "nfs4"),
            ("/home/local/jobs.db", "xfs"),
            ("/home/local/deep/jobs.db", "xfs"),
            ("/home/local/deep/tmp/jobs.db", "tmpfs"),
            ("/mnt/two words/jobs.db", "cifs"),
            ("/mnt/two/jobs.db", "ext4"),
            ("/mnt/tab\tand\\040back#slash/jobs.db", "fuse.sshfs"),
            ("/over/jobs.db", "nfs"),
        ],
    )
    def test_the_closest_mount_counts_and_the_last_of_several_there(self, path: str, kind: str) -> None:
        assert file_system_of(Path(path), MOUNTS) == kind

    def test_without_a_mount_table_it_is_unknown(self) -> None:
        assert file_system_of(Path("/jobs.db"), "") == ""

    @pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "ceph", "glusterfs"])
    def test_a_network_file_system_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        folder = tmp_path.resolve() / "two words"
        folder.mkdir()
        point = str(folder).replace(" ", "\\040")
        monkeypatch.setattr(location, "_mounts", lambda: f"/dev/sda1 / ext4 rw 0 0\nserver:/x {point} {kind} rw 0 0\n")
        with pytest.raises(UnsuitableStore, match=rf"network file system \({kind}\).*PostgreSQL or Redis"):
            use(f"sqlite:///{folder}/jobs.db")
        assert os.listdir(folder) == []
        check_folder(tmp_path / "jobs.db")

    def test_a_link_into_a_network_file_system_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "far").mkdir()
        (tmp_path / "near").symlink_to(tmp_path / "far")
        monkeypatch.setattr(location, "_mounts", lambda: f"server:/x {tmp_path.resolve()}/far nfs rw 0 0\n")
        with pytest.raises(UnsuitableStore, match="network file system"):
            use(f"sqlite:///{tmp_path}/near/jobs.db")
        assert os.listdir(tmp_path / "far") == []
