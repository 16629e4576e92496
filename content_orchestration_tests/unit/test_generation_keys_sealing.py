"""Sealing, the master key's setting, and what is remembered of keys. The vault itself is tested in integration/."""

import base64
import pickle
import secrets
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.keys.envelope import SealBroken, bound_to, new_key, seal, unseal
from content_orchestration.core.generation.keys.master import EnvironmentMasterKey
from content_orchestration.core.generation.keys.model import KeyState, ProviderKey, RewrapReport
from content_orchestration.core.generation.keys.source import KeySource
from content_orchestration.core.generation.keys.vault import data_key_bound, key_bound

KEY = new_key()


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_what_is_sealed_opens_with_the_same_key_and_binding(plain: bytes, bound: bytes) -> None:
    sealed = seal(KEY, plain, bound)
    assert unseal(KEY, sealed, bound) == plain
    assert seal(KEY, plain, bound) != sealed, "a nonce is never used twice"


@pytest.mark.parametrize("harm", ["key", "bound", "flip", "cut", "nonce", "empty"])
def test_anything_else_does_not_open_and_says_nothing(harm: str) -> None:
    sealed, key, bound = seal(KEY, b"a secret", b"here"), KEY, b"here"
    if harm == "key":
        key = new_key()
    elif harm == "bound":
        bound = b"there"
    elif harm == "flip":
        sealed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    else:
        sealed = {"cut": sealed[:20], "nonce": sealed[:5], "empty": b""}[harm]
    with pytest.raises(SealBroken) as caught:
        unseal(key, sealed, bound)
    assert (str(caught.value), caught.value.__cause__) == ("", None)


def test_no_two_lists_of_parts_are_bound_alike() -> None:
    assert bound_to("a", "bc") != bound_to("ab", "c") != bound_to("abc") != bound_to("a", "b", "c")
    assert bound_to(1, "x") == bound_to("1", "x")


def entry(key_id: str, key: bytes | None = None) -> str:
    return f"{key_id}:{base64.b64encode(key or secrets.token_bytes(32)).decode()}"


def test_the_first_master_key_wraps_and_older_ones_open() -> None:
    old, new = new_key(), new_key()
    before = EnvironmentMasterKey.parse(entry("k1", old))
    after = EnvironmentMasterKey.parse(f"{entry('k2', new)}  {entry('k1', old)}")
    wrapped = before.wrap(b"data key", b"t")
    assert (before.current_id, after.current_id) == ("k1", "k2")
    assert after.unwrap("k1", wrapped, b"t") == b"data key"
    assert after.unwrap("k2", after.wrap(b"data key", b"t"), b"t") == b"data key"
    with pytest.raises(SealBroken):
        after.unwrap("k2", wrapped, b"t")
    with pytest.raises(Permanent, match=r"wrapped by master key 'k1'.* holds only k2: add the old key behind"):
        EnvironmentMasterKey.parse(entry("k2", new)).unwrap("k1", wrapped, b"t")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "PROVIDER_MASTER_KEY is empty"),
        ("QUJD", "entry 1 of PROVIDER_MASTER_KEY has no id"),
        (":QUJD", "entry 1 of PROVIDER_MASTER_KEY has no id"),
        ("k 1:QUJD", "entry 1 of PROVIDER_MASTER_KEY has no id"),
        ("k1:QUJDSECRET", r"entry 1 of PROVIDER_MASTER_KEY \(k1\) is not base64 of 32 bytes"),
        ("k1:SECRET!!", "openssl rand -base64 32"),
        # Each worker of pytest has to find the same parameters.
        (entry("k1", bytes(32)) + " " + entry("k1", bytes(31) + b"1"), "two entries with the id k1"),
        (entry("k1", bytes(32)) + " SECRET", "entry 2 of PROVIDER_MASTER_KEY has no id"),
    ],
)
def test_a_bad_master_key_is_refused_by_its_place_and_not_shown(text: str, message: str) -> None:
    with pytest.raises(Permanent, match=message) as caught:
        EnvironmentMasterKey.parse(text)
    assert "SECRET" not in str(caught.value)
    assert "QUJD" not in str(caught.value)


def test_nothing_that_holds_a_key_prints_it() -> None:
    key = new_key()
    master = EnvironmentMasterKey({"k1": key})
    opened = ProviderKey(uuid4(), "openai", 1, SecretStr("sk-canary"))
    printed = f"{master!r} {master} {opened!r} {opened} {KeySource(None)!r}"  # type: ignore[arg-type]
    assert "EnvironmentMasterKey(k1)" in printed
    assert "sk-canary" not in printed
    assert base64.b64encode(key).decode() not in printed
    assert repr(key) not in printed
    assert pickle.loads(pickle.dumps(opened)) == opened


def test_a_report_says_what_waits() -> None:
    report = RewrapReport("k2", {"k1": 3, "k0": 1, "k2": 5}, 2, True)
    assert report.as_metadata() == {
        "master_key_id": "k2", "data_keys_by_master_key": {"k1": 3, "k0": 1, "k2": 5}, "rewrapped": 2, "waiting": 4,
        "applied": True,
    }  # fmt: skip
    assert {"secret", "sealed"} & set(KeyState.__dataclass_fields__) == set()


class Vault:
    """A vault that counts its readers."""

    def __init__(self) -> None:
        self.version = 1
        self.reads = 0

    def active(self, tenant: object, provider: str) -> ProviderKey | None:
        self.reads += 1
        return ProviderKey(tenant, provider, self.version, SecretStr("s")) if self.version else None  # type: ignore[arg-type]


def test_a_key_is_remembered_for_its_time_and_read_again_when_it_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    vault, tenant = Vault(), uuid4()
    source = KeySource(vault, remembered=30, clock=lambda: now[0])  # type: ignore[arg-type]

    def version() -> int | None:
        key = source.active(tenant, "openai")
        return key and key.version

    assert (version(), version(), vault.reads) == (1, 1, 1)
    vault.version = 2
    now[0] += 29.9
    assert (version(), vault.reads) == (1, 1)
    now[0] += 0.2
    assert (version(), vault.reads) == (2, 2)
    vault.version = 3
    assert source.again(tenant, "openai") == source.active(tenant, "openai")
    assert (version(), vault.reads) == (3, 3)
    vault.version = 0
    source.forget()
    assert (version(), version(), vault.reads) == (None, None, 4), "that there is none is remembered too"
    monkeypatch.setattr("content_orchestration.core.generation.keys.source._MOST_REMEMBERED", 2)
    for _ in range(3):
        source.active(uuid4(), "openai")
    assert len(source._known) <= 2


def test_a_read_that_comes_back_late_does_not_bring_an_old_key_back() -> None:
    now = [100.0]
    tenant, vault = uuid4(), Vault()
    source = KeySource(vault, remembered=30, clock=lambda: now[0])  # type: ignore[arg-type]
    late = ProviderKey(tenant, "openai", 1, SecretStr("s"))

    def slow(tenant: UUID, provider: str) -> ProviderKey:
        now[0] += 1
        vault.version = 2
        vault.active = Vault.active.__get__(vault)  # type: ignore[method-assign]
        source.again(tenant, provider)
        return late

    vault.active = slow  # type: ignore[method-assign,assignment]
    assert source.again(tenant, "openai") is late
    remembered = source.active(tenant, "openai")
    assert remembered is not None
    assert remembered.version == 2


def test_a_ciphertext_is_bound_to_each_thing_that_it_belongs_to() -> None:
    """Tenants have data keys of their own, so a move between tenants meets two walls; each has to stand by itself."""
    mine, theirs = uuid4(), uuid4()
    places = {
        key_bound(mine, "openai", 1, 1), key_bound(theirs, "openai", 1, 1), key_bound(mine, "anthropic", 1, 1),
        key_bound(mine, "openai", 2, 1), key_bound(mine, "openai", 1, 2), data_key_bound(mine, 1),
        data_key_bound(theirs, 1), data_key_bound(mine, 2),
    }  # fmt: skip
    assert len(places) == 8
