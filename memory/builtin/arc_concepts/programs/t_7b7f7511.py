"""The grid is the same picture twice, along its longer side; one of the two remains.

repeating pattern of two equal parts = split grid(input, 2 parts along the longer side)
output = the first part
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])
    if width > height:
        return [row[: width // 2] for row in grid]
    return grid[: height // 2]
