"""``kafka-throttle dead-letters`` on files and on a mock cluster: what is shown, what is sent, and what is left."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, Producer, TopicPartition

from kafka_throttle._dead_letter import Letter
from kafka_throttle._dead_letter.dialects import headers_of
from kafka_throttle._dead_letter.file_sink import FileSink
from kafka_throttle._dead_letter.lines import letter_in, line_of
from kafka_throttle.cli import _extras, main
from kafka_throttle.cli.dead_letters import resend as resending
from kafka_throttle.cli.dead_letters.table import readable

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle.brokers import MockKafka

LETTER = Letter(
    topic="orders",
    key=b"k",
    value=b"v",
    headers=(("h", b"1"), ("h", None)),
    policy="dead_letter",
    reason="failed",
    attempts=1,
    first_seen=1.0,
    error="Broker: Message size too large",
)


@pytest.fixture(autouse=True)
def _no_cluster_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_THROTTLE_BOOTSTRAP", raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dead.jsonl"


def numbered(*numbers: int) -> list[Letter]:
    return [attrs.evolve(LETTER, attempts=number, value=b"%d" % number) for number in numbers]


def fill(path: Path, letters: list[Letter], per_file: int = 1000) -> None:
    sink = FileSink(path, max_bytes=per_file * len(line_of(letters[0])), files=None)
    for letter in letters:
        sink.write(letter, lambda error: None)
    sink.close()


def run(*arguments: object, answer: str = "") -> Result:
    return CliRunner().invoke(main, ["dead-letters", *map(str, arguments)], input=answer)


def requeue(*arguments: object, answer: str = "") -> Result:
    return run("requeue", *arguments, answer=answer)


def put(kafka: MockKafka, letters: list[Letter], topic: str = "dead") -> str:
    """Write letters to a topic as the topic sink does, in one partition; return its address."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for letter in letters:
        producer.produce(topic, letter.value, letter.key, 0, headers=headers_of(letter, "native"))
    assert producer.flush(30) == 0
    return f"kafka://{kafka.bootstrap}/{topic}"


def values(kafka: MockKafka, topic: str = "orders") -> list[bytes]:
    return sorted(message.value() for message in messages(kafka, topic))


def messages(kafka: MockKafka, topic: str = "orders") -> list[Any]:
    """Return all messages of a topic, read to its end."""
    ends = kafka.end_offsets(topic)
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "check"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
    found: list[Any] = []
    while len(found) < sum(ends.values()):
        found += consumer.consume(sum(ends.values()) - len(found), 30)
    consumer.close()
    return found


def test_show_prints_a_table_oldest_first_with_the_full_files_before(path: Path) -> None:
    fill(path, [attrs.evolve(LETTER, partition=3, first_seen=86400.0 * n) for n in range(1, 4)], per_file=1)

    result = run("show", path)

    assert result.exit_code == 0
    assert re.findall(r"1970-01-\d\d", result.stdout) == ["1970-01-02", "1970-01-03", "1970-01-04"]
    row = next(line for line in result.stdout.splitlines() if "1970-01-02" in line)
    assert [cell.strip() for cell in row.split("│")[2:-1]] == [
        "orders/3",
        "k",
        "v",
        "dead_letter: failed",
        "1",
        "Broker: Message size too large",
    ]


def test_show_json_prints_lines_that_are_a_file_of_dead_letters_again(path: Path) -> None:
    fill(path, numbered(*range(5)), per_file=2)

    result = run("show", path, "--json")

    assert [letter_in(line.encode()) for line in result.stdout.splitlines()] == numbered(*range(5))


@pytest.mark.parametrize("arguments", [["--limit", 2], ["--limit", 2, "--json"]])
def test_show_stops_at_the_limit(path: Path, arguments: list[object]) -> None:
    fill(path, numbered(*range(5)))

    result = run("show", path, *arguments)

    assert result.stdout.count("orders") == 2
    assert ("The first 2; there are more: --limit NUMBER or --json." in result.stdout) == (
        len(arguments) == 2
    )


def test_a_table_has_a_hundred_rows_when_nothing_is_said(path: Path) -> None:
    fill(path, numbered(*range(101)))

    assert run("show", path).stdout.count("orders") == 100
    assert run("show", path, "--json").stdout.count("orders") == 101


def test_what_is_no_letter_is_listed_and_makes_the_exit_code_1(path: Path) -> None:
    fill(path, numbered(1))
    with path.open("ab") as file:
        file.write(b"{}\n")

    result = run("show", path)

    assert result.exit_code == 1
    assert result.stdout.count("orders") == 1
    assert result.stderr == (
        "1 are no dead letters that can be read, and stay:\n"
        f"  {path}, line 2: not a dead letter that can be read: its version is None; known: 1\n"
    )


def test_of_many_places_the_first_ten_are_listed(path: Path) -> None:
    path.write_bytes(b"[]\n" * 12)

    lines = run("show", path, "--json").stderr.splitlines()

    assert (len(lines), lines[-1]) == (12, "  and 2 more")


def test_show_of_a_topic_shows_its_letters(mock_kafka: MockKafka) -> None:
    address = put(mock_kafka, numbered(*range(3)))

    result = run("show", address, "--json")

    assert result.exit_code == 0, result.stderr
    assert [letter_in(line.encode()) for line in result.stdout.splitlines()] == numbered(*range(3))


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("none", None),
        ("abc \N{LATIN SMALL LETTER E WITH ACUTE}", "abc \N{LATIN SMALL LETTER E WITH ACUTE}".encode()),
        ("\\xff\\x00", b"\xff\0"),
        ("\\x1b[31m[bold]", b"\x1b[31m[bold]"),
        ("a\\nb", "a\nb"),
        ("x" * 57 + "...", b"x" * 61),
        ("x" * 60, b"x" * 60),
    ],
)
def test_payloads_are_shown_without_what_could_move_the_cursor(
    expected: str, content: bytes | str | None
) -> None:
    assert readable(content) == expected


def test_markup_in_a_payload_is_only_text(path: Path) -> None:
    fill(path, [attrs.evolve(LETTER, value=b"[red]:smile:[/]")])

    assert "[red]:smile:[/]" in run("show", path).stdout


def test_a_time_that_no_calendar_has_is_shown_as_a_number(path: Path) -> None:
    fill(path, [attrs.evolve(LETTER, first_seen=1e300)])

    assert "1e+300 s" in run("show", path).stdout


def test_requeue_sends_letters_as_the_records_they_were_and_takes_them_out(
    path: Path, mock_kafka: MockKafka
) -> None:
    mock_kafka.create_topic("orders", partitions=1)
    fill(path, numbered(*range(5)), per_file=2)

    result = requeue(path, "--bootstrap", mock_kafka.bootstrap, "--yes")

    assert (result.exit_code, result.stdout) == (0, f"5 letters of {path} were delivered to their topics.\n")
    sent = messages(mock_kafka)
    assert [message.value() for message in sent] == [b"0", b"1", b"2", b"3", b"4"]
    assert (sent[0].key(), sent[0].headers()) == (b"k", [("h", b"1"), ("h", None)])
    assert [each.name for each in path.parent.iterdir()] == ["dead.jsonl.lock"]


def test_requeue_asks_first_and_sends_nothing_when_the_answer_is_no(
    path: Path, mock_kafka: MockKafka
) -> None:
    mock_kafka.create_topic("orders")
    fill(path, numbered(*range(3)))

    refused = requeue(path, "--bootstrap", mock_kafka.bootstrap, answer="n\n")
    nobody = requeue(path, "--bootstrap", mock_kafka.bootstrap)

    assert (refused.exit_code, nobody.exit_code) == (1, 1)
    assert f"Send 3 letters of {path} back to their topics? [y/N]: n" in refused.stdout
    assert path.read_bytes().count(b"\n") == 3
    assert sum(mock_kafka.end_offsets("orders").values()) == 0

    agreed = requeue(path, "--bootstrap", mock_kafka.bootstrap, answer="y\n")
    assert agreed.exit_code == 0
    assert sum(mock_kafka.end_offsets("orders").values()) == 3


def test_a_dry_run_says_where_letters_would_go_and_touches_nothing(path: Path) -> None:
    fill(path, [*numbered(1, 2), attrs.evolve(LETTER, topic="clicks")])
    before = path.read_bytes()

    result = requeue(path, "--bootstrap", "nowhere.example:1", "--dry-run")

    assert (result.exit_code, result.stdout) == (
        0,
        f"3 letters of {path}:\n  2 to topic 'orders'\n  1 to topic 'clicks'\n",
    )
    assert path.read_bytes() == before


def test_a_partition_is_kept_only_when_asked(path: Path, mock_kafka: MockKafka) -> None:
    mock_kafka.create_topic("orders", partitions=8)
    letters = [attrs.evolve(LETTER, partition=number, key=b"one key") for number in range(8)]
    fill(path, letters)
    requeue(path, "--bootstrap", mock_kafka.bootstrap, "--yes")
    assert sorted(mock_kafka.end_offsets("orders").values()) == [0] * 7 + [8]

    fill(path, letters)
    requeue(path, "--bootstrap", mock_kafka.bootstrap, "--yes", "--keep-partition")
    assert sorted(mock_kafka.end_offsets("orders").values()) == [1] * 7 + [9]


def test_a_letter_that_can_never_be_delivered_stays_and_holds_up_no_other(
    path: Path, mock_kafka: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resending, "_PIECE", 2)
    big = attrs.evolve(LETTER, value=b"x" * 2000)
    odd = attrs.evolve(LETTER, topic="a\0b")
    fill(path, [big, odd, *numbered(1, 2)])

    result = requeue(path, "--bootstrap", mock_kafka.bootstrap, "--yes", "-X", "message.max.bytes=1500")

    assert result.exit_code == 1
    assert result.stdout == f"2 letters of {path} were delivered to their topics.\n"
    assert result.stderr.splitlines()[-3:] == [
        "2 were not delivered, and stay:",
        "  1 x topic 'orders': Unable to produce message: Broker: Message size too large",
        "  1 x topic 'a\\x00b': embedded null character",
    ]
    assert [letter_in(line) for line in path.read_bytes().splitlines()] == [big, odd]
    assert values(mock_kafka) == [b"1", b"2"]


def test_a_cluster_that_does_not_answer_stops_it_after_the_first_piece(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resending, "_PIECE", 2)
    fill(path, numbered(*range(6)))
    before = path.read_bytes()

    result = requeue(path, "--bootstrap", "127.0.0.1:1", "--yes", "-X", "delivery.timeout.ms=200")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-3:] == [
        "2 were not delivered, and stay:",
        "  2 x topic 'orders': Local: Message timed out",
        "Stopped, because the others would fare no better now.",
    ]
    assert path.read_bytes() == before


def test_lines_that_are_no_letters_stay_and_are_listed(path: Path, mock_kafka: MockKafka) -> None:
    fill(path, numbered(1))
    with path.open("ab") as file:
        file.write(b"not ours\n")

    result = requeue(path, "--bootstrap", mock_kafka.bootstrap, "--yes")

    assert result.exit_code == 1
    assert "1 are no dead letters that can be read, and stay:" in result.stderr
    assert path.read_bytes() == b"not ours\n"


def test_an_interrupt_keeps_what_was_not_delivered_and_takes_out_what_was(
    path: Path, mock_kafka: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resending, "_PIECE", 2)
    fill(path, numbered(*range(6)))
    pieces = iter([None, KeyboardInterrupt()])

    class Interrupted(Producer):
        def flush(self, timeout: float) -> int:
            if timeout == resending._POLL_SECONDS and super().flush(30) == 0:
                error = next(pieces)
                if error is not None:
                    raise error
            return super().flush(timeout)

    monkeypatch.setattr(resending, "Producer", Interrupted)

    result = requeue(path, "--bootstrap", mock_kafka.bootstrap, "--yes")

    assert (result.exit_code, result.stdout) == (
        130,
        f"4 letters of {path} were delivered to their topics.\n",
    )
    assert [letter_in(line) for line in path.read_bytes().splitlines()] == numbered(4, 5)


def test_the_cluster_may_come_from_the_environment(
    path: Path, mock_kafka: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_THROTTLE_BOOTSTRAP", mock_kafka.bootstrap)
    fill(path, numbered(1))

    assert requeue(path, "--yes").exit_code == 0
    assert values(mock_kafka) == [b"1"]


def test_a_second_run_sends_only_what_came_since(mock_kafka: MockKafka) -> None:
    address = put(mock_kafka, numbered(1, 2))
    first = requeue(address, "--yes")
    put(mock_kafka, numbered(3))
    second = requeue(address, "--yes")
    third = requeue(address, "--yes")

    delivered = [result.stdout.split()[0] for result in (first, second, third)]
    assert (delivered, first.exit_code) == (["2", "1", "0"], 0)
    assert values(mock_kafka) == [b"1", b"2", b"3"]


def test_show_with_the_group_shows_what_was_not_sent_back_yet(mock_kafka: MockKafka) -> None:
    address = put(mock_kafka, numbered(1, 2))
    requeue(address, "--yes", "--group", "mine")
    put(mock_kafka, numbered(3))

    remaining = run("show", address, "--json", "--group", "mine").stdout.splitlines()
    everything = run("show", address, "--json").stdout.splitlines()

    assert [letter_in(line.encode()) for line in remaining] == numbered(3)
    assert [letter_in(line.encode()) for line in everything] == numbered(1, 2, 3)


def test_messages_that_are_no_letters_are_listed_and_passed_over(mock_kafka: MockKafka) -> None:
    producer = Producer({"bootstrap.servers": mock_kafka.bootstrap})
    producer.produce("dead", b"foreign", partition=0)
    producer.flush(30)
    address = put(mock_kafka, numbered(1))

    first, second = requeue(address, "--yes"), requeue(address, "--yes")

    assert (first.exit_code, second.exit_code) == (1, 0)
    assert first.stderr.splitlines()[-1] == (
        "  dead, partition 0, offset 0: not a dead letter of the native dialect: "
        "it has no header 'kafka_throttle.dead_letter'"
    )
    assert values(mock_kafka) == [b"1"]


def test_what_follows_a_letter_that_fails_comes_again(mock_kafka: MockKafka) -> None:
    big = attrs.evolve(LETTER, value=b"x" * 2000)
    address = put(mock_kafka, [*numbered(1), big, *numbered(2, 3)])

    failed = requeue(address, "--yes", "-X", "message.max.bytes=1500")
    mended = requeue(address, "--yes")

    assert failed.exit_code == 1
    assert "2 were delivered behind one that was not, and will be sent again.\n" in failed.stderr
    assert mended.stdout.startswith("3 letters of topic dead at ")
    assert values(mock_kafka) == [b"1", b"2", b"2", b"3", b"3", b"x" * 2000]


def test_letters_may_go_to_another_cluster(mock_kafka: MockKafka) -> None:
    from kafka_throttle.brokers import MockKafka as Another

    address = put(mock_kafka, numbered(1))
    with Another() as other:
        result = requeue(address, "--bootstrap", other.bootstrap, "--yes", "--source-setting", "client.id=x")

        assert result.exit_code == 0, result.stderr
        assert values(other) == [b"1"]


def test_a_dry_run_on_a_topic_commits_nothing(mock_kafka: MockKafka) -> None:
    address = put(mock_kafka, numbered(1, 2))

    assert "2 to topic 'orders'" in requeue(address, "--dry-run").stdout
    assert requeue(address, "--yes").stdout.startswith("2 letters of ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ["show", "nowhere.jsonl"],
            1,
            "Error: 'nowhere.jsonl': there is no such file, nor a full one beside it",
        ),
        (["show", "no/where.jsonl"], 1, "'no/where.jsonl': there is no such file, nor a full one beside it"),
        (
            ["show", "x", "--group", "g"],
            2,
            "--group is for a topic: a file has only letters that were not sent",
        ),
        (["show", "x", "--limit", "0"], 2, "0 is not in the range x>=1"),
        (
            ["show", "kafka://b:1"],
            2,
            "'kafka://b:1' is neither the path of a file nor kafka://HOST:PORT/TOPIC",
        ),
        (["show", "kafka:///t"], 2, "is neither the path of a file nor"),
        (["show", "kafka://u:p@b:1/t"], 2, "is neither the path of a file nor"),
        (["show", "kafka://b:1/t/u"], 2, "is neither the path of a file nor"),
        (
            ["show", "kafka://b:1/t", "-X", "acks"],
            2,
            "'acks' is not KEY=VALUE, such as security.protocol=SSL",
        ),
        (
            ["show", "kafka://b:1/t", "-X", "no.such=1"],
            1,
            'Error: topic t at b:1: No such configuration property: "no.such"',
        ),
        (
            ["requeue", "x"],
            2,
            "a file does not say which cluster its letters belong to: give --bootstrap HOST:PORT",
        ),
        (["requeue"], 2, "Missing argument 'SOURCE'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    arguments: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = run(*arguments)

    assert result.exit_code == code
    assert words in re.sub(r"\s+", " ", result.stderr)


def test_a_client_that_cannot_be_made_is_said_and_nothing_is_taken_out(path: Path) -> None:
    fill(path, numbered(1))

    result = requeue(path, "--bootstrap", "b:1", "--yes", "-X", "no.such=1")

    assert result.exit_code == 1
    assert result.stderr == 'Error: no client can be made: No such configuration property: "no.such"\n'
    assert path.read_bytes().count(b"\n") == 1


def test_a_topic_that_does_not_exist_is_said(mock_kafka: MockKafka) -> None:
    result = run("show", f"kafka://{mock_kafka.bootstrap}/missing")

    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: topic missing at {mock_kafka.bootstrap}: Broker: Unknown topic or partition\n"
    )


def test_without_rich_a_table_is_refused_and_json_is_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_extras, "find_spec", lambda name: None)
    fill(path, numbered(1))

    refused, lines = run("show", path), run("show", path, "--json")

    assert refused.stderr == 'Error: rich not installed: pip install "kafka-throttle[demo]"\n'
    assert (refused.exit_code, lines.exit_code) == (1, 0)
    assert json.loads(lines.stdout)["topic"] == "orders"


@pytest.mark.parametrize("command", ["show", "requeue"])
def test_every_option_has_help(command: str) -> None:
    group: Any = main.commands["dead-letters"]

    options = [p for p in group.commands[command].params if p.name != "source"]
    assert [option.name for option in options if not option.help] == []
