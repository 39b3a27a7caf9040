"""Plots as SVG, with the standard library alone: lines on logarithmic axes, and bars."""
import math
from xml.sax.saxutils import escape

COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf")


def number(value):
    """A number of three digits for an axis or a table: 12, 1.5k, 3M."""
    rounded = float(f"{value:.3g}")
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(rounded) >= size:
            return f"{rounded / size:.3g}{letter}"
    return f"{rounded:.3g}"


def powers(low, high):
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0 ** n for n in range(first, max(last, first + 1) + 1)]


class Canvas:
    def __init__(self, width, height):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
        ]

    def text(self, x, y, text, anchor="start", size=12, color="#222"):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{color}">{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, color="#ddd"):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>')

    def rectangle(self, x, y, width, height, color):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" '
            f'height="{height:.1f}" fill="{color}"/>')

    def path(self, points, color):
        self.parts.append(
            f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" '
            f'fill="none" stroke="{color}" stroke-width="2"/>')
        for x, y in points:
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>')

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(self.parts) + "\n</svg>\n")


def lines(canvas, left, top, width, height, title, series):
    """A panel with lines. `series` is a list of (name, [(x, y), …]); both axes are logarithmic."""
    points = [p for _, ps in series for p in ps if p[1] > 0]
    xs = powers(min(p[0] for p in points), max(p[0] for p in points))
    ys = powers(min(p[1] for p in points), max(p[1] for p in points))

    def place(x, y):
        across = math.log(x / xs[0]) / math.log(xs[-1] / xs[0])
        up = math.log(y / ys[0]) / math.log(ys[-1] / ys[0])
        return left + across * width, top + height - up * height

    canvas.text(left, top - 10, title, size=13)
    for x in xs:
        canvas.line(*place(x, ys[0]), *place(x, ys[-1]))
        canvas.text(place(x, ys[0])[0], top + height + 16, number(x), "middle", 11)
    for y in ys:
        canvas.line(*place(xs[0], y), *place(xs[-1], y))
        canvas.text(left - 5, place(xs[0], y)[1] + 4, number(y), "end", 11)
    for at, (name, ps) in enumerate(series):
        color = COLORS[at % len(COLORS)]
        canvas.path([place(x, y) for x, y in ps if y > 0], color)
        canvas.text(left + width + 8, top + 12 + 16 * at, name, color=color)


def factors(canvas, left, top, width, title, rows):
    """A panel with bars that begin at 1, on a logarithmic axis: to the right above it, to the left
    below. `rows` is a list of (name, value). Returns the y below it."""
    values = [value for _, value in rows if value > 0] + [1]
    low, high = min(values), max(values)

    def place(value):
        return left + math.log(value / low) / math.log(high / low) * width

    canvas.text(left - 150, top - 8, title, size=13)
    for at, (name, value) in enumerate(rows):
        y = top + 20 * at
        start, end = sorted((place(1), place(value)))
        canvas.text(left - 50, y + 12, name, "end")
        canvas.rectangle(start, y, max(end - start, 1), 15, COLORS[0] if value >= 1 else COLORS[1])
        if value >= 1:
            canvas.text(end + 5, y + 12, number(value), size=11)
        else:
            canvas.text(start - 5, y + 12, number(value), "end", size=11)
    canvas.line(place(1), top - 4, place(1), top + 20 * len(rows), "#222")
    return top + 20 * len(rows)
