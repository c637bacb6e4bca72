"""The four doors: that they mean the same, what wins, and how they say what is wrong."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kafka_throttle._core.limits import AIMD, Fixed
from kafka_throttle._core.signals import DEFAULT_SIGNALS, BufferFill, StandingDelay
from kafka_throttle._throttle import Rule, Throttle
from kafka_throttle.config import from_environ, load, resolve, split_client_config
from kafka_throttle.exceptions import ConfigurationError
from kafka_throttle.policies import Block, Reject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLAGS = "true/false, 1/0, yes/no, on/off"
SIZE = (
    "a size such as 1024, '5 MB' or '10 GiB' (units: B, kB, MB, GB, TB = powers of 1000; "
    "KiB, MiB, GiB, TiB = powers of 1024)"
)
DURATION = "a duration such as 5, '250 ms' or '2 min' (units: us, ms, s, min, h, d)"
SIGNALS = "standing_delay, buffer_fill, record_error_rate, request_imbalance, broker_throttle"

FULL = {
    "rules": [
        {"topics": "audit.*", "policy": "reject"},
        {"topics": ["a.*", "b"], "policy": {"type": "block", "timeout": "5 s"}},
    ],
    "limit": {"type": "aimd", "backoff_ratio": 0.7, "max_bytes": "10 MB"},
    "signals": ["buffer_fill", {"type": "standing_delay", "target": "50 ms"}],
    "burst": "64 MiB",
    "enabled": "yes",
}
FULL_OBJECT = Throttle(
    rules=[Rule("audit.*", Reject()), Rule(["a.*", "b"], Block(5))],
    limit=AIMD(backoff_ratio=0.7, max_bytes=10_000_000),
    signals=[BufferFill(), StandingDelay(target=0.05)],
    burst=64 * 2**20,
)


def toml(value: Any) -> str:
    """Write a value as TOML does inside a line; apart from mappings that is JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def through_mapping(config: dict[str, Any], _: Path) -> Throttle:
    return load(config)


def through_file(config: dict[str, Any], directory: Path) -> Throttle:
    file = directory / "throttle.toml"
    file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in config.items()), encoding="utf-8")
    return load(file)


def through_flat_client_config(config: dict[str, Any], _: Path) -> Throttle:
    flat: dict[str, Any] = {"acks": "all"}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update({f"throttle.{key}.{name}": item for name, item in value.items()})
        else:
            flat[f"throttle.{key}"] = value
    return split_client_config(flat)[1] or Throttle()


def through_nested_client_config(config: dict[str, Any], _: Path) -> Throttle:
    return split_client_config({"acks": "all", "throttle": config})[1] or Throttle()


def through_text_in_client_config(config: dict[str, Any], _: Path) -> Throttle:
    return split_client_config({"throttle": json.dumps(config)})[1] or Throttle()


def through_environment(write: Callable[[Any], str]) -> Callable[[dict[str, Any], Path], Throttle]:
    def through(config: dict[str, Any], _: Path) -> Throttle:
        environ: dict[str, str] = {}
        for key, value in config.items():
            if isinstance(value, dict):
                for name, item in value.items():
                    environ[f"KAFKA_THROTTLE_{key}__{name}".upper()] = str(item)
            else:
                environ[f"KAFKA_THROTTLE_{key}".upper()] = (
                    write(value) if isinstance(value, list) else str(value)
                )
        return from_environ(environ) or Throttle()

    return through


DOORS = pytest.mark.parametrize(
    "through",
    [
        through_mapping,
        through_file,
        through_flat_client_config,
        through_nested_client_config,
        through_text_in_client_config,
        pytest.param(through_environment(json.dumps), id="through_environment_as_json"),
        pytest.param(through_environment(toml), id="through_environment_as_toml"),
    ],
)


def problems(call: Callable[..., object], *args: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        call(*args)
    return caught.value.problems


def malformed(name: str, text: str) -> str:
    """Return what is said of text that is neither JSON nor TOML; the parsers' own words differ between versions."""
    toml_parser = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    with pytest.raises(ValueError) as in_json:  # noqa: PT011 (its text is what is wanted)
        json.loads(text)
    with pytest.raises(ValueError) as in_toml:  # noqa: PT011
        toml_parser.loads(f"value = {text}")
    return f"{name}: is neither JSON ({in_json.value}) nor a TOML value ({in_toml.value})"


def resolved(explicit: Throttle | None, conf: dict[str, Any], environ: dict[str, str]) -> Throttle:
    return resolve(explicit, conf, environ)[1]


@DOORS
def test_every_door_means_the_same_as_objects(through: Any, tmp_path: Path) -> None:
    assert through(FULL, tmp_path) == FULL_OBJECT


LIMITS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("aimd")},
        optional={
            "backoff_ratio": st.floats(0.01, 0.99),
            "start_bytes": st.sampled_from(["64 KiB", "1 MB", 2_000_000]),
            "idle": st.sampled_from(["500 ms", 3, "2 min"]),
        },
    ),
    st.fixed_dictionaries({"type": st.just("fixed"), "records": st.integers(1, 10**6)}),
)
POLICIES = st.one_of(
    st.sampled_from(["block", "reject"]),
    st.fixed_dictionaries({"type": st.just("block"), "timeout": st.sampled_from([0, 1.5, "5 s", "forever"])}),
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "limit": LIMITS,
        "burst": st.integers(0, 2**40) | st.sampled_from(["5 MB", "1 GiB"]),
        "enabled": st.booleans(),
        "signals": st.lists(st.sampled_from(["buffer_fill", "standing_delay"]), max_size=2),
        "rules": st.lists(
            st.fixed_dictionaries({"topics": st.sampled_from("abcdefgh"), "policy": POLICIES}),
            unique_by=lambda rule: rule["topics"],
            max_size=4,
        ),
    },
)


@DOORS
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(config=CONFIGS)
def test_any_configuration_is_the_same_through_every_door(through: Any, config: Any, tmp_path: Path) -> None:
    expected = load(config)
    if config.get("enabled") is False and through.__name__ == "through":
        expected = Throttle(enabled=False)  # the operator's switch: nothing else is read

    assert expected == through(config, tmp_path)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["rules", "limit", "signals", "burst", "hooks", "enabled", "type"]) | st.text(
    max_size=5
)
SEMI_JUNK = st.dictionaries(
    KEYS,
    JUNK
    | st.dictionaries(st.sampled_from(["type", "records", "backoff_ratio"]), JUNK | st.just("fixed"))
    | st.lists(
        st.dictionaries(st.sampled_from(["topics", "policy", "x"]), JUNK | st.just("block")), max_size=2
    ),
    max_size=4,
)


@settings(deadline=None)
@given(SEMI_JUNK)
def test_any_mapping_loads_or_is_refused_in_words(mapping: dict[str, Any]) -> None:
    with suppress(ConfigurationError):
        assert isinstance(load(mapping), Throttle)


@settings(deadline=None)
@given(SEMI_JUNK)
def test_any_client_config_loads_or_is_refused_in_words(mapping: dict[str, Any]) -> None:
    conf = {f"throttle.{key}": value for key, value in mapping.items() if key != "file"}
    with suppress(ConfigurationError):
        assert (split_client_config(conf)[0], isinstance(resolved(None, conf, {}), Throttle)) == ({}, True)


@settings(deadline=None)
@given(st.dictionaries(KEYS.map(str.upper), st.text(max_size=8), max_size=4))
def test_any_environment_loads_or_is_refused_in_words(variables: dict[str, str]) -> None:
    environ = {f"KAFKA_THROTTLE_{key}": value for key, value in variables.items()}
    with suppress(ConfigurationError):
        assert isinstance(from_environ(environ), (Throttle, type(None)))


# What is wrong, in the spelling of each door


def test_everything_wrong_with_a_mapping_is_told_at_once() -> None:
    assert problems(
        load,
        {
            "burts": 3,
            5: 3,
            "rules": [
                {"topics": "a", "policy": "rejct"},
                {"topic": "b", "policy": {"type": "block", "timeout": "5 x"}},
                5,
                "x",
                {"topics": [], "policy": {"timeout": 5}},
                {"topics": "c", "policy": {"type": "block", "timeout": -1}},
            ],
            "limit": {"backof_ratio": 0.7, "backoff_ratio": 1.7},
            "signals": ["a", 5],
            "burst": {"size": 3},
            "hooks": ["print"],
            "enabled": "maybe",
        },
    ) == (
        "burts: unknown key; did you mean burst?",
        "5: unknown key; known keys: burst, enabled, honour_broker_quota, hooks, limit, rules, signals",
        "rules[0].policy: 'rejct' is not a policy; allowed: block, reject, drop_newest, drop_oldest, sample, spill, dead_letter",
        "rules[1].topic: unknown key; did you mean rules[1].topics?",
        "rules[1].topics: is missing; allowed: a topic name or glob, or a list of them",
        f"rules[1].policy.timeout: '5 x' is not {DURATION}; allowed: at least 0 s, or 'forever'",
        (
            "rules[2]: 5 is not a rule; allowed: a mapping of topics, policy, criticality, "
            "on_failure, loss_approved_by"
        ),
        (
            "rules[3]: 'x' is not a rule; allowed: a mapping of topics, policy, criticality, "
            "on_failure, loss_approved_by"
        ),
        "rules[4].topics: [] is empty; allowed: a topic name or glob, or a list of them",
        "rules[4].policy.type: is missing; allowed: block, reject, drop_newest, drop_oldest, sample, spill, dead_letter",
        "rules[5].policy.timeout: -1 is out of range; allowed: at least 0 s, or 'forever'",
        "limit.backof_ratio: unknown key; did you mean limit.backoff_ratio?",
        "limit.backoff_ratio: 1.7 is out of range; allowed: above 0, below 1",
        f"signals[0]: 'a' is not a signal; allowed: {SIGNALS}",
        f"signals[1]: 5 is not the name of a signal; allowed: {SIGNALS}",
        f"burst: {{'size': 3}} is not {SIZE}; allowed: at least 0 B",
        "hooks[0]: 'print' is not callable; allowed: callables that take one event",
        f"enabled: 'maybe' is neither true nor false; allowed: {FLAGS}",
    )


def test_a_setting_of_another_type_is_an_unknown_key() -> None:
    assert problems(load, {"limit": {"type": "fixed", "backoff_ratio": 0.7}}) == (
        "limit.backoff_ratio: unknown key; known keys: records",
    )


def test_contradictions_between_settings_carry_the_path_of_the_mapping() -> None:
    assert problems(load, {"limit": {"start_bytes": 2000, "max_bytes": 1024}}) == (
        "limit.max_bytes: 1024 is below start_bytes (2000); allowed: from start_bytes up",
    )
    assert problems(
        load, {"rules": [{"topics": "*", "policy": "block"}, {"topics": "a", "policy": "block"}]}
    ) == (
        "rules[1].topics: 'a' can never be reached, rules[0] (*) takes all of it; allowed: the narrower rule first",
    )


def test_objects_may_stand_in_a_mapping() -> None:
    assert load({"limit": Fixed(5), "rules": [Rule("a", Reject())], "signals": DEFAULT_SIGNALS}) == Throttle(
        rules=[Rule("a", Reject())], limit=Fixed(5)
    )


def test_problems_in_a_file_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "throttle.toml"
    file.write_text('burst = "5 x"\n[limit]\nbackof_ratio = 0.5\n')

    assert problems(load, str(file)) == (
        f"{file}: limit.backof_ratio: unknown key; did you mean limit.backoff_ratio?",
        f"{file}: burst: '5 x' is not {SIZE}; allowed: at least 0 B",
    )


def test_a_missing_file_is_told_with_its_path(tmp_path: Path) -> None:
    assert problems(load, tmp_path / "none.toml") == (
        f"{tmp_path}/none.toml: cannot be read: No such file or directory",
    )


def test_a_malformed_file_is_told_with_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "throttle.toml"
    file.write_text("burst = 5\nlimit = [\n")

    (problem,) = problems(load, file)

    assert problem.startswith(f"{file}: is not TOML: ")
    assert "(at end of document)" in problem

    file.write_text("burst = 5\nlimit == 3\n")
    assert problems(load, file) == (f"{file}: is not TOML: Invalid value (at line 2, column 8)",)


def test_a_file_that_is_no_text_is_told_with_its_path(tmp_path: Path) -> None:
    file = tmp_path / "throttle.toml"
    file.write_bytes(b"\xff\xfe")

    (problem,) = problems(load, file)

    assert problem.startswith(f"{file}: is not TOML: 'utf-8' codec can't decode byte 0xff")


@pytest.mark.parametrize("source", [5, None, [], b"throttle.toml"])
def test_what_is_neither_mapping_nor_path_is_a_type_error(source: Any) -> None:
    with pytest.raises(TypeError) as caught:
        load(source)

    assert str(caught.value) == f"load() takes a mapping or the path of a TOML file, not {source!r}"


def test_everything_wrong_in_the_environment_is_told_at_once() -> None:
    assert problems(
        from_environ,
        {
            "KAFKA_THROTTLE_BURTS": "3",
            "KAFKA_THROTTLE_CONFG": "x.toml",
            "KAFKA_THROTTLE_LIMIT__BACKOFF_RATIO": "1.7",
            "KAFKA_THROTTLE_LIMIT__BACKOF_RATIO": "0.7",
            "KAFKA_THROTTLE_RULES": "[{topics = 'a', policy = 'blok'}]",
            "KAFKA_THROTTLE_BURST__SIZE": "3",
            "KAFKA_THROTTLE_CONFIG": "/none.toml",
            "KAFKA_THROTTLE_SIGNALS": "[1,",
        },
    ) == (
        malformed("KAFKA_THROTTLE_SIGNALS", "[1,"),
        "/none.toml: cannot be read: No such file or directory",
        "KAFKA_THROTTLE_BURTS: unknown key; did you mean KAFKA_THROTTLE_BURST?",
        "KAFKA_THROTTLE_CONFG: unknown key; did you mean KAFKA_THROTTLE_CONFIG?",
        "KAFKA_THROTTLE_RULES[0].policy: 'blok' is not a policy; allowed: block, reject, drop_newest, drop_oldest, sample, spill, dead_letter",
        "KAFKA_THROTTLE_LIMIT__BACKOF_RATIO: unknown key; did you mean KAFKA_THROTTLE_LIMIT__BACKOFF_RATIO?",
        "KAFKA_THROTTLE_LIMIT__BACKOFF_RATIO: '1.7' is out of range; allowed: above 0, below 1",
        "KAFKA_THROTTLE_BURST__SIZE: unknown key; KAFKA_THROTTLE_BURST has no keys below it",
    )


def test_contradictions_in_the_environment_name_the_variable() -> None:
    assert problems(from_environ, {"KAFKA_THROTTLE_LIMIT__MAX_BYTES": "2 KiB"}) == (
        "KAFKA_THROTTLE_LIMIT__MAX_BYTES: 2048 is below start_bytes (512000); allowed: from start_bytes up",
    )


def test_variables_that_are_no_configuration_and_empty_ones_are_left_alone() -> None:
    environ = {
        "KAFKA_THROTTLE_PURE": "1",
        "KAFKA_THROTTLE_BOOTSTRAP": "localhost:9092",
        "KAFKA_THROTTLE_BURST": "",
        "KAFKA_THROTTLE_ENABLED": "",
        "OTHER": "x",
    }

    assert from_environ(environ) is None


def test_everything_wrong_in_the_client_config_is_told_at_once() -> None:
    assert problems(
        split_client_config,
        {
            "throttle.burst": "5 x",
            "throttle.limit.backoff_ratio": 1.7,
            "throttle.limit": {"incraese": 0.1},
            "throttle.fil": "x.toml",
            "throttle.file": 5,
            "throttle.rules": "[{]",
            "throttle.signals.x": 5,
            "throttle.": 1,
        },
    ) == (
        malformed("throttle.rules", "[{]"),
        "throttle.file: 5 is not the path of a TOML file",
        "throttle.fil: unknown key; did you mean throttle.file?",
        "throttle.: unknown key; known keys: burst, enabled, file, honour_broker_quota, hooks, limit, rules, signals",
        "throttle.limit.incraese: unknown key; did you mean throttle.limit.increase?",
        "throttle.limit.backoff_ratio: 1.7 is out of range; allowed: above 0, below 1",
        "throttle.signals.x: unknown key; throttle.signals has no keys below it",
        f"throttle.burst: '5 x' is not {SIZE}; allowed: at least 0 B",
    )


def test_the_throttle_in_a_client_config_is_a_mapping_or_an_object() -> None:
    assert problems(split_client_config, {"throttle": 5, "throttle.burts": 1}) == (
        "throttle: 5 is neither a mapping nor a Throttle",
        "throttle.burts: unknown key; did you mean throttle.burst?",
    )


def test_settings_below_an_object_in_a_client_config_are_refused() -> None:
    assert problems(split_client_config, {"throttle.limit": Fixed(5), "throttle.limit.records": 6}) == (
        "throttle.limit: Fixed(records=5) is not the name of a limit; allowed: aimd, fixed",
    )


def test_settings_beside_a_throttle_object_are_refused() -> None:
    assert problems(
        split_client_config, {"throttle": Throttle(), "throttle.burst": 3, "throttle.enabled": 0}
    ) == (
        "throttle.burst: stands beside a Throttle object in 'throttle'; allowed: one of the two",
        "throttle.enabled: stands beside a Throttle object in 'throttle'; allowed: one of the two",
    )


def test_a_throttle_argument_that_is_none_is_refused() -> None:
    assert problems(resolve, {"burst": 5}, {}, {}) == (
        "throttle: {'burst': 5} is not a Throttle; allowed: a Throttle or None",
    )


# What wins


def test_the_client_gets_its_part_and_the_callers_dict_stays_as_it_was() -> None:
    conf = {"acks": "all", "throttle.burst": "5 MB", "throttle": {"enabled": False}, "error_cb": print}
    before = {key: value.copy() if isinstance(value, dict) else value for key, value in conf.items()}

    assert split_client_config(conf) == (
        {"acks": "all", "error_cb": print},
        Throttle(burst=5_000_000, enabled=False),
    )
    assert conf == before


def test_a_client_config_without_settings_has_no_throttle() -> None:
    assert split_client_config({"acks": "all", "throttle": None}) == ({"acks": "all"}, None)


def test_a_throttle_object_may_stand_in_the_client_config() -> None:
    assert split_client_config({"throttle": FULL_OBJECT}) == ({}, FULL_OBJECT)


def test_nothing_given_means_the_defaults() -> None:
    assert resolve(None, {"acks": 1}, {}) == ({"acks": 1}, Throttle())


def test_an_object_wins_over_everything() -> None:
    explicit = Throttle(burst=1)

    assert resolved(explicit, {"throttle.burst": 2}, {"KAFKA_THROTTLE_BURST": "3"}) is explicit
    assert resolved(None, {"throttle": explicit}, {"KAFKA_THROTTLE_BURST": "3"}) is explicit


def test_the_client_config_wins_over_the_environment_setting_by_setting() -> None:
    environ = {"KAFKA_THROTTLE_LIMIT__BACKOFF_RATIO": "0.5", "KAFKA_THROTTLE_LIMIT__INCREASE": "0.1"}

    assert resolved(None, {"throttle.limit.increase": 0.2}, environ) == Throttle(
        limit=AIMD(backoff_ratio=0.5, increase=0.2)
    )


def test_a_mapping_that_names_its_type_replaces_the_lower_one() -> None:
    environ = {"KAFKA_THROTTLE_LIMIT__BACKOFF_RATIO": "0.5"}

    assert resolved(None, {"throttle.limit": {"type": "fixed", "records": 5}}, environ) == Throttle(
        limit=Fixed(5)
    )
    assert resolved(None, {"throttle.limit": "aimd"}, environ) == Throttle(limit=AIMD())


def test_settings_complete_the_type_that_a_lower_door_named() -> None:
    assert resolved(None, {"throttle.limit.records": 5}, {"KAFKA_THROTTLE_LIMIT": "fixed"}) == Throttle(
        limit=Fixed(5)
    )


def test_lists_are_replaced_whole() -> None:
    environ = {"KAFKA_THROTTLE_RULES": '[{"topics": "a", "policy": "reject"}]'}

    assert resolved(None, {"throttle.rules": []}, environ) == Throttle(rules=[])


@pytest.mark.parametrize(
    ("expected", "door"),
    [
        (
            Throttle(burst=2, enabled=False),
            lambda file: split_client_config({"throttle.file": file, "throttle.burst": 2})[1],
        ),
        (
            Throttle(burst=2, enabled=False),
            lambda file: from_environ({"KAFKA_THROTTLE_CONFIG": str(file), "KAFKA_THROTTLE_BURST": "2"}),
        ),
        (
            Throttle(burst=1, enabled=False),
            lambda file: resolved(None, {"throttle.file": file}, {"KAFKA_THROTTLE_BURST": "2"}),
        ),
    ],
)
def test_a_file_lies_below_the_settings_of_the_door_that_names_it(
    expected: Throttle, door: Callable[[Path], Throttle], tmp_path: Path
) -> None:
    file = tmp_path / "throttle.toml"
    file.write_text("burst = 1\nenabled = false\n")

    assert expected == door(file)


def test_the_longer_key_of_a_client_config_wins() -> None:
    conf = {
        "throttle.limit.increase": 0.3,
        "throttle": {"limit": {"increase": 0.1}},
        "throttle.limit": {"increase": 0.2},
    }

    assert split_client_config(conf)[1] == Throttle(limit=AIMD(increase=0.3))


@pytest.mark.parametrize("off", ["0", "false", "No", "off"])
def test_the_operators_switch_wins_over_everything_and_nothing_else_is_read(off: str) -> None:
    environ = {
        "KAFKA_THROTTLE_ENABLED": off,
        "KAFKA_THROTTLE_CONFIG": "/none.toml",
        "KAFKA_THROTTLE_BURTS": "x",
    }

    assert resolved(FULL_OBJECT, {}, environ) == FULL_OBJECT.evolve(enabled=False)
    assert resolve(None, {"acks": 1, "throttle.burts": 5}, environ) == ({"acks": 1}, Throttle(enabled=False))
    assert from_environ(environ) == Throttle(enabled=False)


def test_the_operators_switch_does_not_switch_on_what_the_application_switched_off() -> None:
    assert not resolved(None, {"throttle.enabled": False}, {"KAFKA_THROTTLE_ENABLED": "1"}).enabled
    assert not resolved(Throttle(enabled=False), {}, {"KAFKA_THROTTLE_ENABLED": "1"}).enabled


def test_a_switch_that_is_neither_on_nor_off_is_told() -> None:
    assert problems(resolve, Throttle(), {}, {"KAFKA_THROTTLE_ENABLED": "maybe"}) == (
        f"KAFKA_THROTTLE_ENABLED: 'maybe' is neither true nor false; allowed: {FLAGS}",
    )
