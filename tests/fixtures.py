"""Stand-ins for what the owners of datasets distribute: small, made here, in the true layout on the disk."""
import colorsys, contextlib, io, runpy, signal, sys
from pathlib import Path
import numpy as np
from PIL import Image, ImageDraw


def puppet(draw, # PIL.ImageDraw
           part, # layer of the character
           x, y, # corner of the cell, pixels
           row,  # of the cell in its sheet: which action, which direction
           col,  # of the cell in its sheet: which moment
           z,    # pixels a unit
          ):
    "One layer of one cell of a character sheet: limbs are lines, the rest is round."
    act, turn = ('cast', 'thrust', 'walk', 'slash', 'shoot', 'hurt')[row // 4], (0, -1, 0, 1)[row % 4]
    swing = 5 * np.sin(2 * np.pi * col / 8) if act == 'walk' else 0
    lift = {'walk': 0.4 * np.sin(2 * np.pi * col / 8), 'slash': 2.4 - 0.5 * col}.get(act, 0.4 * col)
    def arm(k): # -1: left, 1: right -> shoulder, hand
        x = 32 + k * 8
        return (x, 34), (x + 12 * np.sin(k * 0.3 + lift * (turn or k)), 34 + 12 * np.cos(lift))
    def leg(k): # hip, foot
        x = 32 + k * 4
        return (x, 46), (x + k * swing * (0.4 + 0.6 * abs(turn)), 58 - (k * swing > 2))
    arms, legs = [arm(k) for k in (-1, 1)], [leg(k) for k in (-1, 1)]
    def at(*points): return [(x + z * a, y + z * b) for a, b in points]
    def line(points, width): draw.line(at(*points), fill=255, width=width * z)
    def ball(cx, cy, rx, ry): draw.ellipse(at((cx - rx, cy - ry), (cx + rx, cy + ry)), fill=255)
    if part == 'body':
        ball(32 + turn, 24, 8, 9)
        ball(32, 40, 6, 10)
        for limb in arms + legs: line(limb, 5)
    if part == 'bottomwear':
        for limb in legs: line(limb, 7)
    if part == 'topwear':
        ball(32, 39, 9, 9)
        for a, b in arms: line((a, ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)), 7)
    if part == 'hair':
        ball(32 - 2 * turn, 18, 10, 6)
        if turn: ball(32 - 6 * turn, 24, 4, 8)
    if part == 'shoes':
        for _, (a, b) in legs: ball(a + turn * 2, b, 4, 2)


def make_sprite_sheets(folder): # is made; -> Path of the folder, which then holds the 25 sheets
    "As GitHub YingzhenLi/Sprites: RGBA PNGs of 832 x 1344, six tints of one silhouette a layer, soft edges."
    for i, part in enumerate(('body', 'bottomwear', 'topwear', 'hair', 'shoes')):
        mask = Image.new('L', (2 * 832, 2 * 1344))
        draw = ImageDraw.Draw(mask)
        for cell in range(21 * 13):
            row, col = divmod(cell, 13)
            puppet(draw, part, col * 128, row * 128, row, col, 2)
        mask = mask.resize((832, 1344), Image.BOX)
        (Path(folder) / part).mkdir(parents=True, exist_ok=True)
        for v in (range(6) if part != 'shoes' else [1]):
            saturation, value = (0.35, 0.8, 0.6, 0.9, 0.2)[i], (0.95, 0.6, 0.9, 0.7, 0.4)[i]
            tint = colorsys.hsv_to_rgb((v / 6 + i / 17) % 1, saturation, value)
            sheet = Image.new('RGBA', (832, 1344), tuple(round(255 * c) for c in tint))
            sheet.putalpha(mask)
            sheet.save(Path(folder) / part / f'{v}.png', compress_level=1)
    return Path(folder)


def run_here(argv): # list of str, a Python program and its arguments -> what it printed, its exit code
    "Run a program in this process: its imports are paid once."
    said, code, argv = io.StringIO(), 0, list(map(str, argv))
    handlers = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    old = sys.argv, sys.path[:]
    try:
        sys.argv = argv
        sys.path.insert(0, str(Path(argv[0]).parent))
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            runpy.run_path(argv[0], run_name='__main__')
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1 if e.code else 0
        if e.code and not isinstance(e.code, int): print(e.code, file=said)
    finally:
        sys.argv, sys.path[:] = old
        for s, handler in handlers.items(): signal.signal(s, handler)
    return said.getvalue(), code
