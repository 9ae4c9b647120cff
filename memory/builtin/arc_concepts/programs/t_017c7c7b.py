"""A pattern that repeats downward goes on for half its height, in color 2.

repeating pattern with a period: the smallest number of rows after which the pattern repeats
rows = extend repeating pattern(input, period, to one and a half times the height)
output = recolor by color map(rows, {1: 2})
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    height = len(grid)
    period = next(p for p in range(1, height + 1) if all(grid[row] == grid[row - p] for row in range(p, height)))
    longer = [grid[row % period] for row in range(height + height // 2)]
    return [[2 if color else 0 for color in row] for row in longer]
