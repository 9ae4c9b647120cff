"""A carpet that is its own mirror image in both directions has patches of color 4; what they cover is seen in the mirror.

pattern = symmetric pattern(input, axes = horizontal and vertical), damaged where color is 4
output = repair by symmetry(pattern), that is, for each damaged cell:
    images = positions of the cell reflected on each axis, and on both
    color of the cell = color of an image that is not damaged
"""

PATCH = 4


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])
    output = [row[:] for row in grid]
    for row in range(height):
        for col in range(width):
            if grid[row][col] == PATCH:
                images = (grid[-1 - row][col], grid[row][-1 - col], grid[-1 - row][-1 - col])
                output[row][col] = next((color for color in images if color != PATCH), PATCH)
    return output
