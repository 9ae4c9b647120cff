"""A cell of color 3 beside one of color 2 becomes 8, and that neighbour goes.

for each cell pair of color 3 and 2 that touch by a side:
    cell of color 3 = color 8
    cell of color 2 = background
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])
    output = [row[:] for row in grid]
    for row in range(height):
        for col in range(width):
            for r, c in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
                if grid[row][col] == 3 and 0 <= r < height and 0 <= c < width and grid[r][c] == 2:
                    output[row][col], output[r][c] = 8, 0
    return output
