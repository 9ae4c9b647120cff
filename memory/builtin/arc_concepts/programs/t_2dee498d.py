"""The grid has three parts side by side; the first remains.

parts = split grid(input, 3 parts side by side)
output = parts[0]
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [row[: len(row) // 3] for row in grid]
