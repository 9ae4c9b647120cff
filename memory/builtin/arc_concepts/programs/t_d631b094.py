"""All colored cells in one row.

count = count cells(input, not background)
output = one row of count cells in their color
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [[color for row in grid for color in row if color]]
