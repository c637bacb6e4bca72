"""Letters for the tests of dead letters."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from kafka_throttle._dead_letter import Letter


@pytest.fixture
def letter() -> Letter:
    return Letter(
        topic="orders",
        partition=3,
        key=b"42",
        value=b"\xff\x00",
        headers=(("trace", b"a1"), ("flag", None), ("trace", b"")),
        timestamp=1_700_000_000_123,
        policy="dead_letter",
        reason="failed",
        attempts=2,
        first_seen=1_700_000_000.25,
        record_id=b"\x00\x01",
        error="Local: Message timed out",
        error_name="_MSG_TIMED_OUT",
    )


@pytest.fixture(scope="session")
def letters() -> st.SearchStrategy[Letter]:
    """Any letter that there can be."""
    any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    words = any_text.filter(bool)
    payloads = st.none() | st.binary(max_size=60) | words.map(str.encode)
    # Names that are ours as well: a letter may become a letter again.
    names = any_text | st.sampled_from(["kafka_throttle.dead_letter", "kafka_throttle.topic"])
    return st.builds(
        Letter,
        topic=words,
        partition=st.none() | st.integers(0, 2**31 - 1),
        key=payloads,
        value=payloads,
        headers=st.lists(st.tuples(names, payloads), max_size=5).map(tuple),
        timestamp=st.integers(0, 2**63 - 1),
        policy=words,
        reason=words,
        attempts=st.integers(0, 2**31 - 1),
        first_seen=st.floats(0, 1e12),
        record_id=payloads,
        error=st.none() | any_text,
        error_name=st.none() | words,
    )
