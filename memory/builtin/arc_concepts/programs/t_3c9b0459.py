"""The grid is turned by half a turn.

output = rotate grid(input, 180 degrees)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [row[::-1] for row in grid[::-1]]
