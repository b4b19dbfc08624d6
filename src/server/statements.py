"""What `lockgate explain` says: one fact about a request, with the rule behind it and the place where that is written."""

from __future__ import annotations

from dataclasses import dataclass

from .problems import Place, one_line


@dataclass(frozen=True, slots=True)
class Statement:
    """`about` is the topic; `place` None for a rule that nothing in the file changes."""

    about: str
    text: str
    because: str
    place: Place | None = None

    def where(self) -> tuple[str, int]:
        """(file, line) of the rule, ("", 0) if it is not in the file: then it is how lockgate works, or a default."""
        if self.place is None:
            return "", 0
        file, line = self.place.source.find(self.place.path)
        return (file, line) if line else ("", 0)

    def as_json(self) -> dict[str, str | int]:
        """For programs."""
        file, line = self.where()
        return {"about": self.about, "text": self.text, "because": self.because, "file": file, "line": line}

    def __str__(self) -> str:
        file, line = self.where()
        place = f" ({file}:{line})" if line else ""
        return one_line(f"{self.about + ':':<13} {self.text}") + f"\n{'':14}{one_line(self.because + place)}"


def quoted(text: bytes, *, marks: bool = True) -> str:
    """Bytes of a request as printable text on one line."""
    shown = "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in text)
    return f'"{shown}"' if marks else shown
