"""All objects move up or down to the rows of the object of color 1.

objects = extract objects(input, one per color)
target = top row of the object of color 1
for each object:
    translate object(object, up or down, so that its top is at target)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    def top_of(wanted: int) -> int:
        return next(row for row, line in enumerate(grid) if wanted in line)

    output = [[0] * len(grid[0]) for _ in grid]
    for row, line in enumerate(grid):
        for col, color in enumerate(line):
            if color:
                output[row - top_of(color) + top_of(1)][col] = color
    return output
