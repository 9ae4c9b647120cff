"""A cell of color 2 that touches no other of its color by a side gets color 1.

objects = extract objects(input, color 2, touching by a side)
single = filter objects(objects, size condition: exactly 1)
output = recolor object(each of single, color 1)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])

    def alone(row: int, col: int) -> bool:
        near = ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1))
        return not any(0 <= r < height and 0 <= c < width and grid[r][c] == 2 for r, c in near)

    output = [row[:] for row in grid]
    for row in range(height):
        for col in range(width):
            if grid[row][col] == 2 and alone(row, col):
                output[row][col] = 1
    return output
