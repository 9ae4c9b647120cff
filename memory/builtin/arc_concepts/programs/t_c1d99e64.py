"""Rows and columns without any colored cell get color 2.

empty rows, empty columns = full line(color = background)
output = recolor object(each of them, color 2)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    columns = {col for col, column in enumerate(zip(*grid, strict=True)) if not any(column)}
    return [[2 if not any(row) or col in columns else color for col, color in enumerate(row)] for row in grid]
