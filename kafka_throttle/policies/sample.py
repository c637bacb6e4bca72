"""The policy that gives up a share of the records."""

from __future__ import annotations

from typing import ClassVar

from kafka_throttle._fields import choice, configured, ratio
from kafka_throttle.policies._base import Policy, then_field
from kafka_throttle.policies.block import Block

__all__ = ["Sample"]


@configured
class Sample(Policy):
    """Keep a share of the records that find no room, and shed the others.

    What is kept goes on to `then`. The callback of a record that is shed is told.

    Attributes:
        rate: The share that is kept, above 0, up to 1.
        by: ``"key"``: all records of a key are kept or none, the same in every process, so that what is kept is whole.
            ``"random"``: each record by itself. Records without a key are always taken at random.
        then: What happens to the records that are kept.
    """

    can_lose: ClassVar[bool] = True

    rate: float = ratio(above=0, doc="Share of the records that is kept.")
    by: str = choice(
        default="key", options=("key", "random"), doc="Whether whole keys are kept, or single records."
    )
    then: Policy = then_field(Block(), "What happens to the records that are kept.")
