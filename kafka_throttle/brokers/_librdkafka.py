"""The mock cluster of the librdkafka that confluent-kafka brings along, through ctypes."""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path
from typing import Any

import confluent_kafka

from kafka_throttle.brokers._errors import BrokerUnavailable

__all__ = ["MockClusterHandle"]

_PRODUCER = 0
_ERROR_TEXT_SIZE = 512
_PRODUCE = 0
# With version 10, a Produce request to a partition without a leader crashes the whole process.
_SAFE_PRODUCE_VERSION = 9

_HANDLE = ctypes.c_void_p
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (_HANDLE, []),
    "rd_kafka_conf_set": (
        ctypes.c_int,
        [_HANDLE, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t],
    ),
    "rd_kafka_new": (_HANDLE, [ctypes.c_int, _HANDLE, ctypes.c_char_p, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [_HANDLE]),
    "rd_kafka_err2str": (ctypes.c_char_p, [ctypes.c_int]),
    "rd_kafka_mock_cluster_new": (_HANDLE, [_HANDLE, ctypes.c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [_HANDLE]),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [_HANDLE]),
    "rd_kafka_mock_set_apiversion": (ctypes.c_int, [_HANDLE, ctypes.c_int16, ctypes.c_int16, ctypes.c_int16]),
    "rd_kafka_mock_topic_create": (ctypes.c_int, [_HANDLE, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    "rd_kafka_mock_topic_set_error": (None, [_HANDLE, ctypes.c_char_p, ctypes.c_int]),
    "rd_kafka_mock_partition_set_leader": (
        ctypes.c_int,
        [_HANDLE, ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32],
    ),
    "rd_kafka_mock_broker_set_down": (ctypes.c_int, [_HANDLE, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_up": (ctypes.c_int, [_HANDLE, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_rtt": (ctypes.c_int, [_HANDLE, ctypes.c_int32, ctypes.c_int]),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [_HANDLE, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
    ),
    "rd_kafka_mock_clear_request_errors": (None, [_HANDLE, ctypes.c_int16]),
}


def find_library() -> str:
    """The shared library to use; any will do, since clients reach the mock cluster over TCP.

    Returns:
        What ctypes can load.

    Raises:
        BrokerUnavailable: There is none.
    """
    package = Path(confluent_kafka.__file__).parent
    # Where the tools put it that make wheels for Linux and for macOS.
    for directory in (package.with_name("confluent_kafka.libs"), package / ".dylibs"):
        for library in sorted(directory.glob("librdkafka*")):
            return str(library)
    installed = ctypes.util.find_library("rdkafka")
    if installed is None:
        raise BrokerUnavailable(
            f"no mock cluster: there is no librdkafka beside {package}, as in confluent-kafka's own wheels, "
            "and none is installed in the system"
        )
    return installed


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(find_library())
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise BrokerUnavailable(
                f"no mock cluster: librdkafka {confluent_kafka.libversion()[0]} has no {name}"
            ) from error
        function.restype, function.argtypes = result, arguments
    return library


class MockClusterHandle:
    """A mock cluster and the client handle that librdkafka wants it to belong to.

    Args:
        brokers: How many; librdkafka numbers them from 1.
    """

    def __init__(self, brokers: int) -> None:
        self._library = _load()
        text = ctypes.create_string_buffer(_ERROR_TEXT_SIZE)
        conf = self._library.rd_kafka_conf_new()
        # The owning handle never connects; what it would log is about that.
        self._library.rd_kafka_conf_set(conf, b"log_level", b"0", text, _ERROR_TEXT_SIZE)
        self._client = self._library.rd_kafka_new(_PRODUCER, conf, text, _ERROR_TEXT_SIZE)
        if not self._client:
            raise BrokerUnavailable(f"no mock cluster: {text.value.decode()}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, brokers)
        if not self._cluster:
            self._library.rd_kafka_destroy(self._client)
            raise BrokerUnavailable(f"librdkafka makes no mock cluster of {brokers} brokers")
        self.call("set_apiversion", _PRODUCE, 0, _SAFE_PRODUCE_VERSION)

    @property
    def bootstrap(self) -> str:
        """The addresses of the brokers."""
        addresses: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return addresses.decode()

    def call(self, name: str, *arguments: int | bytes) -> None:
        """Calls one of librdkafka's ``rd_kafka_mock_*`` functions on the cluster.

        Args:
            name: The function's name without that prefix.
            *arguments: What follows the cluster.

        Raises:
            BrokerUnavailable: librdkafka refuses.
        """
        error = getattr(self._library, f"rd_kafka_mock_{name}")(self._cluster, *arguments)
        if error:
            reason: bytes = self._library.rd_kafka_err2str(error)
            raise BrokerUnavailable(f"the mock cluster refuses {name}{arguments}: {reason.decode()}")

    def push_request_errors(self, api_key: int, codes: list[int]) -> None:
        """Lets the next requests of a kind fail, one for each code; 0 is a success."""
        array = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api_key, len(codes), array)

    def destroy(self) -> None:
        """Ends the cluster; the handle must not be used afterwards."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)
