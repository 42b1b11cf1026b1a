"""Points to a drawing of a curve, in SVG."""

import html
from collections.abc import Sequence

WIDTH, HEIGHT, PAD = 520, 340, 56


def curve_svg(points: Sequence[tuple[float, float, str]], across: str, up: str) -> str:
    """A line through (x, y, label) points, whose axes are named `across` and `up` and end at the least and the greatest value."""
    (left, right), (bottom, top) = ((min(values), max(values)) for values in ([p[0] for p in points], [p[1] for p in points]))

    def position(x: float, y: float) -> tuple[float, float]:
        part = (x - left) / ((right - left) or 1), (y - bottom) / ((top - bottom) or 1)
        return PAD + part[0] * (WIDTH - 2 * PAD), HEIGHT - PAD - part[1] * (HEIGHT - 2 * PAD)

    placed = [(*position(x, y), html.escape(label)) for x, y, label in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in placed)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#36c"/><text x="{x + 7:.1f}" y="{y - 6:.1f}">{label}</text>'
        for x, y, label in placed
    )
    corners = ((PAD, HEIGHT - 30, left), (WIDTH - PAD, HEIGHT - 30, right), (14, HEIGHT - PAD, bottom), (14, PAD, top))
    ticks = "".join(f'<text x="{x}" y="{y}">{value:.4g}</text>' for x, y, value in corners)
    names = f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">{html.escape(across)}</text>'
    names += f'<text x="8" y="20">{html.escape(up)}</text>'
    axes = f'<path d="M{PAD} {PAD / 2}V{HEIGHT - PAD}H{WIDTH - PAD / 2}" fill="none" stroke="#999"/>'
    drawing = f'{axes}<polyline points="{line}" fill="none" stroke="#36c" stroke-width="2"/>{dots}{ticks}{names}'
    size = f'width="{WIDTH}" height="{HEIGHT}" font-size="12" font-family="sans-serif" role="img"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{drawing}</svg>'
