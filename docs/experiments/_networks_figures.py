def draw_depths(*a):
    pass


def draw_directions(*a):
    pass


def draw_table(*a):
    pass
