"""The rectangle is cut out, and its left and right change places.

figure = crop to bounding box(the only object, of several colors)
output = reflect grid(figure, axis = vertical)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    rows = [row for row, line in enumerate(grid) if any(line)]
    cols = [col for col, line in enumerate(zip(*grid, strict=True)) if any(line)]
    figure = [line[cols[0] : cols[-1] + 1] for line in grid[rows[0] : rows[-1] + 1]]
    return [row[::-1] for row in figure]
