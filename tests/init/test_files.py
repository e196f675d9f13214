"""What is written is what those who read it take: parsed, checked by their schemas, and of one mind with itself."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema  # type: ignore[import-untyped]

from hasten._core.durations import parse_duration
from hasten.init import Options, Timing
from hasten.load import Plan
from hasten.monitor._catalogue import HTTP_SERVER_ACTIVE
from hasten.monitor.slo import read_slo
from tests.init.projects import APP, PYPROJECT, initialised, make_project

BASE = "deploy/kubernetes/base"
KUBERNETES = "1.34"


@pytest.fixture(scope="module", params=[(10.0, 0), (2.5, 50051)], ids=["plain", "grpc"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with all files in it, with a gRPC port and another grace the second time."""
    grace, grpc_port = request.param
    root = make_project(tmp_path_factory.mktemp("shop"))
    initialised(root, Options(timing=Timing(grace=grace), grpc_port=grpc_port))
    return root


def read_yaml(root: Path, path: str) -> Any:
    """Return what a file of YAML says."""
    return yaml.safe_load((root / path).read_text())


def variables(root: Path) -> dict[str, str]:
    """Return the environment of the image."""
    text = (root / "Dockerfile").read_text().replace("\\\n", "")
    last = text.split("\nFROM ")[-1]
    pairs = [pair for line in re.findall(r"^ENV (.*)$", last, re.MULTILINE) for pair in shlex.split(line)]
    return dict(pair.split("=", 1) for pair in pairs)


def manifests(root: Path) -> Iterator[Any]:
    """Yield each manifest that the kustomization names."""
    for name in read_yaml(root, f"{BASE}/kustomization.yaml")["resources"]:
        yield from yaml.safe_load_all((root / BASE / name).read_text())


def manifest(root: Path, kind: str, name: str = "my-shop") -> Any:
    """Return one of them."""
    (found,) = [each for each in manifests(root) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pod(root: Path) -> Any:
    """Return the pods' specification."""
    return manifest(root, "Deployment")["spec"]["template"]["spec"]


# ---- objectives and the plan


def test_objectives_and_plan_are_read(written: Path) -> None:
    """slo.toml has an objective for each route of the app's own, and the plan asks what can be asked as it stands."""
    slo = read_slo(written / "slo.toml")
    assert {one.service for one in slo.objectives} == {"my-shop"}
    assert [(one.method, one.route) for one in slo.objectives if one.route] == [
        ("GET", "/products/{product_id}"),
        ("GET", "/products"),
        ("POST", "/orders"),
        ("GET", "/search"),
    ]
    assert slo.services[0].targets == ("my-shop:9464",)
    plan = Plan.from_file(written / "plan.toml", target="http://127.0.0.1")
    assert [kind.name for kind in plan.requests] == ["GET /products"]


def test_pyproject_names_app_and_gate(written: Path) -> None:
    """The tables that hasten reads are there, beside what was there."""
    document = tomllib.loads((written / "pyproject.toml").read_text())
    assert document["project"]["dependencies"] == ["fastapi>=0.115", "httpx", "hasten>=0.1.0"]
    assert document["tool"]["hasten"]["app"] == "shop.main:app"
    assert document["tool"]["hasten"]["gate"]["plan"] == "plan.toml"


def test_prometheus_takes_its_rules(written: Path) -> None:
    """What Prometheus runs by is as hasten monitor would write it, and promtool finds nothing wrong with it."""
    config = read_yaml(written, "deploy/prometheus/prometheus.yml")
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["my-shop:9464"]}]
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    rules = [written / "deploy/prometheus" / name for name in config["rule_files"]]
    done = subprocess.run(["promtool", "check", "rules", *map(str, rules)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- the image


def test_the_image_is_small_and_of_nobody(written: Path) -> None:
    """Two stages, no root, no cache, no shell in front of the process that takes SIGTERM."""
    lines = (written / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    instructions = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    stages = [value for name, value in instructions if name == "FROM"]
    last = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert stages == ["python:3.13-slim AS build", "python:3.13-slim"]
    assert not [line for line in last if line.startswith("RUN ")]
    (user,) = [line.split()[1] for line in last if line.startswith("USER ")]
    assert all(part.isdigit() and int(part) >= 10_000 for part in user.split(":"))
    (entry,) = [json.loads(value) for name, value in instructions if name == "ENTRYPOINT"]
    assert entry == ["hasten", "run", "shop.main:app"]
    (health,) = [value for name, value in instructions if name == "HEALTHCHECK"]
    command = json.loads(health.split("CMD ", 1)[1])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "healthcheck", "exec")
    build = dict(pair.split("=", 1) for name, value in instructions if name == "ENV" for pair in shlex.split(value))
    assert build["UV_NO_CACHE"] == "1"
    (exposed,) = [line.split()[1:] for line in last if line.startswith("EXPOSE ")]
    assert exposed[:2] == [variables(written)["HASTEN_PORT"], variables(written)["HASTEN_ADMIN"].rpartition(":")[2]]


def test_the_image_has_neither_secrets_nor_history(written: Path) -> None:
    """What is no part of the service is not sent to the builder."""
    assert {".git", ".venv", ".env"} <= set((written / ".dockerignore").read_text().splitlines())


# ---- Compose


def test_compose_is_valid(written: Path) -> None:
    """compose.yaml is what Compose's own schema takes; each of its services has bounds."""
    compose = read_yaml(written, "compose.yaml")
    jsonschema.validate(compose, get_builtin_schema("vendor.compose-spec"))
    assert set(compose["services"]) == {"my-shop", "prometheus", "redis"}
    for service in compose["services"].values():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert compose["services"]["redis"]["profiles"] == ["redis"]
    published = [port for each in compose["services"].values() for port in each.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_waits_for_the_process(written: Path) -> None:
    """SIGKILL comes after lame duck and twice the grace are over."""
    environment = variables(written)
    needed = parse_duration(environment["HASTEN_LAME_DUCK"]) + 2 * parse_duration(environment["HASTEN_GRACE"])
    service = read_yaml(written, "compose.yaml")["services"]["my-shop"]
    assert parse_duration(service["stop_grace_period"]) > needed
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]


def test_prometheus_may_ask(written: Path) -> None:
    """Prometheus has the token under the path that its configuration names, from the variable that the service has."""
    compose = read_yaml(written, "compose.yaml")
    scraped = read_yaml(written, "deploy/prometheus/prometheus.yml")["scrape_configs"][0]
    (secret,) = compose["services"]["prometheus"]["secrets"]
    assert scraped["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert compose["secrets"][secret] == {"environment": "HASTEN_ADMIN_TOKEN"}
    assert "HASTEN_ADMIN_TOKEN" in compose["services"]["my-shop"]["environment"]


# ---- Kubernetes


def test_manifests_are_valid(written: Path) -> None:
    """Each manifest is what the API's schema takes, without a key that it does not know."""
    for each in manifests(written):
        if each["kind"] != "ServiceMonitor":  # of the Prometheus operator
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_kustomize_builds_them(written: Path) -> None:
    """The base names every manifest that lies beside it, and kustomize makes one document of each."""
    named = read_yaml(written, f"{BASE}/kustomization.yaml")["resources"]
    assert {*named, "kustomization.yaml"} == {file.name for file in (written / BASE).iterdir()}
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(written / BASE)], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len(named)
    (image,) = [
        each["spec"]["template"]["spec"]["containers"][0]["image"] for each in built if each["kind"] == "Deployment"
    ]
    assert image == "my-shop:unreleased"


def test_selectors_find_the_pods(written: Path) -> None:
    """Deployment, both services, the budget, the monitor and the autoscaler are about the same pods."""
    deployment = manifest(written, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    headless = manifest(written, "Service", "my-shop-headless")
    selectors = [
        deployment["selector"]["matchLabels"],
        manifest(written, "Service")["spec"]["selector"],
        headless["spec"]["selector"],
        manifest(written, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    scaled = manifest(written, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("Deployment", "my-shop")
    monitored = manifest(written, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= headless["metadata"]["labels"].items()
    assert not monitored.items() <= manifest(written, "Service")["metadata"]["labels"].items()  # asked once


def test_ports_are_those_of_the_process(written: Path) -> None:
    """Probes, services and the monitor name ports that the container has, and that the process listens on."""
    container = pod(written)["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    environment = variables(written)
    assert str(ports["http"]) == environment["HASTEN_PORT"]
    assert str(ports["admin"]) == environment["HASTEN_ADMIN"].rpartition(":")[2]
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"admin"}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/readyz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/livez",
    }
    headless = manifest(written, "Service", "my-shop-headless")["spec"]
    assert headless["clusterIP"] == "None"
    served = [
        port for name in ("my-shop", "my-shop-headless") for port in manifest(written, "Service", name)["spec"]["ports"]
    ]
    assert {port["targetPort"] for port in served} == set(ports)
    exposed = (written / "Dockerfile").read_text().split("EXPOSE ")[1].splitlines()[0].split()
    assert exposed == [str(port) for port in ports.values()]
    assert {each["port"] for each in manifest(written, "ServiceMonitor")["spec"]["endpoints"]} == {"admin"}


def test_pods_have_time_to_leave(written: Path) -> None:
    """preStop, lame duck and twice the grace fit into the time that Kubernetes waits; the variables say the same."""
    specification = pod(written)
    container = specification["containers"][0]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    image = variables(written)
    assert {name: environment[name] for name in ("HASTEN_GRACE", "HASTEN_LAME_DUCK")} == {
        name: image[name] for name in ("HASTEN_GRACE", "HASTEN_LAME_DUCK")
    }
    leaving = parse_duration(image["HASTEN_LAME_DUCK"]) + 2 * parse_duration(image["HASTEN_GRACE"])
    pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert specification["terminationGracePeriodSeconds"] > pre_stop + leaving


def test_pods_may_do_little(written: Path) -> None:
    """No root, no privileges, nothing to write but /tmp, and no token for the API."""
    specification = pod(written)
    container = specification["containers"][0]
    user = specification["securityContext"]
    assert (user["runAsNonRoot"], user["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in (written / "Dockerfile").read_text().splitlines()
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert specification["automountServiceAccountToken"] is False
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert variables(written)["XDG_STATE_HOME"].startswith("/tmp/")


def test_the_autoscaler_asks_for_a_metric_that_there_is(written: Path) -> None:
    """It scales by requests in flight, which hasten exports, and by CPU, of which the container requests some."""
    specification = manifest(written, "HorizontalPodAutoscaler")["spec"]
    pods, resource = specification["metrics"]
    assert pods["pods"]["metric"]["name"] == HTTP_SERVER_ACTIVE.name
    assert resource["resource"]["name"] == "cpu"
    assert "cpu" in pod(written)["containers"][0]["resources"]["requests"]
    assert "replicas" not in manifest(written, "Deployment")["spec"]  # or each apply would undo what it has done


def test_prometheus_of_the_cluster_may_ask(written: Path) -> None:
    """The monitor sends the token of the secret that the process reads its own from."""
    (endpoint,) = manifest(written, "ServiceMonitor")["spec"]["endpoints"]
    environment = {one["name"]: one for one in pod(written)["containers"][0]["env"]}
    assert environment["HASTEN_ADMIN_TOKEN"]["valueFrom"]["secretKeyRef"] == endpoint["authorization"]["credentials"]


# ---- the workflow


def test_the_workflow_is_valid(written: Path) -> None:
    """GitHub's schema takes it; it may only read, its actions are pinned by commits, and it runs what it says."""
    workflow = read_yaml(written, ".github/workflows/hasten.yaml")
    named = {("on" if key is True else key): value for key, value in workflow.items()}  # YAML 1.1's `on` is true
    jsonschema.validate(named, get_builtin_schema("vendor.github-workflows"))
    assert named["permissions"] == {"contents": "read"}
    steps = [step for job in named["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions)
    commands = "\n".join(step.get("run", "") for step in steps)
    assert "hasten check --output-format github" in commands
    assert 'hasten gate --plan plan.toml --against "origin/$BASE"' in commands
    gate = named["jobs"]["gate"]
    assert gate["steps"][0]["with"] == {"fetch-depth": 0}


# ---- other projects


def test_requirements_take_the_dependency(tmp_path: Path) -> None:
    """A project with requirements.txt gets its line there, and image and workflow install from it."""
    root = make_project(tmp_path, pyproject=None)
    (root / "requirements.txt").write_text("fastapi==0.115")
    (root / "tests").mkdir()
    initialised(root)
    assert (root / "requirements.txt").read_text() == "fastapi==0.115\nhasten>=0.1.0\n"
    assert "uv pip install -r requirements.txt" in (root / "Dockerfile").read_text()
    workflow = (root / ".github/workflows/hasten.yaml").read_text()
    assert "- run: pip install -r requirements.txt pytest\n" in workflow
    assert "- run: python -m pytest\n" in workflow
    assert tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hasten"]["app"] == "shop.main:app"


def test_a_source_folder_is_found_by_all(tmp_path: Path) -> None:
    """Modules in src are named without it, and image and workflow find them there."""
    root = make_project(tmp_path, "src/shop/main.py")
    assert initialised(root).app == "shop.main:app"
    assert variables(root)["PYTHONPATH"] == "/app/src"
    assert read_yaml(root, ".github/workflows/hasten.yaml")["env"] == {"PYTHONPATH": "src"}
    assert "/search" in (root / "slo.toml").read_text()


@pytest.mark.parametrize(
    ("requires", "python"), [(">=3.11,<3.13", "3.12"), ("==3.11.*", "3.11"), (">=3.15", "3.15"), ("", "3.13")]
)
def test_the_python_is_one_that_the_project_takes(tmp_path: Path, requires: str, python: str) -> None:
    """Images have a Python that requires-python allows."""
    root = make_project(tmp_path, pyproject=PYPROJECT.replace(">=3.11", requires))
    initialised(root)
    assert f"FROM python:{python}-slim\n" in (root / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ["yes", "redis", "7th_Service", "---", "x" * 80])
def test_a_name_is_one_everywhere(tmp_path: Path, name: str) -> None:
    """Whatever the project is called, Kubernetes and Compose take what comes of it, as a text."""
    root = make_project(tmp_path / "folder", pyproject=PYPROJECT.replace("My_Shop", name))
    initialised(root)
    for each in manifests(root):
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", each["metadata"]["name"])
    assert len(read_yaml(root, "compose.yaml")["services"]) == 3


def test_an_app_that_does_not_import_has_objectives_for_all(tmp_path: Path) -> None:
    """Where routes cannot be seen, the objectives are about all requests, and why is said."""
    root = make_project(tmp_path, app=APP + "\nraise KeyError('DSN')\n")
    proposal = initialised(root)
    assert [one.route for one in read_slo(root / "slo.toml").objectives] == ["", ""]
    (note,) = [note for note in proposal.notes if "does not import" in note]
    assert "KeyError: 'DSN'" in note
    assert Plan.from_file(root / "plan.toml", target="http://127.0.0.1").requests[0].path == "/openapi.json"
