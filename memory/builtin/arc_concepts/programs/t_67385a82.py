"""Objects of three cells and more get color 8, smaller ones stay.

objects = extract objects(input, color 3, touching by a side)
large = filter objects(objects, size condition: at least 3)
output = recolor object(each of large, color 8)
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
    cells = {(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color == 3}
    output = [row[:] for row in grid]
    for cells_of_one in objects_of(cells):
        if len(cells_of_one) >= 3:
            for row, col in cells_of_one:
                output[row][col] = 8
    return output
