"""Objects of exactly six cells get color 2, all others color 1.

objects = extract objects(input, color 5, touching by a side)
for each object:
    recolor object(object, scheme = color by size {6: 2, otherwise: 1})
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
    for cells_of_one in objects_of(cells):
        for row, col in cells_of_one:
            output[row][col] = 2 if len(cells_of_one) == 6 else 1
    return output
