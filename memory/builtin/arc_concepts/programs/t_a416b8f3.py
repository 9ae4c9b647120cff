"""The grid twice, side by side.

output = concatenate grids([input, input], direction = to the right)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [row + row for row in grid]
