"""Marks along the top and along the right name columns and rows; their crossings get color 2.

columns = axis marks(top row, color 5)
rows = axis marks(last column, color 5)
for each row of rows and column of columns:
    cell at the crossing = color 2
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for row in range(1, len(grid)):
        for col in range(len(grid[0]) - 1):
            if grid[0][col] == grid[row][-1] == 5:
                output[row][col] = 2
    return output
