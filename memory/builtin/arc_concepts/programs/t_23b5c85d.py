"""Rectangles overlap; the one of the smallest area is cut out.

solid rectangles = extract objects(input, one per color)
smallest = select extreme object(solid rectangles, object size, smallest)
output = crop to bounding box(smallest)
"""

from collections import Counter


def transform(grid: list[list[int]]) -> list[list[int]]:
    smallest = Counter(color for row in grid for color in row if color).most_common()[-1][0]
    rows = [row for row, line in enumerate(grid) if smallest in line]
    cols = [col for col, line in enumerate(zip(*grid, strict=True)) if smallest in line]
    return [line[cols[0] : cols[-1] + 1] for line in grid[rows[0] : rows[-1] + 1]]
