"""The platform's buckets of renders, at the store that `STORAGE_URL` names, or as folders of this machine.

Where a tenant's own files are is `object_store.py`; which buckets hold renders, `RENDER_BUCKETS`.
"""

from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore import exceptions

from content_orchestration.core.cleanup.addresses import RenderPlaces, checked_path
from content_orchestration.core.cleanup.stores import RenderBucket
from content_orchestration.core.errors import Permanent
from content_orchestration.core.media.model import MissingObject, ObjectInfo
from content_orchestration.resources.object_store import TenantStores
from content_orchestration.resources.object_store_client import ObjectFolder, same_size
from content_orchestration.resources.object_store_local import LocalFolder
from content_orchestration.settings import Settings

_LOOPBACK = ("127.0.0.1", "localhost")


class RenderFolder(ObjectFolder):
    """A bucket of S3, Google or Azure."""

    def copy(self, source: str, target: str) -> ObjectInfo:
        """Copy within the store; the target appears whole. One of the same size that is there stays."""
        found = self.head(source)
        there = self.head(target)
        if there is not None and found is None:
            return there
        if found is None:
            raise MissingObject(f"cannot copy {source} in {self.location}: nothing is stored under this key")
        if there is None:
            with self._explained("copy", self._check(source)):
                try:
                    obstore.copy(self._store, source, self._check(target), overwrite=False)
                except exceptions.AlreadyExistsError:
                    pass  # somebody else copied it meanwhile: the size is compared below
                except (exceptions.NotSupportedError, NotImplementedError):
                    # S3 has no condition on copies: two at once write the same bytes.
                    obstore.copy(self._store, source, target)
        return same_size(self.head(target), target, found.size_bytes, self.location, created=there is None)


class LocalRenderFolder(LocalFolder):
    """A folder that stands for a bucket."""

    def copy(self, source: str, target: str) -> ObjectInfo:
        """Copy whole, onto the disk; a target of the same size that is there stays."""
        if self.head(source) is None:
            there = self.head(target)
            if there is None:
                raise MissingObject(f"cannot copy {source} in {self.location}: nothing is stored under this key")
            return there
        return self.put_file(self._path(source), target, "")


class RenderBuckets(TenantStores):
    """The buckets by name; for `file://` each is a folder below the address."""

    def bucket(self, name: str) -> RenderBucket:
        """The client of one bucket."""
        if checked_path(name) != name or "/" in name:
            raise Permanent(f"{name[:80]!r} is no name of a bucket")
        if self._scheme == "file":
            return LocalRenderFolder(Path("/") / self._path / name, check=checked_path)
        return RenderFolder(self._open(name, ""), f"{self._scheme}://{name}", check=checked_path)


def render_buckets_of(settings: Settings) -> RenderBuckets:
    """The store of renders that the settings name; folders below `renders` in `LOCAL_STATE_DIR` for `file://`."""
    scheme = urlsplit(settings.storage_url).scheme
    local = scheme in ("", "file")
    return RenderBuckets(
        (settings.local_state_dir / "renders").as_uri() if local else f"{scheme}://",
        endpoint=settings.storage_endpoint,
        region=settings.storage_region,
        access_key=settings.storage_access_key_id.get_secret_value(),
        secret_key=settings.storage_secret_access_key.get_secret_value(),
    )


def render_places_of(settings: Settings) -> RenderPlaces:
    """Where renders may be, at which hosts: `RENDER_HOSTS`, that of `STORAGE_ENDPOINT`, this machine for folders."""
    scheme = urlsplit(settings.storage_url).scheme
    local = scheme in ("", "file")
    hosts = {*settings.render_hosts.lower().split(), *(_LOOPBACK if local else ())}
    if endpoint := urlsplit(settings.storage_endpoint).hostname:
        hosts.add(endpoint)
    schemes = frozenset({"s3", "gs"}) if local else frozenset({scheme})
    return RenderPlaces(tuple(settings.render_buckets.split()), frozenset(hosts), schemes)
