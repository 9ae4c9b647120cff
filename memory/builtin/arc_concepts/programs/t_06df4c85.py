"""On a lattice, cells of the same color in one row or column are connected by filling the cells between them.

coarse = lattice(input), one color for each cell between the lines
for each cell pair of one color in a row or column of coarse:
    draw line between(pair)
output = coarse drawn back between the lattice lines
"""


def filled(line: list[int]) -> list[int]:
    """The line with the empty stretch between two equal colors filled."""
    result = line[:]
    for color in set(line) - {0}:
        first, last = line.index(color), len(line) - 1 - line[::-1].index(color)
        for place in range(first, last + 1):
            result[place] = result[place] or color
    return result


def transform(grid: list[list[int]]) -> list[list[int]]:
    coarse = [row[::3] for row in grid[::3]]
    by_row = [filled(row) for row in coarse]
    by_column = [list(row) for row in zip(*(filled(list(column)) for column in zip(*coarse, strict=True)), strict=True)]
    return [
        [
            color if row % 3 == 2 or col % 3 == 2 else by_row[row // 3][col // 3] or by_column[row // 3][col // 3]
            for col, color in enumerate(line)
        ]
        for row, line in enumerate(grid)
    ]
