"""What the gateway counts, by name and label."""

from __future__ import annotations

from collections import Counter


class Counters:
    """Counts that only grow: `add("frames", "gb26875")`. One event loop, so no lock."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, label: str = "", by: int = 1) -> None:
        self.counts[name, label] += by

    def get(self, name: str, label: str | None = None) -> int:
        """One count, or, without a label, the sum over all labels."""
        if label is not None:
            return self.counts[name, label]
        return sum(count for (known, _), count in self.counts.items() if known == name)

    def snapshot(self) -> dict[str, dict[str, int]]:
        """name → label → count."""
        found: dict[str, dict[str, int]] = {}
        for (name, label), count in sorted(self.counts.items()):
            found.setdefault(name, {})[label] = count
        return found
