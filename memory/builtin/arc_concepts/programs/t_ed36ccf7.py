"""The grid is turned by a quarter turn to the left.

output = rotate grid(input, 90 degrees counterclockwise)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    columns = [list(column) for column in zip(*grid, strict=True)]
    return columns[::-1]
