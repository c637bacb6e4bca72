"""Sub-interpreters: the compiled parts refuse to be imported there, and nothing crashes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

MODULES = {
    "kafka_throttle._gates._gate": "kafka_throttle's compiled gate cannot be used in a sub-interpreter",
    "kafka_throttle._adapters._acks": "kafka_throttle's interceptor cannot be used in a sub-interpreter",
}
SCRIPT = """
import importlib
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import kafka_throttle

producer = kafka_throttle.Producer({{"test.mock.num.brokers": 1, "log_level": 0}})
producer.produce("topic", b"v")
code = '''
import importlib.util
spec = importlib.util.spec_from_file_location({name!r}, {path!r})
try:
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print("imported")
except ImportError as error:
    print(error)
'''
inner = interpreters.create()
interpreters.run_string(inner, code)
interpreters.destroy(inner)
print(producer.flush(30), producer.statistics().delivered)
"""


@pytest.mark.compiled
@pytest.mark.parametrize("name", MODULES)
def test_a_compiled_part_refuses_a_sub_interpreter(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", SCRIPT.format(name=name, path=spec.origin)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    refusal, rest = ended.stdout.splitlines()
    # From 3.12 on the interpreter itself refuses, in its own words.
    assert refusal in {MODULES[name], f"module {name} does not support loading in subinterpreters"}
    assert (ended.returncode, rest) == (0, "0 1")
