"""PostgreSQL and a store in memory, as far as the passes over orphaned renders ask them, with people in between.

Each statement of `sql/cleanup/` is said again in Python. Between any two requests of the engine people may act or the
process may die. What the engine has not committed nobody sees, and a save waits for a row that the engine has locked.
The real statements have tests of their own; this is for very many interleavings of the engine's steps.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from content_orchestration.core.cleanup.context import OrphanContext
from content_orchestration.core.media.model import MissingObject, ObjectInfo
from content_orchestration.core.sql import sql_folder, statement
from content_orchestration_tests.cleanup_world import NOW_RULES, PLACES
from content_orchestration_tests.fake_warehouse import Killed

NAMES = {statement(f"cleanup/{path.stem}"): path.stem for path in (sql_folder() / "cleanup").glob("*.sql")}
OPEN = ("moving", "quarantined", "restoring", "deleting")
FIRST = UUID(int=0)


@dataclass
class Tables:
    """What a transaction may take back. Times are hours of the fake's own clock."""

    jobs: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    assets: dict[UUID, UUID] = field(default_factory=dict)
    candidates: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    quarantine: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    recalls: list[UUID] = field(default_factory=list)
    notes: list[UUID] = field(default_factory=list)

    def copied(self) -> "Tables":
        """Apart from this one; ten times as fast as a deep copy, which would be most of the work."""
        return Tables(
            {key: dict(row) for key, row in self.jobs.items()},
            dict(self.assets),
            {key: dict(row) for key, row in self.candidates.items()},
            {key: dict(row) for key, row in self.quarantine.items()},
            list(self.recalls),
            list(self.notes),
        )

    def saved(self, job: UUID | None) -> bool:
        return job in self.assets.values()

    def in_quarantine(self, job: UUID) -> bool:
        return any(row["job"] == job and row["state"] in OPEN for row in self.quarantine.values())

    def beside(self, job: UUID, file: UUID) -> list[UUID]:
        """The other renders that name the same file."""
        return [other for other, row in self.jobs.items() if other != job and row["file"] == file]

    def needed_beside(self, job: UUID, file: UUID) -> bool:
        return any(self.saved(other) or not self.follows(other) for other in self.beside(job, file))

    def follows(self, job: UUID) -> bool:
        return self.candidates.get(job, {}).get("state") == "orphan" or self.in_quarantine(job)


class FakePostgres:
    """One engine's connections; `people` is called between any two of its requests."""

    def __init__(self, people: Callable[[], None]) -> None:
        self.tables = Tables()
        self.committed: Tables | None = None
        self.locked: set[UUID] = set()
        self.waiting: list[tuple[UUID, UUID]] = []
        self.people = people
        self.dead = False
        self.hour = 100
        self._number = 0

    # --- what the engine does -------------------------------------------------------------------------------------

    @contextmanager
    def connection(self) -> Iterator["FakePostgres"]:
        self.step()
        self.committed, self.locked = self.tables.copied(), set()
        try:
            yield self
        except BaseException:
            self.tables = self.committed
            raise
        finally:
            self.committed, self.locked = None, set()
            waiting, self.waiting = self.waiting, []
            for asset, job in waiting:
                self.save(asset, job)
        if self.dead:
            raise Killed

    @contextmanager
    def advisory_lock(self, _: str) -> Iterator[None]:
        yield

    def transaction(self) -> Any:
        return nullcontext()

    def cursor(self) -> Any:
        return nullcontext(self)

    def executemany(self, *_: Any) -> None:
        self.step()

    def execute(self, text: str, values: Any = None) -> "Answer":
        self.step()
        found = getattr(self, f"_{NAMES[text]}")(**(values or {}))
        return Answer(found if isinstance(found, list) else [] if found is None else [found])

    def step(self) -> None:
        if self.dead:
            raise Killed
        self.people()
        if self.dead:
            raise Killed

    # --- what people do -------------------------------------------------------------------------------------------

    def both(self) -> list[Tables]:
        return [self.tables] if self.committed is None else [self.tables, self.committed]

    def render(self, job: UUID, file: UUID) -> None:
        for each in self.both():
            each.jobs[job] = {"id": job, "file": file}
            each.candidates[job] = {"state": "waiting", "since": 0}

    def save(self, asset: UUID, job: UUID) -> bool:
        """Whether the render was there when the asset was written; it waits where the engine has locked the row."""
        if job in self.locked:
            self.waiting.append((asset, job))
            return True
        seen = self.committed or self.tables
        rows = [row for row in seen.quarantine.values() if row["job"] == job]
        called = [row for row in rows if row["state"] in OPEN[:2] + OPEN[3:] and row["file_fate"] != "removing"]
        for each in self.both():
            each.assets[asset] = job
            each.recalls += [job] * bool(called)
        return job in seen.jobs or bool(called)

    def unsave(self, asset: UUID) -> None:
        for each in self.both():
            if asset in each.assets:
                each.notes.append(each.assets.pop(asset))

    # --- sql/cleanup/*.sql ----------------------------------------------------------------------------------------

    def _time(self, hour: float | None = None) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self.hour if hour is None else hour)

    def _now(self) -> Any:
        return {"now": datetime.fromtimestamp(time.time(), UTC)}

    def _memory_read(self, name: str) -> Any:
        return (
            {"at": datetime.fromtimestamp(time.time(), UTC), "position": None, "finished": True}
            if name != "saves"
            else None
        )

    def _memory_write(self, **_: Any) -> None: ...
    def _by_index(self) -> None: ...

    def _index_state(self, name: str) -> Any:
        return {"valid": True}

    def _triggers_missing(self) -> Any:
        return []

    def _references_there(self) -> Any:
        return {"present": True}

    def _orphan_objects(self) -> Any:
        return {"objects": 0}

    def _orphan_note(self, **_: Any) -> Any:
        return {"compared": 0, "added": 0, "next": None}

    def _notes_take(self, most: int) -> Any:
        notes, self.tables.notes = self.tables.notes, []
        for job in set(notes) & set(self.tables.jobs):
            if not self.tables.in_quarantine(job):
                self.tables.candidates[job] = {"state": "waiting", "since": 0}
        return {"notes": len(notes)}

    def _orphan_state(self) -> Any:
        waiting = [each for each in self.tables.candidates.values() if each["state"] == "orphan"]
        return {"candidates": len(waiting), "oldest_seconds": None}

    def _orphan_candidates(self, **_: Any) -> Any:
        return self._orphan_state()

    def _orphan_due(self, **_: Any) -> Any:
        return {"candidates": 0}

    def _quarantine_state(self, kind: str) -> Any:
        return {"waiting": 0, "oldest_seconds": None}

    def _orphan_look(self, after: UUID, batch: int, **_: Any) -> Any:
        rows = sorted(job for job in self.tables.candidates if job > after)[:batch]
        return [
            {"job_id": job, "look_at": None, "state": self.tables.candidates[job]["state"], "reason": None}
            for job in rows
        ]

    def _orphan_pick(self, after: UUID, batch: int, **_: Any) -> Any:
        rows = sorted(
            job
            for job, row in self.tables.candidates.items()
            if row["state"] == "orphan" and job > after and not self.tables.in_quarantine(job)
        )
        return [{"job_id": job, "since": None, "state": "orphan", "reason": None} for job in rows[:batch]]

    def _orphan_lock(self, ids: list[UUID]) -> Any:
        self.locked |= set(ids) & set(self.tables.jobs)
        return [{"id": job} for job in sorted(self.locked & set(ids))]

    def _orphan_verdicts(self, ids: list[UUID], cutoff: Any) -> Any:
        files = {job: self.tables.jobs[job]["file"] if job in self.tables.jobs else None for job in ids}
        return [
            {
                "job_id": job, "user_id": FIRST, "tenant_id": FIRST, "output_url": f"renders/{file}", "file_key": file,
                "file_needed": file is not None and self.tables.needed_beside(job, file),
                "verdict": "saved" if self.tables.saved(job) else "orphan" if file else "gone",
            }
            for job, file in files.items()
        ]  # fmt: skip

    def _candidates_drop(self, ids: list[UUID]) -> None:
        for job in ids:
            self.tables.candidates.pop(job, None)

    def _candidates_mark(self, ids: list[UUID]) -> None:
        for job in ids:
            self.tables.candidates[job]["state"] = "orphan"

    def _candidates_again(self, ids: list[str]) -> None:
        for job in set(map(UUID, ids)) & set(self.tables.jobs):
            self.tables.candidates.setdefault(job, {"state": "waiting", "since": 0})

    def _quarantine_insert(self, **row: Any) -> Any:
        row |= {
            "job": UUID(row["subject_id"]),
            "size_bytes": None,
            "quarantined_at": None,
            "error": None,
            "row_gone": False,
        }
        assert not self.tables.in_quarantine(row["job"]), "the index cleanup_quarantine_open refuses a second one"
        self.tables.quarantine[row["quarantine_id"]] = row
        return dict(row)

    def _unfinished(self, state: str, after: UUID, batch: int) -> Any:
        rows = sorted(key for key, row in self.tables.quarantine.items() if row["state"] == state and key > after)
        return [dict(self.tables.quarantine[key]) for key in rows[:batch]]

    def _quarantine_unfinished(self, state: str, after: UUID, batch: int) -> Any:
        return self._unfinished(state, after, batch)

    def _due_pick(self, after: UUID, batch: int, **_: Any) -> Any:
        rows = self._unfinished("quarantined", after, batch)
        return [row | {"delete_after": None} for row in rows]

    def _quarantine_error(self, quarantine_id: UUID, error: str) -> None:
        self.tables.quarantine[quarantine_id]["error"] = error

    def _moving(self, key: UUID, state: str) -> dict[str, Any] | None:
        row = self.tables.quarantine[key]
        return row if row["state"] == state else None

    def _orphan_fence(self, quarantine_id: UUID, size_bytes: int, **_: Any) -> Any:
        row = self._moving(quarantine_id, "moving")
        if row is None or self.tables.saved(row["job"]):
            return None
        row["size_bytes"] = size_bytes
        return {}

    def _orphan_moved(self, quarantine_id: UUID, file_fate: str, size_bytes: int, quarantine_key: str, **_: Any) -> Any:
        if row := self._moving(quarantine_id, "moving"):
            row |= {
                "state": "quarantined",
                "file_fate": file_fate,
                "size_bytes": size_bytes,
                "quarantine_key": quarantine_key,
            }
        return {"quarantined_at": None} if row else None

    def _orphan_taken_by(self, quarantine_id: UUID, path: str, **_: Any) -> Any:
        for key, row in self.tables.quarantine.items():
            there = (
                row["file_fate"] == "moved" and row["quarantine_key"] and row["state"] in ("quarantined", "restoring")
            )
            if key != quarantine_id and row["path"] == path and there:
                return {"quarantine_key": row["quarantine_key"]}
        return None

    def _recallable(self) -> list[dict[str, Any]]:
        rows = self.tables.quarantine.values()
        return [
            row
            for row in rows
            if row["state"] in OPEN and row["state"] != "restoring" and row["file_fate"] != "removing"
        ]

    def _recall(self, jobs: set[UUID]) -> None:
        for row in self._recallable():
            if row["job"] in jobs and self.tables.saved(row["job"]):
                row["state"] = "restoring"

    def _recall_noted(self, most: int) -> None:
        recalls, self.tables.recalls = self.tables.recalls, []
        self._recall(set(recalls))

    def _recall_needed(self, cutoff: Any) -> None:
        self._recall(set(self.tables.assets.values()))
        for row in self._recallable():
            beside = self.tables.beside(row["job"], row["file_key"])
            if row["file_fate"] in ("moved", "waiting") and any(map(self.tables.saved, beside)):
                row["state"] = "restoring"

    def _quarantine_restored(self, quarantine_id: UUID, file_fate: str) -> None:
        if row := self._moving(quarantine_id, "restoring"):
            row |= {"state": "restored", "file_fate": file_fate}

    def _orphan_reinsert(self, ids: list[UUID]) -> None:
        for key in ids:
            if (row := self._moving(key, "restoring")) and row["row_gone"]:
                self.tables.jobs.setdefault(row["job"], {"id": row["job"], "file": row["file_key"]})

    def _quarantine_recall(self, quarantine_id: UUID, reason: str) -> None:
        if row := self._moving(quarantine_id, "quarantined"):
            row |= {"state": "restoring", "error": reason}

    def _rows_of(self, ids: list[UUID], state: str) -> list[dict[str, Any]]:
        return [row for row in self.tables.quarantine.values() if row["job"] in ids and row["state"] == state]

    def _quarantine_deleting(self, ids: list[UUID], **_: Any) -> None:
        for row in self._rows_of(ids, "quarantined"):
            row |= {"state": "deleting", "row_gone": True}

    def _quarantine_stayed(self, ids: list[str]) -> None:
        for row in self._rows_of([UUID(each) for each in ids], "deleting"):
            row |= {"state": "quarantined", "row_gone": False}

    def _orphan_delete(self, ids: list[UUID], cutoff: Any) -> Any:
        gone = [job for job in ids if job in self.tables.jobs and not self.tables.saved(job)]
        for job in gone:
            del self.tables.jobs[job]
        return [{"id": job} for job in gone]

    def _asset_writers(self) -> Any:
        return [{"writer": str(asset)} for asset, _ in self.waiting]

    def _last_look_lock(self, quarantine_id: UUID, **_: Any) -> Any:
        return {"quarantine_id": quarantine_id}

    def _last_look(self, quarantine_id: UUID, **_: Any) -> Any:
        row = self._moving(quarantine_id, "deleting")
        if row is None or (row["file_fate"] != "removing" and self.tables.saved(row["job"])):
            return None
        moved = row["file_fate"] in ("moved", "removing")
        row |= {"file_fate": "removing"} if moved else {"state": "deleted"}
        return {"file_fate": row["file_fate"]}

    def _quarantine_deleted(self, quarantine_id: UUID, file_fate: str) -> None:
        if row := self._moving(quarantine_id, "deleting"):
            row |= {"state": "deleted", "file_fate": file_fate}

    def _copy_needed(self, quarantine_id: UUID, quarantine_key: str, **_: Any) -> Any:
        for key, row in self.tables.quarantine.items():
            wants = row["state"] in OPEN and not (row["state"] == "deleting" and row["file_fate"] == "removing")
            if key != quarantine_id and row["quarantine_key"] == quarantine_key and wants:
                return {"needed": 1}
        return None

    def _copy_awaited(self, ids: list[UUID]) -> Any:
        rows = {key: self.tables.quarantine[key] for key in ids}
        there = [row for row in self.tables.quarantine.values() if row["state"] in OPEN[1:]]
        return [
            {"quarantine_id": key}
            for key, row in rows.items()
            if row["file_fate"] == "moved"
            and set(self.tables.beside(row["job"], row["file_key"]))
            - {other["job"] for other in there if other["file_fate"] == "moved"}
        ]

    def _last_of_file(self, ids: list[UUID]) -> Any:
        rows = {key: self.tables.quarantine[key] for key in ids}
        kept = {key: row for key, row in rows.items() if row["file_fate"] == "shared"}
        go = {row["job"] for row in kept.values()}
        return [
            {"quarantine_id": key}
            for key, row in kept.items()
            if all(other in go and other < row["job"] for other in self.tables.beside(row["job"], row["file_key"]))
        ]

    def _copies_kept(self, **_: Any) -> Any:
        rows = [row for row in self.tables.quarantine.values() if row["state"] == "restored" and row["quarantine_key"]]
        return [
            dict(row)
            | {
                "saved": self.tables.saved(row["job"])
                and not self.tables.in_quarantine(row["job"])
                and not any(
                    other["job"] == row["job"] and other["state"] == "deleted" and other["quarantine_key"]
                    for other in self.tables.quarantine.values()
                )
            }
            for row in rows
        ]

    def _copy_dropped(self, quarantine_id: UUID) -> None:
        self.tables.quarantine[quarantine_id]["quarantine_key"] = None

    def _copy_again(self, quarantine_id: UUID) -> None:
        assert not self.tables.in_quarantine(self.tables.quarantine[quarantine_id]["job"]), "one open row a render"
        self.tables.quarantine[quarantine_id] |= {"state": "restoring", "file_fate": "moved"}


class Answer:
    """What a statement answered."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self.rowcount = len(rows)

    def fetchall(self) -> list[dict[str, Any]]:
        return self._rows

    def fetchone(self) -> dict[str, Any] | None:
        return self._rows[0] if self._rows else None


class FakeBucket:
    """Files by key. A copy and a delete are each done or not when the process dies."""

    location = "fake://renders"

    def __init__(self, step: Callable[[], None]) -> None:
        self.files: dict[str, bytes] = {}
        self._step = step

    def bucket(self, _: str) -> "FakeBucket":
        return self

    def head(self, key: str) -> ObjectInfo | None:
        self._step()
        body = self.files.get(key)
        return None if body is None else ObjectInfo(key, len(body), str(hash(body)), None, datetime.now(UTC))

    def copy(self, source: str, target: str) -> ObjectInfo:
        self._step()
        if source not in self.files:
            raise MissingObject(source)
        self.files.setdefault(target, self.files[source])
        found = self.head(target)
        assert found
        return found

    def delete(self, key: str) -> None:
        self._step()
        self.files.pop(key, None)
        self._step()


class Inline:
    """An executor that works at once, in the caller's thread."""

    def __init__(self, _: int) -> None: ...

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Callable[[Any], Any], row: Any) -> Any:
        done, error = None, None
        try:
            done = work(row)
        except Exception as raised:  # noqa: BLE001  (given to whoever asks for the result, as by a real one)
            error = raised

        def result() -> Any:
            if error is not None:
                raise error
            return done

        return type("Done", (), {"result": staticmethod(result)})


class Machine:
    """One interleaving: some renders, people between all steps of the sweeps, deaths, and the truth of it all."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.database = FakePostgres(self.people)
        self.bucket = FakeBucket(self.database.step)
        self.context = OrphanContext(self.database, self.bucket, PLACES, NOW_RULES, workers=1)  # type: ignore[arg-type]
        self.number = 0
        self.quiet = False
        self.deaths = 2
        self.late: set[UUID] = set()
        self.file_of: dict[UUID, UUID] = {}
        self.renders: list[UUID] = []
        for _ in range(3):
            self.render()

    def identity(self) -> UUID:
        self.number += 1
        return UUID(int=self.choose.getrandbits(100) << 20 | self.number)

    def render(self) -> None:
        """A render of a file of its own, or, one in four, of the file of one before it as long as that is in place."""
        job = self.identity()
        file = self.file_of[self.choose.choice(self.renders)] if self.renders and self.choose.random() < 0.25 else job
        if file == job or str(file) not in self.bucket.files:
            file = job
            self.bucket.files[str(job)] = job.bytes
        self.file_of[job] = file
        self.renders.append(job)
        self.database.render(job, file)

    def people(self) -> None:
        if self.quiet:
            return
        chance = self.choose.random()
        assets = self.database.tables.assets
        if chance < 0.012 and self.deaths:
            self.deaths -= 1
            self.database.dead = True
        elif chance < 0.05:
            asset = self.identity()
            if not self.database.save(asset, self.choose.choice(self.renders)):
                self.late.add(asset)
        elif chance < 0.08 and assets:
            self.database.unsave(self.choose.choice(sorted(assets)))
        elif chance < 0.085 and len(self.renders) < 6:
            self.render()

    def sweep(self, *steps: Callable[..., Any]) -> None:
        for step in steps:
            try:
                step(self.context, run_id="m", **({} if step.__name__ == "bring_back" else {"dry_run": False}))
            except Killed:
                self.database.dead = False
