"""The place of the mark in a row gives the row its color: left 2, middle 4, right 3.

for each row:
    column = position of the cell of color 5
    paint cells(the whole row, rule = color by position(column, {0: 2, 1: 4, 2: 3}))
"""

COLOR_OF_COLUMN = (2, 4, 3)


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [[COLOR_OF_COLUMN[row.index(5)]] * len(row) for row in grid]
