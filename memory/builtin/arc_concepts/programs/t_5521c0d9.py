"""Each rectangle moves up by its own height.

solid rectangles = extract objects(input, one per color)
for each rectangle:
    translate object(rectangle, up by its object height)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [[0] * len(grid[0]) for _ in grid]
    for wanted in {color for row in grid for color in row if color}:
        rows = [row for row, line in enumerate(grid) if wanted in line]
        for row in rows:
            for col, color in enumerate(grid[row]):
                if color == wanted:
                    output[row - len(rows)][col] = wanted
    return output
