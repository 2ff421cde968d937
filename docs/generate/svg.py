"""A few marks of SVG. Every picture is a light card with dark marks, readable on light and dark pages."""

from xml.sax.saxutils import escape

INK, FAINT, LINE, CARD = "#1f2933", "#5f6b7a", "#8894a3", "#fbfcfd"
BLUE, ORANGE, GREEN, VIOLET = "#2f6db5", "#c2571a", "#2e7d4f", "#7b4ba8"
TINT = {BLUE: "#d3e3f6", ORANGE: "#f9dfcb", GREEN: "#d3ecdb", VIOLET: "#e6d9f2", FAINT: "#e6e9ed"}
FONT = "DejaVu Sans, Verdana, Arial, sans-serif"


def number(value):
    """Coordinates with at most two digits, without a needless point."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


class Picture:
    def __init__(self, width, height, title):
        self.width, self.height, self.title, self.marks = width, height, title, []

    def rect(self, x, y, width, height, fill="none", stroke=LINE, dash="", thick=1, round_=0):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        rounded = f' rx="{number(round_)}"' if round_ else ""
        self.marks.append(
            f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"{rounded} '
            f'fill="{fill}" stroke="{stroke}" stroke-width="{number(thick)}"{dashes}/>'
        )

    def line(self, x1, y1, x2, y2, stroke=LINE, thick=1.2, dash="", arrow=False):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        end = f' marker-end="url(#{ARROWS[stroke]})"' if arrow else ""
        self.marks.append(
            f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" stroke="{stroke}" '
            f'stroke-width="{number(thick)}"{dashes}{end}/>'
        )

    def circle(self, x, y, radius, fill=INK, stroke="none"):
        place = f'cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"'
        self.marks.append(f'<circle {place} fill="{fill}" stroke="{stroke}"/>')

    def text(self, x, y, words, size=13, fill=INK, anchor="start", bold=False):
        weight = ' font-weight="bold"' if bold else ""
        self.marks.append(
            f'<text x="{number(x)}" y="{number(y)}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{weight}>'
            f"{escape(str(words))}</text>"
        )

    def cells(self, x, y, values, size=28, fill="#ffffff", stroke=LINE, dash="", ink=INK):
        """A row of square cells with their values in the middle."""
        for i, value in enumerate(values):
            colour = fill[i] if isinstance(fill, (list, tuple)) else fill
            self.rect(x + i * size, y, size, size, colour, stroke, dash)
            if value != "":
                self.text(x + (i + 0.5) * size, y + size / 2 + 4.5, value, 13, ink, "middle")

    def svg(self):
        arrows = "".join(
            f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
            for colour, name in ARROWS.items()
        )
        size = f"{number(self.width)} {number(self.height)}"
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(self.width)}" height="{number(self.height)}" '
            f'viewBox="0 0 {size}" font-family="{FONT}" role="img">',
            f"<title>{escape(self.title)}</title>",
            f"<defs>{arrows}</defs>",
            f'<rect x="0.5" y="0.5" width="{number(self.width - 1)}" height="{number(self.height - 1)}" rx="8" '
            f'fill="{CARD}" stroke="{LINE}"/>',
        ]
        return "\n".join(lines + self.marks + ["</svg>"]) + "\n"


ARROWS = {INK: "ink", LINE: "line", FAINT: "faint", BLUE: "blue", ORANGE: "orange", GREEN: "green", VIOLET: "violet"}
