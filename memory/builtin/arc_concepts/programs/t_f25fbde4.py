"""The figure is cut out and drawn twice as large.

figure = crop to bounding box(the only object)
output = upscale grid(figure, factor = 2)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    rows = [row for row, line in enumerate(grid) if any(line)]
    cols = [col for col, line in enumerate(zip(*grid, strict=True)) if any(line)]
    figure = [line[cols[0] : cols[-1] + 1] for line in grid[rows[0] : rows[-1] + 1]]
    return [[color for color in row for _ in range(2)] for row in figure for _ in range(2)]
