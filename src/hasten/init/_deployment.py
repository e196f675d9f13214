"""Image, Compose, Kubernetes and workflow of a project: templates with its values in them."""

from hasten._core.version import __version__
from hasten.init._project import PYPROJECT, REQUIREMENTS, Project
from hasten.init._templates import marked, render
from hasten.init._timing import Timing, as_option
from hasten.monitor.dashboards._compose import PROMETHEUS

REQUIREMENT = f"hasten>={__version__}"
KUBERNETES = "deploy/kubernetes/base"
_MANIFESTS = (
    "kustomization", "deployment", "service", "headless", "horizontalpodautoscaler", "poddisruptionbudget",
    "servicemonitor",
)  # fmt: skip
_UV = "uv==0.9.26"


def docker_files(project: Project, timing: Timing, grpc_port: int) -> dict[str, str]:
    """Return Dockerfile and .dockerignore.

    Args:
      grpc_port: That the app serves, too; 0 for none.
    """
    dockerfile = render(
        "Dockerfile",
        python=project.python,
        uv=_UV,
        install=_installed_in_image(project),
        paths=f" PYTHONPATH=/app/{project.app.source}" if project.app.source else "",
        grace=as_option(timing.grace),
        lame_duck=as_option(timing.lame_duck),
        grpc_port=f" {grpc_port}" if grpc_port else "",
        target=project.app.target,
    )
    return {"Dockerfile": marked(dockerfile), ".dockerignore": marked(render("dockerignore"))}


def compose_file(project: Project, timing: Timing, grpc_port: int) -> str:
    """Return compose.yaml."""
    published = f', "127.0.0.1:{grpc_port}:{grpc_port}"' if grpc_port else ""
    values = {"service": project.service, "stopping": timing.stopping, "prometheus": PROMETHEUS}
    return marked(render("compose.yaml", **values, grpc_published=published))


def kubernetes_files(project: Project, timing: Timing, grpc_port: int) -> dict[str, str]:
    """Return the manifests of a kustomize base."""
    grpc = f"{{name: grpc, containerPort: {grpc_port}}}"
    served = f"{{name: grpc, port: {grpc_port}, targetPort: grpc, appProtocol: kubernetes.io/h2c}}"
    values = {
        "service": project.service,
        "grace": as_option(timing.grace),
        "lame_duck": as_option(timing.lame_duck),
        "pre_stop": timing.pre_stop,
        "terminating": timing.terminating,
        "grpc_container": f"\n            - {grpc}" if grpc_port else "",
        "grpc_headless": f"\n    - {served}" if grpc_port else "",
        "headless_port": grpc_port or "PORT",
    }
    return {f"{KUBERNETES}/{name}.yaml": marked(render(f"kubernetes/{name}.yaml", **values)) for name in _MANIFESTS}


def workflow_file(project: Project) -> str:
    """Return the workflow of GitHub Actions."""
    install, run = _installed_in_workflow(project)
    pytest = "uv run --with pytest python -m pytest" if run else "python -m pytest"
    tests = f"      - run: {pytest}\n"
    return marked(
        render(
            "workflow.yaml",
            python=project.python,
            install=install,
            run=run,
            tests=tests if project.tests else "",
            paths=f"env:\n  PYTHONPATH: {project.app.source}\n" if project.app.source else "",
        )
    )


def _installed_in_image(project: Project) -> str:
    if project.needs == PYPROJECT:
        files = "pyproject.toml uv.lock" if project.locked else "pyproject.toml"
        locked = " --locked" if project.locked else ""
        return f"COPY {files} ./\nRUN uv sync --no-dev --no-install-project{locked}"
    if project.needs == REQUIREMENTS:
        return f"COPY {REQUIREMENTS} ./\nRUN uv venv && uv pip install -r {REQUIREMENTS}"
    return f'# Name here what the app needs besides.\nRUN uv venv && uv pip install fastapi "{REQUIREMENT}"'


def _installed_in_workflow(project: Project) -> tuple[str, str]:
    """Return what installs the project, and what is written in front of the commands that run in it."""
    if project.needs == PYPROJECT:
        return f"pip install {_UV} && uv sync{' --locked' if project.locked else ''}", "uv run "
    if project.needs == REQUIREMENTS:
        return f"pip install -r {REQUIREMENTS} pytest", ""
    return f'pip install pytest fastapi "{REQUIREMENT}"', ""
