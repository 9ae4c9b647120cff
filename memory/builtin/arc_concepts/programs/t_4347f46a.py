"""Solid rectangles are hollowed out: only their outline remains.

interior = interior of rectangle(each solid rectangle)
output = recolor object(interior, background)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for row in range(1, len(grid) - 1):
        for col in range(1, len(grid[0]) - 1):
            block = {color for line in grid[row - 1 : row + 2] for color in line[col - 1 : col + 2]}
            if len(block) == 1:
                output[row][col] = 0
    return output
