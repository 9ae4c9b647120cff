"""Single scattered cells are noise and go; solid rectangles stay.

noise = cells that belong to no solid rectangle of two by two or more
output = remove noise(input, noise)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [[0] * len(row) for row in grid]
    for row in range(len(grid) - 1):
        for col in range(len(grid[0]) - 1):
            square = [grid[row + i][col + j] for i in (0, 1) for j in (0, 1)]
            if all(square):
                for i in (0, 1):
                    output[row + i][col : col + 2] = square[2 * i : 2 * i + 2]
    return output
