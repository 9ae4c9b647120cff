"""Rows and columns that repeat the one before them go.

mosaic of stripes
rows = remove repeated lines(input, rows)
output = remove repeated lines(rows, columns)
"""

from itertools import groupby


def transform(grid: list[list[int]]) -> list[list[int]]:
    rows = [row for row, _ in groupby(grid)]
    columns = [column for column, _ in groupby(zip(*rows, strict=True))]
    return [list(row) for row in zip(*columns, strict=True)]
