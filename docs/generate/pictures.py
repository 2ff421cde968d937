"""The pictures of the pages. What they show is computed by the rules that they illustrate."""

from svg import BLUE, FAINT, GREEN, INK, LINE, ORANGE, TINT, VIOLET, Picture

CELL = 28
COLOURS = (BLUE, ORANGE, GREEN, VIOLET)


def truncated(a, b):
    """Division towards zero, as in C."""
    return int(a / b)


def placed(source, window, stride, style):
    """(results, offset) by the default padding policy; `style`: -1 valid, 0 same, 1 full."""
    results = -(-(source + style * (window - 1)) // stride)
    left = truncated((results - 1) * stride + window - source + 1, 2)
    return results, window // 2 - left


def mapped(i, n, mode):
    """The position that an edge mode reads for one outside, or None."""
    if 0 <= i < n:
        return i
    if mode == "Clamp":
        return min(max(i, 0), n - 1)
    if mode == "Mirror":
        r = i % (2 * (n - 1))
        return r if r < n else 2 * (n - 1) - r
    if mode == "MirrorWithEdge":
        r = i % (2 * n)
        return r if r < n else 2 * n - 1 - r
    return None


def axis_of_windows(p, x, y, title, source, taps, stride, dilation, style):
    """One axis: the source with what lies outside, and the taps of every output below it."""
    window = (taps - 1) * dilation + 1
    results, offset = placed(source, window, stride, style)
    first = min(0, offset - window // 2)
    last = max(source - 1, offset + stride * (results - 1) - window // 2 + window - 1)
    p.text(x, y, title, bold=True)
    p.text(x, y + 18, f"result {results} pixels, offset {offset}", fill=FAINT)
    left, top = x + 2 * CELL, y + 30
    at = lambda i: left + i * CELL  # noqa: E731
    for i in range(first, last + 1):
        inside = 0 <= i < source
        p.cells(at(i), top, [i if inside else ""], fill="#ffffff" if inside else TINT[FAINT], dash="" if inside else "3 3")
    for i in range(results):
        row, colour = top + 46 + 26 * i, COLOURS[i % 4]
        centre = offset + stride * i
        begin = centre - window // 2
        p.line(at(begin) + CELL / 2, row, at(begin + window - 1) + CELL / 2, row, colour, 2)
        for tap in range(taps):
            p.circle(at(begin + dilation * tap) + CELL / 2, row, 5, colour)
        p.line(at(centre) + CELL / 2, row - 12, at(centre) + CELL / 2, row - 6, colour, 2)
        p.text(at(last + 1) + 8, row + 5, f"output {i}", fill=colour)
    return top + 46 + 26 * results


def windows():
    p = Picture(830, 450, "Windows with offset, stride and padding policy")
    axis_of_windows(p, 20, 28, "SizeSame, 3 taps, stride 2", 7, 3, 2, 1, 0)
    axis_of_windows(p, 430, 28, "SizeValidOnly, 3 taps, stride 2", 7, 3, 2, 1, -1)
    axis_of_windows(p, 20, 238, "SizeSame, 3 taps, stride 2, dilation 2", 7, 3, 2, 2, 0)
    axis_of_windows(p, 430, 238, "SizeSame, 4 taps (even: leans left), stride 2", 7, 4, 2, 1, 0)
    legend = "dots: taps · mark above a row: the window's centre, offset + stride * i · dashed: outside, read by the edge mode"
    p.text(20, 436, legend, 12, FAINT)
    return p


def grid(p, x, y, width, height, fill="#ffffff", size=CELL):
    for row in range(height):
        p.cells(x, y + row * size, [""] * width, size, fill)


def windows_2d():
    p = Picture(640, 290, "A window of 3 x 3 taps, stride 2")
    x, y = 52, 84
    p.text(x - CELL, 30, "source 7 x 5, offset (0, 0), stride 2", bold=True)
    p.text(x - CELL, 48, "dashed: outside", fill=FAINT)
    for row in range(-1, 6):
        for column in range(-1, 8):
            if not (0 <= row < 5 and 0 <= column < 7):
                p.rect(x + column * CELL, y + row * CELL, CELL, CELL, TINT[FAINT], LINE, "3 3")
    grid(p, x, y, 7, 5)
    for (i, j), colour in (((0, 0), BLUE), ((2, 1), ORANGE)):
        left, top = x + (2 * i - 1) * CELL, y + (2 * j - 1) * CELL
        p.rect(left + 2, top + 2, 3 * CELL - 4, 3 * CELL - 4, TINT[colour], colour, thick=2.5)
        for q in range(3):
            for r in range(3):
                p.circle(left + (r + 0.5) * CELL, top + (q + 0.5) * CELL, 3.5, colour)
        p.rect(left + CELL + 5, top + CELL + 5, CELL - 10, CELL - 10, "none", colour, thick=1.5)
    x2, y2 = 440, y + CELL
    p.text(x2, y2 - 14, "result 4 x 3", bold=True)
    grid(p, x2, y2, 4, 3)
    for (i, j), colour in (((0, 0), BLUE), ((2, 1), ORANGE)):
        p.rect(x2 + i * CELL + 2, y2 + j * CELL + 2, CELL - 4, CELL - 4, TINT[colour], colour, thick=2.5)
    p.text(x2, y2 + 3 * CELL + 24, "square: the centre,", fill=FAINT)
    p.text(x2, y2 + 3 * CELL + 42, "offset + stride * (i, j)", fill=FAINT)
    return p


def dilated_window():
    p = Picture(640, 300, "Taps of a dilated window")
    p.text(30, 30, "3 x 3 taps, dilation 2", bold=True)
    x, y = 44, 54
    grid(p, x, y, 7, 7)
    left, top = x + CELL, y + CELL
    p.rect(left + 2, top + 2, 5 * CELL - 4, 5 * CELL - 4, "none", BLUE, "4 3", 2)
    for q in range(3):
        for r in range(3):
            p.rect(left + 2 * r * CELL + 3, top + 2 * q * CELL + 3, CELL - 6, CELL - 6, TINT[BLUE], BLUE, thick=2)
    p.rect(left + 2 * CELL + 7, top + 2 * CELL + 7, CELL - 14, CELL - 14, "none", BLUE, thick=2)
    p.text(left, y + 7 * CELL + 24, "extent (3 - 1) * 2 + 1 = 5", fill=FAINT)
    x, y = 330, 54
    p.text(x, 30, "along one axis", bold=True)
    for row, (taps, rate) in enumerate(((3, 2), (2, 3), (3, 1))):
        top, extent = y + row * 84, (taps - 1) * rate + 1
        p.text(x, top + 6, f"{taps} taps, dilation {rate}", fill=FAINT)
        for i in range(-3, 4):
            used = any(i == rate * t - extent // 2 for t in range(taps))
            p.cells(x + (i + 3) * CELL, top + 14, [i], fill=TINT[COLOURS[row]] if used else "#ffffff")
        p.line(x + 3.5 * CELL, top + 64, x + 3.5 * CELL, top + 45, COLOURS[row], 2, arrow=True)
    return p


def transposed_convolution():
    """As CNNConvolutionTranspose computes: source 1, 10, 100, weights 1, 2, 3, stride 2, offset 0."""
    source, weights, stride, taps = (1, 10, 100), (1, 2, 3), 2, 3
    expanded = [source[i // stride] if i % stride == 0 else 0 for i in range((len(source) - 1) * stride + 1)]
    results = [
        sum(weights[q] * expanded[x - taps // 2 + q] for q in range(taps) if 0 <= x - taps // 2 + q < len(expanded))
        for x in range(len(expanded))
    ]
    p = Picture(640, 428, "Transposed convolution: gathered from the expanded source, or scattered from the source")
    size, x = 52, 150
    p.text(20, 30, "gather: every result reads 3 pixels of the expanded source", bold=True)
    p.text(20, 72, "expanded", fill=FAINT)
    p.cells(x, 50, expanded, size, [TINT[BLUE] if i % stride == 0 else TINT[FAINT] for i in range(5)])
    at = lambda i: x + (i + 0.5) * size  # noqa: E731
    for i in range(5):
        for q in range(taps):
            j = i - taps // 2 + q
            if 0 <= j < 5:
                colour, thick, dash = (ORANGE, 1.6, "") if j % stride == 0 else (LINE, 1, "3 3")
                p.line(at(j), 104, at(i) + 6 * (q - 1), 146, colour, thick, dash, True)
    p.text(20, 176, "result", fill=FAINT)
    p.cells(x, 150, results, size, TINT[ORANGE])
    p.text(x + 5 * size + 16, 72, "weights 1, 2, 3", fill=INK)
    p.text(x + 5 * size + 16, 92, "stride 2, offset 0", fill=FAINT)
    p.text(20, 244, "scatter: every source pixel adds pixel * (3, 2, 1) around its place", bold=True)
    p.text(20, 286, "source", fill=FAINT)
    for i, value in enumerate(source):
        p.cells(x + stride * i * size, 264, [value], size, TINT[BLUE])
        for q in range(taps):
            j = stride * i + taps // 2 - q
            if 0 <= j < 5:
                p.line(at(stride * i), 318, at(j), 362, COLOURS[i], 1.6, arrow=True)
                side = -1 if j < stride * i else 1
                middle = (at(stride * i) + at(j)) / 2
                p.text(middle + (2 * side if j != stride * i else 8), 338, weights[q], 12, COLOURS[i], "middle")
    p.text(20, 392, "result", fill=FAINT)
    p.cells(x, 366, results, size, TINT[ORANGE])
    return p


def sampling_axis(p, x, y, title, source, positions, colour):
    """Source pixels as circles on a line, and below it where results are read."""
    p.text(x, y, title, bold=True)
    line = y + 34
    at = lambda u: x + 30 + u * 170  # noqa: E731
    p.line(at(0), line, at(source - 1), line, LINE, 1.2)
    for i in range(source):
        p.circle(at(i), line, 9, TINT[BLUE], BLUE)
        p.text(at(i), line + 4.5, i, 12, INK, "middle")
    read = {}
    for d, u in enumerate(positions):
        read.setdefault(min(max(u, 0), source - 1), []).append(str(d))
    for u, results in read.items():
        p.line(at(u), line + 12, at(u), line + 26, colour, 2)
        p.text(at(u), line + 42, ", ".join(results), 12, colour, "middle")


def upsampling():
    source, factor = 4, 2
    results = source * factor
    p = Picture(640, 330, "Where the results of an up-sampling by 2 are read")
    nearest = [d // factor for d in range(results)]
    sampling_axis(p, 24, 30, "nearest: result d reads pixel d / 2, rounded down", source, nearest, GREEN)
    plain = [d / factor for d in range(results)]
    title = "bilinear: result d is read at d / 2; the last ones repeat the last pixel"
    sampling_axis(p, 24, 130, title, source, plain, ORANGE)
    aligned = [d * (source - 1) / (results - 1) for d in range(results)]
    sampling_axis(p, 24, 230, "bilinear, alignCorners: result d is read at d * 3 / 7", source, aligned, VIOLET)
    return p


def resize():
    source, results = 4, 6
    p = Picture(640, 230, "Four source pixels become six")
    plain = [d * source / results for d in range(results)]
    sampling_axis(p, 24, 30, "resizeWidth 6 of 4 pixels: result d is read at d * 4 / 6", source, plain, ORANGE)
    aligned = [d * (source - 1) / (results - 1) for d in range(results)]
    sampling_axis(p, 24, 130, "alignCorners: result d is read at d * 3 / 5", source, aligned, VIOLET)
    return p


def crop_and_resize():
    width, height, size = 8, 6, 34
    p = Picture(640, 300, "Two boxes of one image")
    x, y = 60, 64
    p.text(24, 30, "an image of 8 x 6 pixels; 0 and 1 are the middles of the first and last pixel", bold=True)
    grid(p, x, y, width, height, size=size)
    at = lambda u, v: (x + (u + 0.5) * size, y + (v + 0.5) * size)  # noqa: E731
    boxes = (((0.1, 0.2), (0.5, 0.5), 4, 3, BLUE), ((1.1, 0.5), (-0.45, 0.45), 3, 3, ORANGE))
    for row, ((u0, v0), (du, dv), columns, rows, colour) in enumerate(boxes):
        ends = [at(u * (width - 1), v * (height - 1)) for u, v in ((u0, v0), (u0 + du, v0 + dv))]
        left, right = sorted(e[0] for e in ends)
        top, bottom = sorted(e[1] for e in ends)
        p.rect(left, top, right - left, bottom - top, "none", colour, "4 3", 2)
        for j in range(rows):
            for i in range(columns):
                u = (u0 + i * du / (columns - 1)) * (width - 1)
                v = (v0 + j * dv / (rows - 1)) * (height - 1)
                inside = 0 <= u <= width - 1 and 0 <= v <= height - 1
                px, py = at(u, v)
                p.circle(px, py, 4.5, colour if inside else "#ffffff", colour)
                if j == 0 and i in (0, columns - 1):
                    p.text(px, py - 9, i, 12, colour, "middle")
        p.text(380, 120 + 60 * row, f"x {u0}, y {v0}, size {du} x {dv}", fill=colour)
        p.text(380, 138 + 60 * row, f"read at {columns} x {rows} places", fill=FAINT)
    p.text(380, 216, "negative size: mirrored", fill=FAINT)
    p.text(380, 234, "empty dots: outside, 0", fill=FAINT)
    return p


def sub_pixel():
    p = Picture(660, 220, "Four channels become a block of 2 x 2 pixels")
    p.text(30, 30, "z: 3 x 2 pixels of 4 channels", bold=True)
    size = 58
    for row in range(2):
        for column in range(3):
            x, y = 40 + column * size, 50 + row * size
            p.rect(x, y, size, size, "#ffffff")
            for c in range(4):
                p.rect(x + 4 + (c % 4) * 12.5, y + 14, 12.5, 30, TINT[COLOURS[c]], COLOURS[c])
                p.text(x + 10.2 + (c % 4) * 12.5, y + 34, c, 12, INK, "middle")
    p.line(232, 108, 290, 108, INK, 1.8, arrow=True)
    p.text(261, 98, "r = 2", 13, INK, "middle")
    p.text(318, 30, "result: 6 x 4 pixels of 1 channel", bold=True)
    small = 32
    for y in range(4):
        for x in range(6):
            c = 2 * (y % 2) + x % 2
            p.rect(320 + x * small, 46 + y * small, small, small, TINT[COLOURS[c]])
            p.text(320 + (x + 0.5) * small, 46 + (y + 0.5) * small + 4.5, c, 13, INK, "middle")
    for y in range(2):
        for x in range(3):
            p.rect(320 + 2 * x * small, 46 + 2 * y * small, 2 * small, 2 * small, "none", INK, thick=1.8)
    p.text(318, 200, "channel 2 * (y mod 2) + x mod 2 of z(y / 2, x / 2)", fill=FAINT)
    return p


def cross_channel():
    channels, size = 10, 40
    p = Picture(640, 286, "Windows across channels")
    p.text(24, 28, "the channels of one pixel", bold=True)
    p.cells(40, 44, range(channels), size)
    for row, (n, k) in enumerate(((5, 4), (4, 4), (5, 0), (5, 9))):
        y, colour = 108 + 44 * row, COLOURS[row]
        window = [q for q in range(k - n // 2, k + (n - 1) // 2 + 1)]
        inside = [q for q in window if 0 <= q < channels]
        p.line(40 + inside[0] * size + 6, y, 40 + (inside[-1] + 1) * size - 6, y, colour, 3)
        for q in inside:
            p.circle(40 + (q + 0.5) * size, y, 5 if q != k else 8, colour)
        cut = "" if inside == window else ", cut"
        p.text(40 + channels * size + 16, y + 5, f"N = {n}, k = {k}{cut}", fill=colour)
    p.text(40, 272, "large dot: k · an even N has one more channel below", 12, FAINT)
    return p


def edge_modes():
    p = Picture(640, 282, "Five edge modes along one axis")
    letters, n, before = "abcd", 4, 4
    for row, mode in enumerate(("Zero", "Constant", "Clamp", "Mirror", "MirrorWithEdge")):
        y = 50 + 44 * row
        p.text(24, y + 19, mode, bold=True)
        for i in range(-before, n + before):
            j = mapped(i, n, mode)
            word = letters[j] if j is not None else "0" if mode == "Zero" else "f"
            inside = 0 <= i < n
            x = 190 + (i + before) * CELL
            p.cells(x, y, [word], fill=TINT[BLUE] if inside else TINT[FAINT], dash="" if inside else "3 3")
    p.text(190 + before * CELL, 34, "source", fill=BLUE)
    p.text(190 + 12 * CELL + 14, 50 + 44 + 19, "f: fillValue", fill=FAINT)
    return p


def local_correlation():
    p = Picture(640, 300, "One pixel of A, nine pixels of B, nine channels of the result")
    y = 60
    for x, word, width in ((40, "A", 7), (270, "B", 7)):
        p.text(x, 40, word, 15, bold=True)
        grid(p, x, y, width, 7)
    px = 3
    p.rect(40 + px * CELL + 2, y + px * CELL + 2, CELL - 4, CELL - 4, TINT[BLUE], BLUE, thick=2.5)
    for n in range(3):
        for m in range(3):
            column, row = px + (m - 1) * 2, px + (n - 1) * 2
            p.rect(270 + column * CELL + 2, y + row * CELL + 2, CELL - 4, CELL - 4, TINT[ORANGE], ORANGE, thick=2)
            p.text(270 + (column + 0.5) * CELL, y + (row + 0.5) * CELL + 4.5, n * 3 + m, 13, INK, "middle")
    p.text(500, 40, "result", 15, bold=True)
    p.text(500, y + 16, "channel F of", fill=FAINT)
    p.text(500, y + 34, "the same pixel:", fill=FAINT)
    p.text(500, y + 60, "sum over z of", fill=INK)
    p.text(500, y + 78, "A[z] * B(F)[z]", fill=INK)
    p.text(500, y + 110, "F = 3 * n + m", fill=INK)
    p.text(40, 286, "windowInX = windowInY = 1, strideInX = strideInY = 2", 12, FAINT)
    return p


def recurrent():
    p = Picture(680, 400, "A recurrent stack with its two directions")
    step, box, x0 = 130, 62, 130
    rows = ((1, 52, BLUE, 1), (0, 112, BLUE, 1), (0, 262, ORANGE, -1), (1, 322, ORANGE, -1))
    for layer, y, colour, direction in rows:
        p.text(16, y + 16, "forward" if direction > 0 else "backward", 12, colour)
        p.text(16, y + 31, f"layer {layer}", 12, colour)
        for t in range(4):
            x = x0 + t * step
            p.rect(x, y, box, 36, TINT[colour], colour, thick=1.5, round_=5)
            p.text(x + box / 2, y + 23, f"h({t})", 13, INK, "middle")
        for t in range(3):
            a, b = x0 + t * step + box, x0 + (t + 1) * step
            p.line(*((a, y + 18, b - 3, y + 18) if direction > 0 else (b, y + 18, a + 3, y + 18)), colour, 1.6, arrow=True)
        begin = (x0 - 34, x0 - 3) if direction > 0 else (x0 + 3 * step + box + 34, x0 + 3 * step + box + 3)
        p.line(begin[0], y + 18, begin[1], y + 18, colour, 1.6, arrow=True)
        p.text(begin[0] + (0 if direction > 0 else 4), y + 12, "0", 12, colour, "middle" if direction > 0 else "start")
    p.text(16, 222, "source", 13, INK)
    for t in range(4):
        x = x0 + t * step
        p.rect(x, 192, box, 36, "#ffffff", INK, thick=1.5)
        p.text(x + box / 2, 215, f"x({t})", 13, INK, "middle")
        centre = x + box / 2
        p.line(centre, 192, centre, 151, INK, 1.4, arrow=True)
        p.line(centre, 112, centre, 91, BLUE, 1.4, arrow=True)
        p.line(centre, 52, centre, 34, BLUE, 1.4, arrow=True)
        p.text(centre, 26, f"forward({t})", 12, BLUE, "middle")
        p.line(centre, 228, centre, 259, INK, 1.4, arrow=True)
        p.line(centre, 298, centre, 319, ORANGE, 1.4, arrow=True)
        p.line(centre, 358, centre, 374, ORANGE, 1.4, arrow=True)
        p.text(centre, 389, f"backward({t})", 12, ORANGE, "middle")
    return p


def pictures():
    """Every picture by its name."""
    drawn = (windows, windows_2d, dilated_window, transposed_convolution, upsampling, resize, crop_and_resize, sub_pixel,
             cross_channel, edge_modes, local_correlation, recurrent)
    return {draw.__name__: draw().svg() for draw in drawn}
