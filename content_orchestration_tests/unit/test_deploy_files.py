"""The files of deploy/: they parse, agree with one another and with the settings, and hold no secret. Nothing is run.

The chart's keys are written down here as Dagster's chart has them (helm/dagster/schema in Dagster's repository, whose
models forbid others), since no chart can be fetched where the tests run.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config_schema

from content_orchestration.distributed.celery_launcher import WatchedCeleryRunLauncher
from content_orchestration.settings import PROJECT_ROOT, Settings

DEPLOY = PROJECT_ROOT / "deploy"
VARIABLES = {str(field.alias) for field in Settings.model_fields.values()}
DAGSTERS = {"DAGSTER_PG_URL", "DAGSTER_STATE_DIR", "DAGSTER_COMPUTE_LOG_DIR"}
SECRETS = {str(field.alias) for field in Settings.model_fields.values() if "SecretStr" in str(field.annotation)}
# Sections of the chart and, where this file sets any, the keys that their models allow.
CHART: dict[str, set[str] | None] = {
    "global": {"postgresqlSecretName", "dagsterHome", "serviceAccountName", "celeryConfigSecretName",
               "dagsterInstanceConfigMap"},
    "generatePostgresqlPasswordSecret": None,
    "postgresql": {"image", "enabled", "postgresqlHost", "postgresqlUsername", "postgresqlPassword",
                   "postgresqlDatabase", "postgresqlParams", "postgresqlScheme", "service"},
    "rabbitmq": None,
    "redis": None,
    "telemetry": {"enabled"},
    "dagsterWebserver": None,
    "ingress": None,
    "dagster-user-deployments": {"enabled", "enableSubchart", "imagePullSecrets", "deployments"},
    "runLauncher": {"type", "config"},
    "computeLogManager": {"type", "config"},
    "scheduler": {"type", "config"},
    "dagsterDaemon": {
        "enabled", "image", "runCoordinator", "heartbeatTolerance", "env", "envConfigMaps", "envSecrets",
        "deploymentLabels", "labels", "nodeSelector", "affinity", "tolerations", "podSecurityContext",
        "securityContext", "resources", "livenessProbe", "readinessProbe", "startupProbe", "annotations",
        "runMonitoring", "runRetries", "sensors", "schedules", "backfills", "volumeMounts", "volumes",
    },
    "concurrency": {"enabled", "pools", "runs"},
    "retention": {"enabled", "schedule", "sensor", "autoMaterialize"},
    "serviceAccount": {"create", "name", "annotations", "labels"},
}  # fmt: skip
RUN_POD = {
    "image", "imagePullPolicy", "jobNamespace", "loadInclusterConfig", "kubeconfigFile", "envConfigMaps", "envSecrets",
    "envVars", "volumeMounts", "volumes", "labels", "failPodOnRunFailure", "resources", "schedulerName",
    "securityContext", "runK8sConfig",
}  # fmt: skip
DEPLOYMENT = {
    "name", "image", "port", "dagsterApiGrpcArgs", "codeServerArgs", "includeConfigInLaunchedRuns", "env",
    "envConfigMaps", "envSecrets", "annotations", "nodeSelector", "affinity", "tolerations", "podSecurityContext",
    "securityContext", "resources", "livenessProbe", "readinessProbe", "startupProbe", "labels", "volumeMounts",
    "volumes", "schedulerName",
}  # fmt: skip


def parsed(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / path).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return parsed("helm/values.yaml")


def snake(value: Any) -> Any:
    """Keys of the chart as Dagster's own file writes them."""
    if isinstance(value, dict):
        return {
            key if key == "applyLimitPerUniqueValue" else re.sub(r"(?<=[a-z])([A-Z])", r"_\1", key).lower(): snake(item)
            for key, item in value.items()
        }
    return [snake(item) for item in value] if isinstance(value, list) else value


def variables(node: Any) -> Iterator[str]:
    """The names behind each `env:` of an instance file."""
    if isinstance(node, dict):
        if set(node) == {"env"} and isinstance(node["env"], str):
            yield node["env"]
        for item in node.values():
            yield from variables(item)
    elif isinstance(node, list):
        for item in node:
            yield from variables(item)


@pytest.mark.parametrize("path", ["dagster.yaml", "celery/dagster.yaml"])
def test_dagster_accepts_the_instance_file(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables(parsed(path)):
        monkeypatch.setenv(name, "given")
    checked = process_config(dagster_instance_config_schema(), parsed(path))
    assert checked.success, checked.errors


@pytest.mark.parametrize("path", ["dagster.yaml", "celery/dagster.yaml"])
def test_the_instance_file_names_only_known_variables(path: str) -> None:
    assert set(variables(parsed(path))) <= VARIABLES | DAGSTERS


def test_the_celery_profile_differs_from_the_plain_one_only_where_it_must() -> None:
    plain, celery = parsed("dagster.yaml"), parsed("celery/dagster.yaml")
    launcher = celery.pop("run_launcher")
    for monitored in (plain, celery):
        del monitored["run_monitoring"]["start_timeout_seconds"], monitored["run_monitoring"]["poll_interval_seconds"]
    assert celery == plain
    assert f"{launcher['module']}.{launcher['class']}" == (
        f"{WatchedCeleryRunLauncher.__module__}.{WatchedCeleryRunLauncher.__name__}"
    )
    checked = process_config(
        WatchedCeleryRunLauncher.config_type(), launcher["config"] | {"broker": "b", "backend": "b"}
    )
    assert checked.success, checked.errors
    assert launcher["config"]["config_source"]["task_acks_late"] is False


def test_the_charts_limits_are_those_of_the_plain_instance(values: dict[str, Any]) -> None:
    plain = parsed("dagster.yaml")
    concurrency = snake(values["concurrency"])
    assert concurrency.pop("enabled") is True
    assert concurrency == plain["concurrency"]
    # Set in both places, the chart refuses to render.
    assert values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"] == {}
    assert snake(values["dagsterDaemon"]["runRetries"]) == plain["run_retries"]
    assert (
        values["dagsterDaemon"]["runMonitoring"]["maxResumeRunAttempts"]
        == (plain["run_monitoring"]["max_resume_run_attempts"])
    )
    retention = snake(values["retention"])
    assert retention.pop("enabled") is True
    assert retention == plain["retention"]


def test_the_charts_keys_are_known(values: dict[str, Any]) -> None:
    assert set(values) <= set(CHART)
    for section, known in CHART.items():
        if known is not None and section in values:
            assert set(values[section]) <= known, section
    assert set(values["runLauncher"]["config"]) == {"k8sRunLauncher"}
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    assert set(launcher) <= RUN_POD
    assert set(launcher["runK8sConfig"]) <= {
        "containerConfig", "podSpecConfig", "podTemplateSpecMetadata", "jobSpecConfig", "jobMetadata",
    }  # fmt: skip
    for deployment in values["dagster-user-deployments"]["deployments"]:
        assert set(deployment) <= DEPLOYMENT
    assert set(values["dagsterDaemon"]["runRetries"]) == {"enabled", "maxRetries", "retryOnAssetOrOpFailure"}


def test_the_chart_starts_our_entry_point_with_known_variables_and_no_secret(values: dict[str, Any]) -> None:
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    arguments = deployment["dagsterApiGrpcArgs"]
    assert arguments == [
        "--module-name",
        "content_orchestration.definitions",
        "--location-name",
        "content_orchestration",
    ]
    (command,) = (json.loads(rest) for word, rest in instructions() if word == "CMD")
    assert command[-4:] == arguments
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": True}
    assert deployment["envSecrets"]
    given = {entry["name"]: entry["value"] for entry in deployment["env"]}
    assert set(given) <= VARIABLES
    assert not set(given) & SECRETS
    Settings(**{**given, "ZERODB_API_KEY": "from the secret", "DATABASE_PUBLIC_URL": "postgresql://u:p@db/platform"})
    text = (DEPLOY / "helm" / "values.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", "\n".join(line for line in text.splitlines() if "# " in line)))
    assert named <= VARIABLES
    assert "postgresqlPassword" not in values["postgresql"]


def test_every_pod_runs_the_same_image_and_not_as_root(values: dict[str, Any]) -> None:
    (code,) = values["dagster-user-deployments"]["deployments"]
    parts = [code, values["dagsterDaemon"], values["dagsterWebserver"]]
    assert len({(part["image"]["repository"], part["image"]["tag"]) for part in parts}) == 1
    run = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    pods = [part["podSecurityContext"] for part in parts] + [run["podSpecConfig"]["securityContext"]]
    assert all(pod["runAsNonRoot"] and pod["runAsUser"] == 10001 for pod in pods)
    containers = [part["securityContext"] for part in parts] + [run["containerConfig"]["securityContext"]]
    assert all(container["allowPrivilegeEscalation"] is False for container in containers)
    assert values["ingress"] == {"enabled": False}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_is_built_in_stages_from_pins_and_runs_as_no_root() -> None:
    steps = instructions()
    assert {word for word, _ in steps} <= {
        "FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "CMD",
    }  # fmt: skip
    stages = [rest for word, rest in steps if word == "FROM"]
    assert len(stages) == 2
    assert all(re.fullmatch(r"\S+:\S+( AS \w+)?", stage) and ":latest" not in stage for stage in stages)
    installs = [rest for word, rest in steps if word == "RUN" and "pip install" in rest]
    assert installs
    assert all("--constraint constraints.txt" in install for install in installs)
    last = steps[[index for index, (word, _) in enumerate(steps) if word == "FROM"][-1] :]
    assert ("USER", "10001:10001") in last
    assert [word for word, _ in last if word in {"CMD", "HEALTHCHECK"}] == ["HEALTHCHECK", "CMD"]
    assert not [rest for word, rest in last if word == "RUN" and "pip" in rest]


def test_the_image_takes_only_named_files_which_are_there_and_no_secret() -> None:
    steps = instructions()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in ignored if not line.startswith("#")) == "*"
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    for word, rest in steps:
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (PROJECT_ROOT / source).exists(), source
                assert Path(source).parts[0] in let_in, source
    given = {name for word, rest in steps if word == "ENV" for name in re.findall(r"(\w+)=", rest)}
    assert not given & SECRETS
    assert given <= VARIABLES | {
        "PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "DAGSTER_DISABLE_TELEMETRY", "DAGSTER_HOME",
    }  # fmt: skip
