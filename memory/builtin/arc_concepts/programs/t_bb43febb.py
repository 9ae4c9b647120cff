"""The inside of each solid rectangle gets color 2; its outline stays.

interior = interior of rectangle(each solid rectangle of color 5)
output = recolor object(interior, color 2)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for row in range(1, len(grid) - 1):
        for col in range(1, len(grid[0]) - 1):
            block = {color for line in grid[row - 1 : row + 2] for color in line[col - 1 : col + 2]}
            if block == {5}:
                output[row][col] = 2
    return output
