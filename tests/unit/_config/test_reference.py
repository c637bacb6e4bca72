"""The generated reference of all settings."""

from __future__ import annotations

import attrs

from kafka_throttle._config.reference import Setting, settings
from kafka_throttle._core.limits import LIMITS
from kafka_throttle._core.signals import SIGNALS
from kafka_throttle._fields import kind_of
from kafka_throttle._throttle import Throttle
from kafka_throttle.config import load
from kafka_throttle.policies import POLICIES

ROWS = list(settings())


def test_a_row_says_everything_about_a_setting() -> None:
    assert (
        Setting(
            key="limit.backoff_ratio",
            of="aimd",
            type="number",
            default="0.8",
            allowed="above 0, below 1",
            description="What a congested window multiplies the limit with.",
        )
        in ROWS
    )


def test_defaults_stand_as_a_user_would_write_them() -> None:
    defaults = {row.key: row.default for row in ROWS if not row.of}

    assert defaults == {
        "rules": "{topics: *, policy: block}",
        "rules[].topics": "",
        "rules[].policy": "",
        "rules[].criticality": "normal",
        "rules[].on_failure": "none",
        "rules[].loss_approved_by": "none",
        "limit": "aimd",
        "signals": "standing_delay, buffer_fill, record_error_rate, request_imbalance, broker_throttle",
        "burst": "32 MiB",
        "hooks": "none",
        "honour_broker_quota": "true",
        "enabled": "true",
    }


def test_every_field_of_every_class_has_a_row_with_a_description() -> None:
    classes = {**LIMITS, **SIGNALS, **POLICIES}
    expected = {
        (name, attribute.name)
        for name, cls in classes.items()
        for attribute in attrs.fields(cls)
        if kind_of(attribute)
    }

    assert expected == {(row.of, row.key.rpartition(".")[2]) for row in ROWS if row.of}
    assert [row.key for row in ROWS if not row.description.endswith(".")] == []


def test_the_written_defaults_read_back_as_the_defaults() -> None:
    scalars = {row.key: row.default for row in ROWS if row.key in ("limit", "burst", "enabled")}
    aimd = {row.key.removeprefix("limit."): row.default for row in ROWS if row.of == "aimd"}

    assert Throttle() == load(scalars) == load({"limit": aimd})
