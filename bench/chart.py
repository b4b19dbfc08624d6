"""The charts. For each scenario a bar per terminator, its length the ratio to nginx; curves. Plain SVG, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from report import BASE, Results

ROW, GAP, LEFT, WIDTH, NUMBERS = 18, 34, 190, 420, 60
MARGIN, HEIGHT = 60, 160
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-weight: 600 }
.bar { fill: #9aa5b1 } .own { fill: #2f7d6d } .line { stroke: #c0392b; stroke-width: 1 }
.curve { fill: none; stroke: #2f7d6d; stroke-width: 1.5 } .axis { fill: none; stroke: #9aa5b1; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .bar { fill: #6b7682 } .own { fill: #55b8a3 }
    .curve { stroke: #55b8a3 } }
"""


def write(results: Results, path: Path) -> None:
    """Draw all scenarios, one below the other. The line is at nginx."""
    parts: list[str] = []
    y = 24
    for scenario in results.scenarios:
        found = [(name, results.ratio(scenario.name, name)) for name in results.names]
        bars = [(name, ratio) for name, ratio in found if ratio is not None]
        if not bars:
            continue
        unit = max(1.0, *(ratio for _, ratio in bars))
        parts.append(f'<text class="title" x="8" y="{y}">{escape(scenario.title)}, ratio to {BASE}</text>')
        top = y + 8
        for name, ratio in bars:
            y += ROW
            kind = "own" if name.startswith("lockgate") else "bar"
            length = WIDTH * ratio / unit
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
            parts.append(f'<rect class="{kind}" x="{LEFT}" y="{y - 7}" width="{length:.1f}" height="{ROW - 5}"/>')
            parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 4}">{ratio:.2f}</text>')
        at = LEFT + WIDTH / unit
        parts.append(f'<line class="line" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{y + 9}"/>')
        y += GAP
    _save(parts, LEFT + WIDTH + NUMBERS, y, path)


def curves(found: Mapping[str, Sequence[tuple[float, float]]], unit: str, path: Path) -> None:
    """Draw each curve in a frame of its own, one below the other; both axes begin at 0."""
    parts: list[str] = []
    y = 24
    for name, points in found.items():
        most_x, most_y = (max(point[axis] for point in points) for axis in (0, 1))
        parts.append(f'<text class="title" x="8" y="{y}">{escape(unit)}, by number of {escape(name)}</text>')
        top, bottom = y + 14, y + 14 + HEIGHT
        places = " ".join(
            f"{MARGIN + WIDTH * at / most_x:.1f},{bottom - HEIGHT * value / most_y:.1f}" for at, value in points
        )
        parts.append(f'<path class="axis" d="M{MARGIN} {top} V{bottom} H{MARGIN + WIDTH}"/>')
        parts.append(f'<polyline class="curve" points="{places}"/>')
        parts.append(f'<text x="{MARGIN - 6}" y="{top + 4}" text-anchor="end">{most_y:.1f}</text>')
        parts.append(f'<text x="{MARGIN - 6}" y="{bottom}" text-anchor="end">0</text>')
        parts.append(f'<text x="{MARGIN + WIDTH}" y="{bottom + 16}" text-anchor="end">{most_x:,.0f}</text>')
        y = bottom + 16 + GAP
    _save(parts, MARGIN + WIDTH + MARGIN, y, path)


def _save(parts: list[str], width: int, height: int, path: Path) -> None:
    size = f'width="{width}" height="{height}"'
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"
    )
