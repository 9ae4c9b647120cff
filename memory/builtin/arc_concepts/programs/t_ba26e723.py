"""In every third column, counted from the first, color 4 becomes 6.

output = paint cells(those of color 4, rule = color by position(column modulo 3, {0: 6, otherwise: 4}))
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [[6 if color == 4 and col % 3 == 0 else color for col, color in enumerate(row)] for row in grid]
