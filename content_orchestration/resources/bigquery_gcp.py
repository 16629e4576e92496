"""Google's own client for the settings. Imported on first use of BigQuery: it takes half a second."""

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from content_orchestration.settings import Settings


def google_client(settings: Settings) -> bigquery.Client:
    """A client with application default credentials, or an anonymous one for an emulator; it sends no request.

    Raises `google.auth.exceptions.DefaultCredentialsError` where there are none.
    """
    if settings.bigquery_url is None:
        return bigquery.Client(project=settings.bigquery_project, location=settings.bigquery_location)
    return bigquery.Client(
        project=settings.bigquery_project,
        location=settings.bigquery_location,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": settings.bigquery_url},
    )
