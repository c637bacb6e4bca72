"""Letters back to where they belong, in pieces: a piece is delivered and settled before the next one begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field
from confluent_kafka import KafkaError, KafkaException, Producer

from kafka_throttle._adapters.confluent import TRANSIENT
from kafka_throttle._units import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kafka_throttle._dead_letter import Letter
    from kafka_throttle.cli.dead_letters.source import Found, Source

__all__ = ["Outcome", "client_of", "resend"]

_PIECE = 1000
_PIECE_BYTES = 16 * 2**20
_POLL_SECONDS = 0.2
# Between giving up what is in flight and the reports that say so.
_PURGE_SECONDS = 5.0


@define
class Outcome:
    """What became of the letters.

    Attributes:
        delivered: How many have arrived.
        kept: How many have not, and stay where they were.
        unreadable: Places where there was no letter, each with the reason.
        errors: Why letters did not arrive: the reasons, and how many for each.
        stopped: Whether letters were not tried, because the cluster does not take them now.
        interrupted: Whether the user ended it.
    """

    delivered: int = 0
    kept: int = 0
    unreadable: list[str] = field(factory=list)
    errors: dict[str, int] = field(factory=dict)
    stopped: bool = False
    interrupted: bool = False


def client_of(settings: dict[str, Any]) -> Producer:
    """Return the client that sends letters back.

    Args:
        settings: What connects it, and what the user wants otherwise.
    """
    # Half a minute, because somebody waits; what is not delivered is kept.
    wanted = {"log_level": 0, "enable.idempotence": True, "acks": "all", "delivery.timeout.ms": 30_000}
    return Producer({**wanted, **settings})


def resend(source: Source, client: Any, *, keep_partition: bool, advance: Callable[[int], object]) -> Outcome:
    """Send every letter of a source back, and tell the source what has arrived.

    It stops after a piece in which a letter failed for a reason that time can heal: the others would fail too. A
    letter that can never be delivered does not keep the rest of a file from being sent.

    Args:
        source: Where the letters are.
        client: A client.
        keep_partition: Whether a letter that had a partition goes to the same one.
        advance: Called with the weight of what was dealt with.
    """
    outcome = Outcome()
    for piece in _pieces(source.read()):
        delivery = _Delivery(client, keep_partition=keep_partition)
        outcome.interrupted = delivery.run([found.letter for found in piece])
        for found, error in zip(piece, delivery.errors, strict=True):
            _note(outcome, found, error)
            source.settle(found, delivered=found.letter is not None and error is None)
            advance(found.weight)
        source.save()
        outcome.stopped = delivery.hopeless
        if outcome.interrupted or outcome.stopped:
            break
    return outcome


class _Delivery:
    """One piece on its way.

    Attributes:
        errors: For each letter why it has not arrived, or None.
        hopeless: Whether one failed for a reason that concerns the others too.
    """

    def __init__(self, client: Any, *, keep_partition: bool) -> None:
        self._client = client
        self._keep_partition = keep_partition
        self._too_large: list[int] = []
        self.errors: list[str | None] = []
        self.hopeless = False

    def run(self, letters: list[Letter | None]) -> bool:
        """Send letters and wait for their reports; return whether the user interrupted it."""
        self.errors = [None if letter is None else "not sent" for letter in letters]
        try:
            for number, letter in enumerate(letters):
                if letter is not None:
                    self._send(number, letter)
            self._wait()
            self._try_alone(letters)
        except KeyboardInterrupt:
            self._client.purge()
            self._client.flush(_PURGE_SECONDS)
            return True
        return False

    def _try_alone(self, letters: list[Letter | None]) -> None:
        """Send again one by one what was too large: the brokers refuse a whole batch for one letter in it."""
        again, self._too_large = self._too_large, []
        for number in again if len(again) > 1 else ():
            letter = letters[number]
            if letter is not None:
                self._send(number, letter)
                self._wait()

    def _wait(self) -> None:
        while self._client.flush(_POLL_SECONDS):
            pass

    def _send(self, number: int, letter: Letter) -> None:
        place = (
            {} if letter.partition is None or not self._keep_partition else {"partition": letter.partition}
        )
        arguments = {
            "headers": list(letter.headers),
            "timestamp": letter.timestamp,
            "on_delivery": lambda error, _: self._report(number, error),
            **place,
        }
        while True:
            try:
                self._client.produce(letter.topic, letter.value, letter.key, **arguments)
            except BufferError:
                self._client.poll(_POLL_SECONDS)
            except KafkaException as error:
                self._report(number, error.args[0])
                return
            except ValueError as error:  # a topic or a header's name that is no Unicode, or has a NUL in it
                self.errors[number] = str(error)
                return
            else:
                return

    def _report(self, number: int, error: KafkaError | None) -> None:
        self.errors[number] = None if error is None else error.str()
        if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._too_large.append(number)
        elif error is not None and error.code() in TRANSIENT:
            self.hopeless = True


def _note(outcome: Outcome, found: Found, error: str | None) -> None:
    if found.letter is None:
        outcome.unreadable.append(f"{found.place}: {found.problem}")
    elif error is None:
        outcome.delivered += 1
    else:
        outcome.kept += 1
        reason = f"topic {shown(found.letter.topic)}: {error}"
        outcome.errors[reason] = outcome.errors.get(reason, 0) + 1


def _pieces(found: Iterable[Found]) -> Iterator[list[Found]]:
    piece: list[Found] = []
    size = 0
    for each in found:
        piece.append(each)
        size += 0 if each.letter is None else len(each.letter.value or b"")
        if len(piece) >= _PIECE or size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
