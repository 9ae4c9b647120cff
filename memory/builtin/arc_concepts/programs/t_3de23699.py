"""Four cells of one color mark the corners of a rectangle; its inside is cut out, and takes the color of the marks.

color key = marks = corner marks(color that occurs exactly four times)
inside = crop(input, between the marks, without them)
output = recolor object(inside, color of the marks)
"""

from collections import Counter


def transform(grid: list[list[int]]) -> list[list[int]]:
    cells = [(row, col, color) for row, line in enumerate(grid) for col, color in enumerate(line) if color]
    counts = Counter(color for _, _, color in cells)

    def is_frame(color: int) -> bool:
        rows = {row for row, _, other in cells if other == color}
        cols = {col for _, col, other in cells if other == color}
        return counts[color] == 4 and len(rows) == len(cols) == 2

    mark = next(color for color in counts if is_frame(color))
    top, bottom = sorted({row for row, _, color in cells if color == mark})
    left, right = sorted({col for _, col, color in cells if color == mark})
    return [[mark if color else 0 for color in row[left + 1 : right]] for row in grid[top + 1 : bottom]]
