"""Two cells at the ends of a row each color their half; the cell in the middle gets color 5.

for each cell pair at the ends of a row:
    draw line between(left end, middle, color of the left end)
    draw line between(middle, right end, color of the right end)
    the middle = color 5
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    half = len(grid[0]) // 2
    return [[row[0]] * half + [5] + [row[-1]] * half if row[0] else row for row in grid]
