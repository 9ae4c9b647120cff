"""In each row the space between two cells of the same color is filled with it.

for each row, for each cell pair of one color:
    draw line between(pair)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for row in output:
        for color in set(row) - {0}:
            first, last = row.index(color), len(row) - 1 - row[::-1].index(color)
            row[first : last + 1] = [color] * (last + 1 - first)
    return output
