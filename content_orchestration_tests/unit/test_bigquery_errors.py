"""What Google's errors become: final or worth a retry, with the way out. No server: the errors are made here."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import requests
from google.api_core import exceptions as google
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.cloud.bigquery.job.base import _error_result_to_exception

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.resources.bigquery_client import BigQueryClient


class FakeGoogle:
    """Answers every method with `action`, and counts the calls."""

    project = "project"

    def __init__(self, action: Callable[[], Any]) -> None:
        self.calls = 0
        self._action = action

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return self._action()

        return call


def client(action: Callable[[], Any], attempts: int = 1) -> tuple[BigQueryClient, FakeGoogle]:
    fake = FakeGoogle(action)
    return BigQueryClient(fake, "dataset", attempts=attempts, retry_seconds=5.0), fake  # type: ignore[arg-type]


def raising(error: Exception) -> Callable[[], Any]:
    def action() -> Any:
        raise error

    return action


def reason(kind: str, error: type[google.GoogleAPICallError] = google.Forbidden) -> google.GoogleAPICallError:
    return error("said Google", errors=[{"reason": kind, "message": "said Google"}])


PERMANENT = [
    (google.Forbidden("no"), "permission denied (no). Grant the service account BigQuery Data Editor"),
    (reason("accessDenied"), "BigQuery Job User on the project"),
    (reason("quotaExceeded"), "a quota is used up"),
    (_error_result_to_exception({"reason": "quotaExceeded", "message": "loads"}), "BIGQUERY_SYNC_INTERVAL_MINUTES"),
    (google.NotFound("no table"), "Materialize bigquery_dr_tables first"),
    (google.Unauthorized("who"), "Set GOOGLE_APPLICATION_CREDENTIALS"),
    (DefaultCredentialsError("none"), "or unset BIGQUERY_PROJECT_ID to use the local emulator"),
    (RefreshError("revoked"), "no usable credentials (revoked)"),
    (google.BadRequest("syntax"), "syntax"),
    (_error_result_to_exception({"reason": "invalid", "message": "bad parquet"}), "bad parquet"),
]  # fmt: skip
TRANSIENT = [
    google.TooManyRequests("slow down"),
    google.ServiceUnavailable("later"),
    google.InternalServerError("oops"),
    google.BadGateway("oops"),
    google.GatewayTimeout("oops"),
    google.RetryError("gave up", cause=None),
    requests.ConnectionError("refused"),
    requests.Timeout("slow"),
    TransportError("no route"),
    TimeoutError("the job has not ended"),
    reason("rateLimitExceeded"),
    reason("backendError"),
    reason("tableUnavailable", google.BadRequest),
    _error_result_to_exception({"reason": "tableUnavailable", "message": "x"}),
    _error_result_to_exception({"reason": "jobRateLimitExceeded", "message": "x"}),
]


@pytest.mark.parametrize(("error", "way_out"), PERMANENT, ids=lambda each: type(each).__name__)
def test_final_errors_are_raised_at_once_with_the_way_out(error: Exception, way_out: str) -> None:
    warehouse, fake = client(raising(error), attempts=4)
    with pytest.raises(Permanent) as caught:
        warehouse.row_count("content_storage_dr")
    assert str(caught.value).startswith("BigQuery could not read table content_storage_dr in project.dataset: ")
    assert way_out in str(caught.value)
    assert caught.value.__cause__ is error
    assert fake.calls == 1


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda each: type(each).__name__)
def test_errors_that_pass_are_transient(error: Exception) -> None:
    warehouse, _ = client(raising(error))
    with pytest.raises(Transient) as caught:
        warehouse.row_count("content_storage_dr")
    assert "the next run finishes the work" in str(caught.value)
    assert caught.value.__cause__ is error


def test_requests_are_tried_again_as_often_as_asked() -> None:
    warehouse, fake = client(raising(google.ServiceUnavailable("later")), attempts=3)
    with pytest.raises(Transient):
        warehouse.ping()
    assert fake.calls == 3


def test_a_request_that_works_the_second_time_works() -> None:
    answers = [raising(google.ServiceUnavailable("later")), list]
    warehouse, fake = client(lambda: answers.pop(0)(), attempts=3)
    warehouse.ping()
    assert fake.calls == 2


class Job:
    """A load job that ends, fails, or goes on."""

    def __init__(self, error: Exception | None, state: str) -> None:
        self.state = state
        self._error = error

    def result(self, **kwargs: Any) -> None:
        assert kwargs["timeout"] == 5.0
        assert kwargs["retry"].timeout == 5.0
        if self._error:
            raise self._error


def test_a_job_that_ended_badly_has_ended() -> None:
    warehouse, _ = client(lambda: Job(google.BadRequest("bad file"), "DONE"))
    assert warehouse.wait_for_job("job") is True
    warehouse, _ = client(lambda: Job(None, "DONE"))
    assert warehouse.wait_for_job("job") is False


@pytest.mark.parametrize("error", [TimeoutError("still running"), google.ServiceUnavailable("who knows")])
def test_a_job_that_may_still_run_is_not_taken_for_ended(error: Exception) -> None:
    warehouse, _ = client(lambda: Job(error, "RUNNING"))
    with pytest.raises(Transient, match=r"job-1 has not ended after 5 s"):
        warehouse.wait_for_job("job-1")


def test_a_job_whose_state_cannot_be_read_is_unknown() -> None:
    warehouse, _ = client(raising(google.ServiceUnavailable("later")))
    with pytest.raises(Transient):
        warehouse.wait_for_job("job")


@pytest.mark.parametrize(
    ("job", "kind"),
    [
        (Job(TimeoutError("still running"), "RUNNING"), Transient),
        (Job(_error_result_to_exception({"reason": "backendError", "message": "x"}), "DONE"), Transient),
        (Job(google.BadRequest("bad file"), "DONE"), Permanent),
    ],
)
def test_a_load_that_fails_says_whether_to_try_again(job: Job, kind: type[Exception]) -> None:
    warehouse, fake = client(lambda: job, attempts=3)
    with pytest.raises(kind, match=r"load into t in project\.dataset"):
        warehouse.load_parquet("t", io.BytesIO(), "job")
    assert fake.calls == 1


def test_a_load_that_the_service_has_done_before_is_waited_for_and_reported() -> None:
    answers = [raising(google.Conflict("Already Exists: Job")), lambda: Job(None, "DONE")]
    warehouse, _ = client(lambda: answers.pop(0)())
    assert warehouse.load_parquet("t", io.BytesIO(), "job").already is True


class Rows:
    """A result whose second page cannot be read."""

    def result(self, **kwargs: Any) -> Any:
        yield {"n": 1}
        raise google.RetryError("pages", cause=None)


def test_a_result_that_breaks_off_is_an_error_and_no_short_answer() -> None:
    warehouse, _ = client(Rows)
    rows = warehouse.query("SELECT 1")
    assert next(rows) == {"n": 1}
    with pytest.raises(Transient, match="read the rows of a query"):
        next(rows)
