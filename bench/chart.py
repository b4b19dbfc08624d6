"""The chart: for each scenario a bar per terminator, its length the ratio to nginx. Plain SVG, light and dark."""

from __future__ import annotations

from html import escape
from pathlib import Path

from report import BASE, Results

ROW, GAP, LEFT, WIDTH, NUMBERS = 18, 34, 190, 420, 60
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-weight: 600 }
.bar { fill: #9aa5b1 } .own { fill: #2f7d6d } .line { stroke: #c0392b; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .bar { fill: #6b7682 } .own { fill: #55b8a3 } }
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
    size = f'width="{LEFT + WIDTH + NUMBERS}" height="{y}"'
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"
    )
