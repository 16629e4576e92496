"""Object storage as a Dagster resource: which store `STORAGE_URL` names, and where in it each tenant's files are.

`s3://`, `gs://` or `az://` without a bucket: a bucket a tenant, `<STORAGE_BUCKET_PREFIX><tenant>`, with files below
`media/` and the drop folder `inbox/`. With a bucket, and for folders: `<path>/<prefix><tenant>/` and
`<path>/inbox/<tenant>/`. Buckets are private and made by whoever runs the store, never here.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import dagster as dg

from content_orchestration.core.errors import Permanent
from content_orchestration.core.media.keys import checked_drop, checked_key
from content_orchestration.core.media.model import MediaStore, MediaStores
from content_orchestration.resources.object_store_client import ObjectFolder
from content_orchestration.resources.object_store_local import LocalFolder
from content_orchestration.settings import Settings, get_settings

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

SCHEMES = ("file", "s3", "gs", "az")
# An answer that takes longer is tried again; whoever waits for a file has a limit of his own.
_RETRY_SECONDS = 60


class TenantStores:
    """The stores of all tenants behind one address."""

    def __init__(
        self,
        url: str,
        *,
        bucket_prefix: str = "tenant-",
        endpoint: str = "",
        region: str = "",
        access_key: str = "",
        secret_key: str = "",
        google_token: Callable[[], Any] | None = None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """`google_token` replaces Google's credentials of the environment: an emulator takes any token."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise Permanent(f"STORAGE_URL has the scheme {parts.scheme!r}: use one of {', '.join(SCHEMES)}")
        self._scheme = parts.scheme
        self._bucket = parts.netloc
        self._path = unquote(parts.path).strip("/")
        self._prefix = bucket_prefix
        self._endpoint = endpoint
        self._region = region
        self._keys = (access_key, secret_key)
        self._google_token = google_token
        self._retry_seconds = retry_seconds

    def for_tenant(self, tenant_id: UUID) -> MediaStore:
        """Where the tenant's files and variants are."""
        own = f"{self._prefix}{tenant_id}"
        return self._folder(own, "media", own, checked_key)

    def inbox(self, tenant_id: UUID) -> MediaStore:
        """Where the tenant drops files."""
        return self._folder(f"{self._prefix}{tenant_id}", "inbox", f"inbox/{tenant_id}", checked_drop)

    def doctor(self, tenant_id: UUID) -> MediaStore:
        """Where the doctor tries it: in the tenant's bucket, or beside the tenants' files. No job looks there."""
        return self._folder(f"{self._prefix}{tenant_id}", "doctor", "doctor", checked_key)

    def _folder(self, bucket: str, within: str, shared: str, check: Callable[[str], str]) -> MediaStore:
        if self._scheme == "file":
            return LocalFolder(Path("/") / self._path / shared, check=check)
        name, prefix = (self._bucket, shared) if self._bucket else (bucket, within)
        prefix = f"{self._path}/{prefix}" if self._path else prefix
        return ObjectFolder(
            self._open(name, prefix), f"{self._scheme}://{name}/{prefix}", check=check, secrets=self._keys
        )

    def _open(self, bucket: str, prefix: str) -> "S3Store | GCSStore | AzureStore":
        from obstore.store import AzureStore, GCSStore, S3Store

        options: Any = {"allow_http": self._endpoint.startswith("http://"), "timeout": "60s"}
        retry: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=self._retry_seconds)}
        shared: dict[str, Any] = {"prefix": prefix, "client_options": options, "retry_config": retry}
        identity, secret = self._keys
        config: Any = {"endpoint": self._endpoint} if self._endpoint else {}
        if self._scheme == "s3":
            config |= {"region": self._region} if self._region else {}
            config |= {"access_key_id": identity, "secret_access_key": secret} if identity else {}
            return S3Store(bucket, config=config, **shared)
        if self._scheme == "az":
            config |= {"account_name": identity, "account_key": secret} if identity else {}
            return AzureStore(bucket, config=config, **shared)
        # Google's credentials are a file, which GOOGLE_APPLICATION_CREDENTIALS names; the endpoint is its base URL.
        google: Any = {"base_url": self._endpoint} if self._endpoint else {}
        if self._google_token is not None:
            shared["credential_provider"] = self._google_token
        return GCSStore(bucket, config=google, **shared)


def stores_of(settings: Settings, *, retry_seconds: float = _RETRY_SECONDS) -> TenantStores:
    """The stores that the settings name; without `STORAGE_URL` the folder `media` in `LOCAL_STATE_DIR`."""
    return TenantStores(
        settings.storage_url or (settings.local_state_dir / "media").as_uri(),
        bucket_prefix=settings.storage_bucket_prefix,
        endpoint=settings.storage_endpoint,
        region=settings.storage_region,
        access_key=settings.storage_access_key_id.get_secret_value(),
        secret_key=settings.storage_secret_access_key.get_secret_value(),
        retry_seconds=retry_seconds,
    )


class ObjectStoreResource(dg.ConfigurableResource[TenantStores]):
    """The tenants' files.

    Credentials are no fields, since Dagster shows resource configuration to everyone who opens the UI.
    """

    def stores(self) -> MediaStores:
        """The stores of all tenants. Nothing is opened before the first request."""
        return stores_of(get_settings())
