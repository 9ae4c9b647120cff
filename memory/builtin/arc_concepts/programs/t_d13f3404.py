"""On a grid twice as large, each cell sends a ray down and to the right.

output = empty grid, twice as high and wide
for each source cell:
    draw ray(cell, down and right)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = 2 * len(grid), 2 * len(grid[0])
    output = [[0] * width for _ in range(height)]
    for row, line in enumerate(grid):
        for col, color in enumerate(line):
            if color:
                for distance in range(min(height - row, width - col)):
                    output[row + distance][col + distance] = color
    return output
