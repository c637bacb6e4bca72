"""Everything a contributor runs: `nox -s demo`, `nox -s tests`, `nox -l` for the rest."""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "typing", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


def _install(session: nox.Session, *extras: str, groups: tuple[str, ...] = ()) -> None:
    """Install the project (editable, so that tests see the tree) with extras and dependency groups."""
    dependencies = nox.project.dependency_groups(PROJECT, *groups) if groups else ()
    wanted = f".[{','.join(extras)}]" if extras else "."
    session.install("-e", wanted, *dependencies)


@nox.session
def demo(session: nox.Session) -> None:
    """Show the bare client and kafka_throttle side by side on a real, overloaded Kafka."""
    _install(session, "demo")
    # After Ctrl-C the demo ends the broker and shows what it has so far.
    session.run("kafka-throttle", "demo", *session.posargs, interrupt_timeout=15, terminate_timeout=5)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests: unit, contract and model on both gates, then integration on real Kafka, and the docs."""
    _install(session, "demo", groups=("test", "bench", "examples"))
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    fast = ("tests/unit", "tests/contract", "tests/model")
    session.run("pytest", *fast)
    session.log("the same on the pure-Python gate")
    session.run("pytest", *fast, env={"KAFKA_THROTTLE_PURE": "1"})
    session.run("pytest", "tests/integration", "tests/docs")


@nox.session(name="tests-on", python=PYTHONS)
def tests_on(session: nox.Session) -> None:
    """Run the tests that need no broker on each supported Python."""
    _install(session, "demo", groups=("test", "bench"))
    session.run("pytest", "tests/unit", "tests/contract", "tests/model", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types with two checkers."""
    _install(session, "demo", groups=("typing", "test", "bench", "examples"))
    session.run("mypy")
    session.run("pyright")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against the bare client on real Kafka; arguments go to `python -m benchmarks`."""
    _install(session, "local", groups=("bench",))
    session.run("python", "-m", "benchmarks", *(session.posargs or ["run", "all"]))


@nox.session(name="bench-asyncio")
def bench_asyncio(session: nox.Session) -> None:
    """Measure the asyncio facades against the bare clients on real Kafka; arguments are its parts."""
    _install(session, "local", "aiokafka", groups=("bench",))
    session.run("python", "-m", "benchmarks.asyncio_clients", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings as errors."""
    _install(session, "aiokafka", groups=("docs",))
    session.run(
        "sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs
    )
    session.log("open docs/_build/html/index.html")
