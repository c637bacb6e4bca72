"""Settings are given as numbers or text and read back as numbers; only type-checked, never run."""

from __future__ import annotations

from typing_extensions import assert_type

from kafka_throttle._core.limits import AIMD
from kafka_throttle._throttle import Rule, Throttle
from kafka_throttle.config import from_environ, load, resolve, split_client_config
from kafka_throttle.policies import Block, Policy, Reject

assert_type(Block("5 s").timeout, float)
assert_type(Block(timeout=5).timeout, float)
assert_type(AIMD(start_bytes="2 MB", max_bytes=None).max_bytes, int | None)
assert_type(Rule("audit.*", Reject()).topics, tuple[str, ...])
assert_type(Rule(["a", "b"], Block()).policy, Policy)

throttle = Throttle(rules=[Rule("*", Block())], limit=AIMD(), burst="64 MiB", hooks=[print], enabled=True)
assert_type(throttle.burst, int)
assert_type(throttle.rules, tuple[Rule, ...])
assert_type(throttle.rule_for("a"), Rule)
assert_type(throttle.evolve(enabled=False), Throttle)

assert_type(load("throttle.toml"), Throttle)
assert_type(load({"burst": "64 MiB"}), Throttle)
assert_type(from_environ(), Throttle | None)
assert_type(split_client_config({"acks": "all"})[1], Throttle | None)
assert_type(resolve(None, {"acks": "all"})[1], Throttle)

Block(timeout=[])  # type: ignore[arg-type]
Block(timeuot=5)  # type: ignore[call-arg]
Rule("a", "reject")  # type: ignore[arg-type]
Throttle(limit=Block())  # type: ignore[arg-type]
throttle.enabled = False  # type: ignore[misc]
