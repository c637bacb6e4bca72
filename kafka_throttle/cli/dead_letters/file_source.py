"""Letters in files; those that were delivered are taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka_throttle._dead_letter.files import Files
from kafka_throttle._dead_letter.lines import letter_in
from kafka_throttle._dead_letter.reading import OpenFile
from kafka_throttle.cli.dead_letters.source import Found
from kafka_throttle.exceptions import DeadLetterError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileSource"]


class FileSource:
    """A file of letters and the full ones beside it, as they were when this was made."""

    def __init__(self, path: str) -> None:
        """Open the files.

        Raises:
            DeadLetterError: When there are none, or one cannot be read.
        """
        self.name = path
        self._files = Files(path)
        self._open: list[OpenFile] = []
        present = self._files.present() if self._files.path.parent.is_dir() else []
        if not present:
            raise DeadLetterError(f"{path!r}: there is no such file, nor a full one beside it ({path}.1)")
        try:
            for each in present:
                self._open.append(OpenFile.open(each))
        except BaseException:
            self._let_go()
            raise
        self.size = sum(file.size for file in self._open)
        self._read: list[OpenFile] = []

    def count(self) -> int:
        """Return how many lines there are."""
        return sum(1 for file in self._open for _ in file.lines())

    def read(self) -> Iterator[Found]:
        """Yield the letters, oldest first."""
        for file in list(self._open):
            for number, line in enumerate(file.lines()):
                yield _found(file, number, line)
            self._read.append(file)

    def claim(self) -> None:
        """Keep others from taking letters out.

        Raises:
            DeadLetterError: Another process does so now, or the files belong to another user.
        """
        for file in list(self._open):
            if not file.claim(self._files):
                self._open.remove(file)
                file.close()

    def settle(self, found: Found, *, delivered: bool) -> None:
        """Note what became of a letter."""
        if delivered:
            file, number = found.mark
            file.delivered(number)

    def save(self) -> None:
        """Take the delivered letters out of the files that were read to their end."""
        while self._read:
            self._finish(self._read.pop(0))

    def close(self) -> int:
        """Take the delivered letters out of the other files too, and close all."""
        try:
            self._read.clear()
            while self._open:
                self._finish(self._open[0])
        finally:
            self._let_go()
        return 0

    def _finish(self, file: OpenFile) -> None:
        self._open.remove(file)
        try:
            file.take_out(self._files)
        finally:
            file.close()

    def _let_go(self) -> None:
        for file in self._open:
            file.close()
        self._open.clear()
        self._files.release()


def _found(file: OpenFile, number: int, line: bytes) -> Found:
    place = f"{file.path}, line {number + 1}"
    try:
        return Found(place, letter_in(line), "", len(line), (file, number))
    except DeadLetterError as error:
        return Found(place, None, str(error), len(line), (file, number))
