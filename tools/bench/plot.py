"""Figures over time: as lines of text, and as an SVG."""

import math
from dataclasses import dataclass

WIDTH = 60


@dataclass
class Line:
    """`points`: (time in s, value), one for each step of time. A `log` one is drawn with a logarithmic scale."""
    name: str
    unit: str
    points: list
    log: bool = False
    colour: str = "#1f77b4"

    def share(self, value):
        """Where between the least that is shown and the most it lies, from 0 to 1."""
        most = max(value for _, value in self.points)
        if not self.log:
            return value / most if most > 0 else 0
        least = max(1e-3, min(value for _, value in self.points if value > 0) / 2) if most > 0 else 1
        return 0 if value <= least else math.log(value / least) / math.log(max(most, least * 2) / least)


def text_plot(bars, beside, events):
    """Lines of text: the time, the value of `beside`, that of `bars` as a number and as a bar. `events`: (time, what)."""
    waiting = sorted(events)
    yield f"{'s':>5}  {beside.name + ', ' + beside.unit:>20}  {bars.name + ', ' + bars.unit:>20}"
    for (at, value), (_, other) in zip(bars.points, beside.points):
        told = []
        while waiting and (waiting[0][0] <= at or at == bars.points[-1][0]):
            told.append(waiting.pop(0)[1])
        note = "  <- " + ", ".join(told) if told else ""
        yield f"{at:5.0f}  {other:20,.0f}  {value:20.2f}  {'#' * round(bars.share(value) * WIDTH)}{note}"


def draw(path, title, lines, events):
    """An SVG with a line for each, in its own scale from 0 (a logarithmic one: from about its least) to its most."""
    width, height, left, top = 860, 360, 60, 50
    last = max(at for line in lines for at, _ in line.points) or 1

    def x_of(at):
        return left + at / last * (width - 2 * left)

    def y_of(share):
        return top + (1 - share) * (height - 2 * top)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>', f'<text x="{left}" y="20" font-size="14">{title}</text>']
    for number, line in enumerate(lines):
        most = max(value for _, value in line.points)
        way = " ".join(f"{x_of(at):.1f},{y_of(line.share(value)):.1f}" for at, value in line.points)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{line.colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{left + 220 * number}" y="{top - 12}" fill="{line.colour}">{line.name}, up to {most:,.2f} {line.unit}'
                     f'{" (logarithmic)" if line.log else ""}</text>')
    for at, what in events:
        parts.append(f'<line x1="{x_of(at):.1f}" y1="{top}" x2="{x_of(at):.1f}" y2="{height - top}" stroke="#888" '
                     'stroke-dasharray="4"/>')
        parts.append(f'<text x="{x_of(at) + 3:.1f}" y="{height - top - 4}" fill="#555">{what}</text>')
    for step in range(7):
        at = last * step / 6
        parts.append(f'<text x="{x_of(at):.1f}" y="{height - top + 18}" text-anchor="middle">{at:.0f} s</text>')
    parts.append(f'<line x1="{left}" y1="{height - top}" x2="{width - left}" y2="{height - top}" stroke="black"/></svg>')
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n")
