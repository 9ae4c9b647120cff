"""Lines cut the grid into rectangles; the output has one cell for each rectangle, in the color between the lines.

lattice: lines = separator line(full rows and columns of one color)
count down, count across = number of stretches between the lines
output = grid of count down by count across, in the color between the lines
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    line = next(row[0] for row in grid if len(set(row)) == 1)
    ground = next(color for row in grid for color in row if color != line)
    down = sum(1 for row in grid if set(row) == {line}) + 1
    across = sum(1 for column in zip(*grid, strict=True) if set(column) == {line}) + 1
    return [[ground] * across for _ in range(down)]
