"""One Kafka node: its directory, its configuration, its process."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from kafka_throttle.brokers._errors import BrokerUnavailable
from kafka_throttle.brokers._process import ChildProcess
from kafka_throttle.brokers._properties import format_properties

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Java", "KafkaNode"]

_FORMAT_TIMEOUT = 60.0
_LOG_TAIL_LINES = 40


@frozen
class Java:
    """How to run a class of Kafka's."""

    executable: str
    class_path: str
    log_level: str

    def command(self, options: Sequence[str], main: str, arguments: Sequence[str]) -> list[str]:
        """The command line that runs a class, logging to its standard error."""
        logging = [
            f"-Dorg.slf4j.simpleLogger.defaultLogLevel={self.log_level}",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
        ]
        return [self.executable, *options, *logging, "-cp", self.class_path, main, *arguments]


@define
class KafkaNode:
    """One node, which may be started again after it was killed.

    Attributes:
        number: Its node id.
        directory: Everything it writes is in here.
        cluster: The directory of the whole cluster, removed should this process die.
        java: How to run it.
        heap: The most memory that Java objects take, in Java's notation.
        process: The running broker, or None before the first start.
    """

    number: int
    directory: Path
    cluster: Path
    java: Java
    heap: str
    process: ChildProcess | None = field(default=None, init=False)

    @property
    def log_file(self) -> Path:
        """What the broker, and the tool that formatted its storage, wrote."""
        return self.directory / "broker.log"

    @property
    def _properties_file(self) -> Path:
        return self.directory / "server.properties"

    def configure(self, properties: Mapping[str, str]) -> None:
        """Writes the configuration."""
        self.directory.mkdir(exist_ok=True)
        self._properties_file.write_text(format_properties(properties), "utf-8")

    def begin_format(self, cluster_id: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Starts to prepare the storage; the caller passes the result to finish_format()."""
        # One word, because an id may begin with a dash.
        tool = ["format", f"--cluster-id={cluster_id}", "--config", str(self._properties_file), *arguments]
        # Short-lived: the optimising compiler would cost more than it saves.
        options = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own command
                self.java.command(options, "kafka.tools.StorageTool", tool),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish_format(self, formatting: subprocess.Popen[bytes]) -> None:
        """Waits for the storage to be prepared.

        Args:
            formatting: What begin_format() returned.

        Raises:
            BrokerUnavailable: The tool failed; the message ends with what it said.
        """
        try:
            code = formatting.wait(_FORMAT_TIMEOUT)
        except subprocess.TimeoutExpired:
            formatting.kill()
            code = formatting.wait()
        if code:
            raise BrokerUnavailable(self.describe(f"the storage of node {self.number} cannot be formatted"))

    def start(self) -> None:
        """Starts the broker, without waiting until it answers."""
        options = [f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
        self.process = ChildProcess(
            self.java.command(options, "kafka.Kafka", [str(self._properties_file)]),
            output=self.log_file,
            directory=self.directory,
            remove=self.cluster,
        )

    def log_text(self) -> str:
        """The whole log."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def describe(self, problem: str) -> str:
        """A problem together with the end of the log."""
        tail = self.log_text().splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join([f"{problem}; its log ends:", *(f"    {line}" for line in tail or ["(empty)"])])
