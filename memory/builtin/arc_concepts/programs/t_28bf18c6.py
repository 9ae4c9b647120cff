"""The figure is cut out and shown twice, side by side.

figure = crop to bounding box(the only object)
output = concatenate grids([figure, figure], direction = to the right)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    rows = [row for row, line in enumerate(grid) if any(line)]
    cols = [col for col, line in enumerate(zip(*grid, strict=True)) if any(line)]
    figure = [line[cols[0] : cols[-1] + 1] for line in grid[rows[0] : rows[-1] + 1]]
    return [row + row for row in figure]
