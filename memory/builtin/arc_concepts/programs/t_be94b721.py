"""Every object has a color of its own; the one with the most cells is cut out.

objects = extract objects(input, one per color)
largest = select extreme object(objects, object size, largest)
output = crop to bounding box(largest)
"""

from collections import Counter


def transform(grid: list[list[int]]) -> list[list[int]]:
    largest = Counter(color for row in grid for color in row if color).most_common(1)[0][0]
    rows = [row for row, line in enumerate(grid) if largest in line]
    cols = [col for col, line in enumerate(zip(*grid, strict=True)) if largest in line]
    box = [line[cols[0] : cols[-1] + 1] for line in grid[rows[0] : rows[-1] + 1]]
    return [[color if color == largest else 0 for color in row] for row in box]
