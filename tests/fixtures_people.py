"""A drawn person whose joints are known."""
import numpy as np, torch
from PIL import Image, ImageDraw

JOINTS = dict( # x, y in a frame of 256 x 256; left and right are the person's, who looks at us
    nose=(128, 45), left_shoulder=(150, 80), right_shoulder=(106, 80), left_elbow=(168, 112), right_elbow=(88, 112),
    left_wrist=(182, 145), right_wrist=(74, 145), left_hip=(142, 145), right_hip=(114, 145), left_knee=(146, 190),
    right_knee=(110, 190), left_ankle=(148, 235), right_ankle=(108, 235))
MEDIAPIPE = dict(nose=0, left_shoulder=11, right_shoulder=12, left_elbow=13, right_elbow=14, left_wrist=15,
                 right_wrist=16, left_hip=23, right_hip=24, left_knee=25, right_knee=26, left_ankle=27, right_ankle=28)
SKIN, SHIRT, TROUSERS, HAIR = (225, 180, 150), (60, 90, 160), (50, 50, 60), (70, 45, 30)

def person(size=256, **moved):
    "A frame (3, size, size) uint8, and the joints by name; joints can be moved, e.g. left_wrist=(180, 60)."
    joints, k, full = {**JOINTS, **moved}, 4, 1024
    image = Image.new('RGB', (full, full), (200, 210, 215))
    draw = ImageDraw.Draw(image)
    def at(joint): return k * joints[joint][0], k * joints[joint][1]
    def disc(x, y, w, h, colour): draw.ellipse([x - k * w, y - k * h, x + k * w, y + k * h], fill=colour)
    def limb(a, b, width, colour):
        draw.line([at(a), at(b)], fill=colour, width=width * k)
        for joint in (a, b): disc(*at(joint), width / 2, width / 2, colour)
    draw.rectangle([0, 920, full, full], fill=(150, 140, 120))
    for side in ('left', 'right'):
        limb(f'{side}_hip', f'{side}_knee', 20, TROUSERS)
        limb(f'{side}_knee', f'{side}_ankle', 16, TROUSERS)
        disc(*at(f'{side}_ankle'), 8, 6, HAIR)
    draw.polygon([at(f'{joint}') for joint in ('left_shoulder', 'right_shoulder', 'right_hip', 'left_hip')], fill=SHIRT)
    for a, b, width, colour in (('left_shoulder', 'right_shoulder', 18, SHIRT), ('left_hip', 'right_hip', 20, TROUSERS),
                                ('left_shoulder', 'left_hip', 16, SHIRT), ('right_shoulder', 'right_hip', 16, SHIRT)):
        limb(a, b, width, colour)
    for side in ('left', 'right'):
        limb(f'{side}_shoulder', f'{side}_elbow', 14, SHIRT)
        limb(f'{side}_elbow', f'{side}_wrist', 11, SKIN)
        disc(*at(f'{side}_wrist'), 7, 7, SKIN)
    x, y = at('nose')
    draw.rectangle([x - 7 * k, y + 10 * k, x + 7 * k, y + 32 * k], fill=SKIN)
    disc(x, y - 2 * k, 17, 22, SKIN)
    draw.chord([x - 18 * k, y - 27 * k, x + 18 * k, y + 10 * k], 180, 360, fill=HAIR)
    for eye in (-7, 7): disc(x + eye * k, y - 5 * k, 2.5, 2, (40, 30, 30))
    draw.line([x - 5 * k, y + 9 * k, x + 5 * k, y + 9 * k], fill=(160, 60, 60), width=2 * k)
    draw.line([x, y - 2 * k, x, y + 3 * k], fill=(190, 140, 110), width=2 * k)
    small = np.asarray(image.resize((size, size), Image.LANCZOS))
    scale = size / 256
    points = {name: ((x + .5) * scale - .5, (y + .5) * scale - .5) for name, (x, y) in joints.items()}
    return torch.from_numpy(small.copy()).permute(2, 0, 1), points
