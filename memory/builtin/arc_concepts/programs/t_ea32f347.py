"""Three bars, lying or standing, are colored by rank of length: longest 1, middle 4, shortest 2.

bars = extract objects(input, color 5, touching by a side)
ranked = sort by(bars, object size, largest first)
recolor object(each of ranked, scheme = color by rank [1, 4, 2])
"""

Cell = tuple[int, int]


def objects_of(cells: set[Cell]) -> list[set[Cell]]:
    """The cells in groups that hang together by their sides."""
    left, groups = set(cells), []
    while left:
        group: set[Cell] = set()
        edge = [left.pop()]
        while edge:
            row, col = edge.pop()
            group.add((row, col))
            near = left & {(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)}
            left -= near
            edge.extend(near)
        groups.append(group)
    return groups


def transform(grid: list[list[int]]) -> list[list[int]]:
    cells = {(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color}
    output = [row[:] for row in grid]
    for color, bar in zip((1, 4, 2), sorted(objects_of(cells), key=len, reverse=True), strict=True):
        for row, col in bar:
            output[row][col] = color
    return output
