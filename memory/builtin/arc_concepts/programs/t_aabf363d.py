"""The cell in the bottom left corner names the color for the figure, and then goes.

key = color key(cell in the bottom left corner)
remove the key
output = recolor object(the other object, color of the key)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    key = grid[-1][0]
    output = [[key if color else 0 for color in row] for row in grid]
    output[-1][0] = 0
    return output
