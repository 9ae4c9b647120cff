"""Stripes are covered with noise; each gets the color that prevails along it.

noise = cells that differ from their stripe
direction = the one along which the lines are more uniform
for each row or column in that direction:
    whole line = most common color(line)
"""

from collections import Counter


def transform(grid: list[list[int]]) -> list[list[int]]:
    def common(lines: list[list[int]]) -> list[tuple[int, int]]:
        return [Counter(line).most_common(1)[0] for line in lines]

    rows, columns = common(grid), common([list(column) for column in zip(*grid, strict=True)])
    if sum(count for _, count in rows) > sum(count for _, count in columns):
        return [[color] * len(grid[0]) for color, _ in rows]
    return [[color for color, _ in columns] for _ in grid]
