"""Other people's mocks: one table of what they are, how they are installed, set up and started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal

from benchmarks.work import PEER_PATH, PIECES, TEXT

Registry = Literal["pypi", "npm", "none"]

_CHUNK = len(PIECES[0])

#: mock-llm's own default rule (its README) with a fixed answer and a usage; its stream is the answer cut up.
_MOCK_LLM_RULE = {
    "path": PEER_PATH,
    "method": "POST",
    "match": "@",
    "response": {
        "status": 200,
        "content": json.dumps(
            {
                "id": "chatcmpl-{{timestamp}}",
                "object": "chat.completion",
                "created": 1767225600,
                "model": "{{jmes request body.model}}",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": TEXT, "refusal": None},
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 14, "completion_tokens": 20, "total_tokens": 34},
            }
        ),
    },
}

#: It looks its own answer up as if it were a question when it streams, so the answer is the one to the unknown.
_MOCKLLM_RESPONSES = {"responses": {}, "defaults": {"unknown_response": TEXT[: len(PIECES)]}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One mock that is measured beside ours.

    Attributes:
        name: in the tables; a second setting of one package has a name of its own.
        registry, package: where it comes from; ``none`` for what is written here.
        command: what starts it. Filled in are ``{port}``, ``{python}`` and ``{scripts}`` (of the peers' environment),
            ``{own_python}``, ``{node}``, ``{modules}`` (node_modules), ``{servers}`` (scripts of this benchmark) and
            ``{files}``.
        environment: variables it wants, filled in likewise.
        files: what its command reads.
        prepare: path and JSON body of a POST that sets it up once it runs.
        kinds: what it is measured at.
        note: what a reader must know to judge the figure.
    """

    name: str
    registry: Registry
    package: str
    command: str
    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    prepare: tuple[str, dict[str, Any]] | None = None
    kinds: tuple[str, ...] = ("json", "sse")
    note: str = ""


_AIMOCK_FILES = {"aimock.json": json.dumps({"fixtures": [{"match": {}, "response": {"content": TEXT}}]})}
_AIMOCK = (
    "{node} {modules}/@copilotkit/aimock/dist/cli.js --port {port} --fixtures {files}/aimock.json"
    f" --chunk-size {_CHUNK} --log-level silent"
)
_HTTPSERVER = "{python} {servers}/httpserver.py {port}"

PEERS: tuple[Peer, ...] = (
    Peer(
        name="SDK's mock (stand-in)",
        registry="none",
        package="",
        command="{own_python} {servers}/stand_in.py {port}",
        note="Flask's development server with one route, written here: the SDK's own test mock is in no package. "
        "It checks no key and keeps no journal.",
    ),
    Peer(
        name="aimock",
        registry="npm",
        package="@copilotkit/aimock",
        command=_AIMOCK,
        files=_AIMOCK_FILES,
        note="One catch-all fixture, its log off, its journal of 1,000 on.",
    ),
    Peer(
        name="aimock, 50 ms",
        registry="npm",
        package="@copilotkit/aimock",
        command=f"{_AIMOCK} --latency 50",
        files=_AIMOCK_FILES,
        kinds=("paced",),
    ),
    Peer(
        name="pytest-httpserver",
        registry="pypi",
        package="pytest-httpserver",
        command=_HTTPSERVER,
        kinds=("json",),
        note="As it comes: one request at a time, a connection for each. It remembers every request for ever.",
    ),
    Peer(
        name="pytest-httpserver, threaded",
        registry="pypi",
        package="pytest-httpserver",
        command=f"{_HTTPSERVER} threaded",
        note="Its option threaded=True.",
    ),
    Peer(
        name="llmock",
        registry="pypi",
        package="llmock",
        command="{scripts}/llmock serve --host 127.0.0.1 --port {port}",
        prepare=("/_llmock/scenario", {"behaviors": [{"type": "reply", "text": TEXT, "times": None}]}),
        note="A scripted reply, for ever.",
    ),
    Peer(
        name="mockllm",
        registry="pypi",
        package="mockllm",
        command="{python} -m uvicorn mockllm.server:app --host 127.0.0.1 --port {port} --log-level warning",
        environment={"MOCKLLM_RESPONSES_FILE": "{files}/mockllm.yml"},
        files={"mockllm.yml": json.dumps(_MOCKLLM_RESPONSES)},
        kinds=("sse",),
        note="By uvicorn: its own command always watches its files and logs every request. It streams characters, "
        "so its answer is 20 of them. Not measured at JSON: there it counts tokens with tables that it fetches from "
        "the network.",
    ),
    Peer(
        name="mock-llm",
        registry="npm",
        package="@dwmkerr/mock-llm",
        command="{node} {modules}/@dwmkerr/mock-llm/dist/main.js --config {files}/mock-llm.yaml",
        environment={"HOST": "127.0.0.1", "PORT": "{port}"},
        files={
            "mock-llm.yaml": json.dumps(
                {"streaming": {"chunkSize": _CHUNK, "chunkIntervalMs": 0}, "rules": [_MOCK_LLM_RULE]}
            )
        },
        note="An interval of 0 ms is 1 ms to Node's setInterval.",
    ),
)


@dataclass(slots=True)
class Installed:
    """What could be got.

    Attributes:
        folder: where the peers live: a cache of our own, never this repository.
        python, node: what runs them; None where there is none.
        versions: package -> version, for those that are there.
        missing: package -> why it is not.
    """

    folder: Path
    python: Path | None = None
    node: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def why_not(self, peer: Peer) -> str | None:
        """Why a peer cannot be measured; None when it can."""
        return None if peer.registry == "none" else self.missing.get(peer.package)

    def words(self) -> dict[str, str]:
        """What stands for the names in a command, but for its port and files."""
        return {
            "python": str(self.python),
            "scripts": str(self.python.parent) if self.python else "",
            "own_python": sys.executable,
            "node": str(self.node),
            "modules": str(self.folder / "npm" / "node_modules"),
            "servers": str(Path(__file__).parent / "servers"),
        }


def cache_folder() -> Path:
    """``QFKIT_BENCH_CACHE``, or ``qfkit-bench`` in the user's cache."""
    if given := os.environ.get("QFKIT_BENCH_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qfkit-bench"


def install(names: Sequence[str], *, allowed: bool, say: Any) -> Installed:
    """Get the packages of the named peers, each by its name from its own registry; what is there is kept.

    Args:
        names: of `PEERS`.
        allowed: False uses only what an earlier run has got.
        say: told what is under way.
    """
    wanted = {peer.package: peer.registry for peer in PEERS if peer.name in names and peer.registry != "none"}
    here = Installed(cache_folder())
    here.folder.mkdir(parents=True, exist_ok=True)
    for registry, get in (("pypi", _from_pypi), ("npm", _from_npm)):
        packages = sorted(name for name, where in wanted.items() if where == registry)
        if packages:
            get(here, packages, allowed, say)
    return here


def _from_pypi(here: Installed, packages: list[str], allowed: bool, say: Any) -> None:
    root = here.folder / "python"
    python = root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists() and allowed:
        say("making an environment for the peers")
        venv.create(root, with_pip=True)
    here.python = python
    found = _python_versions(root)
    lacking = [name for name in packages if name not in found]
    for name in lacking if allowed and python.exists() else ():
        say(f"installing {name}")
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name])
    found = _python_versions(root)
    _note(here, packages, found, "pip could not install it" if allowed else "not installed, and --no-install was given")


def _python_versions(root: Path) -> dict[str, str]:
    places = [str(path) for path in root.glob("lib/python*/site-packages")] + [str(root / "Lib" / "site-packages")]
    return {dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in distributions(path=places)}


def _from_npm(here: Installed, packages: list[str], allowed: bool, say: Any) -> None:
    here.node = shutil.which("node")
    if here.node is None:
        here.missing |= dict.fromkeys(packages, "node is not installed")
        return
    root = here.folder / "npm"
    root.mkdir(exist_ok=True)
    lacking = [name for name in packages if _npm_version(root, name) is None]
    npm = shutil.which("npm")
    for name in lacking if allowed and npm else ():
        say(f"installing {name}")
        # No package's own scripts are run: none of the peers needs one to work.
        _run([str(npm), "install", "--prefix", str(root), "--no-audit", "--no-fund", "--ignore-scripts", name])
    found = {name: version for name in packages if (version := _npm_version(root, name))}
    _note(here, packages, found, "npm could not install it" if allowed else "not installed, and --no-install was given")


def _npm_version(root: Path, name: str) -> str | None:
    manifest = root / "node_modules" / name / "package.json"
    return str(json.loads(manifest.read_text("utf-8"))["version"]) if manifest.exists() else None


def _note(here: Installed, packages: list[str], found: dict[str, str], why: str) -> None:
    for name in packages:
        if name in found:
            here.versions[name] = found[name]
        else:
            here.missing[name] = why


def _run(command: list[str]) -> None:
    # What it says is not shown: it may name a registry. Whether it worked is seen by what is there afterwards.
    try:
        subprocess.run(command, capture_output=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        return
