"""A restore that overwrites takes an item back to an older version: checks accept it, writers go on behind it all."""

from uuid import uuid4

from content_orchestration.core.content.model import Changes, NewContent
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.integrity.versions import compare_versions
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.restore.engine import Restorer
from content_orchestration.core.restore.request import RestoreRequest, Scope
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.tiers import Tiers


def test_an_item_that_was_taken_back_is_written_on(tiers: Tiers) -> None:
    tenant = uuid4()
    with tiers.database.connection() as connection:
        connection.execute("INSERT INTO tenants (id, name, slug, plan_tier) VALUES (%s, 'T', 't', 'free')", [tenant])
    store = ContentStore(tiers.database, tiers.store, QuotaLedger(tiers.database))
    item = store.create(tenant, NewContent("T", "first"), created_by="test")
    first = sync(tiers).last_sync_id
    for version in (1, 2):
        store.update(tenant, item.id, Changes(body=f"later {version}"), expected_version=version, changed_by="test")
    sync(tiers)
    restorer = Restorer(tiers.database, tiers.store, tiers.warehouse, run_id="test", sleep=lambda seconds: None)
    request = RestoreRequest(scope=Scope.everything(), as_of=first, on_conflict="overwrite")
    report = restorer.run(request, restorer.plan(request).plan_hash)
    assert report.verified
    found = store.get(tenant, item.id)
    assert (found.item.version, found.body) == (1, "first")
    assert compare_versions(tiers.database, tiers.store).differences == []

    again = store.update(tenant, item.id, Changes(body="fourth"), expected_version=1, changed_by="test")
    assert again.version == 4
    assert store.get(tenant, item.id).body == "fourth"
    assert "-later 2" in store.diff(tenant, item.id, 3, 4).body
    comparison = compare_versions(tiers.database, tiers.store)
    assert (comparison.unknown, comparison.differences) == (None, [])
    sync(tiers)
