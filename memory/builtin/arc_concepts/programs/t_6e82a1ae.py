"""The size of an object decides its color: four cells 1, three cells 2, two cells 3.

objects = extract objects(input, color 5, touching by a side)
for each object:
    recolor object(object, scheme = color by size {4: 1, 3: 2, 2: 3})
"""

Cell = tuple[int, int]
COLOR_OF_SIZE = {4: 1, 3: 2, 2: 3}


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
            output[row][col] = COLOR_OF_SIZE[len(cells_of_one)]
    return output
