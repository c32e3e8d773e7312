"""Stand-ins for video datasets, in the true layout on the disk: cartoon faces that move, encoded as their owners encode."""
import csv, functools, json
from fractions import Fraction
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from diffsda.toys import DYNAMIC, render, sample_dynamic, sample_static

CAST = (8, 27, 98, 194, 208, 288, 339, 433, 600) # identities of the cartoon in whose faces a Haar cascade sees a face; in most it sees none


@functools.lru_cache(maxsize=None)
def performance(who, take=0, n=24, size=96): # -> (n, size, size, 3) uint8
    "One identity performs: the head turns and tilts a little, eyes and mouth as they like."
    static, dynamic = sample_static(CAST[who % len(CAST)] + 1)[-1:], sample_dynamic(take + 1, n_frames=max(n, 8))[0][-1:, :n].clone()
    dynamic[..., [DYNAMIC.index('yaw'), DYNAMIC.index('roll')]] *= .15
    dynamic[..., DYNAMIC.index('eye_open')] = .5 + .3 * dynamic[..., DYNAMIC.index('eye_open')]
    torch.set_num_threads(1)
    return (render(static, dynamic, size)[0].permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


def scene(faces, at=(40, 20), size=(144, 192), ground=128): # (n, h, w, 3); left, top; height, width -> (n, *size, 3)
    "The performance in a room: on a wall with a soft gradient."
    wall = np.clip(np.linspace(ground - 30, ground + 30, size[1])[None, :, None] + np.zeros((*size, 3)), 0, 255).astype(np.uint8)
    out = np.repeat(wall[None], len(faces), 0)
    (x, y), (h, w) = at, faces.shape[1:3]
    out[:, y:y + h, x:x + w] = faces
    return out


def write_video(path, frames, fps=25, times=None, codec='libx264', turned=0): # (n, h, w, 3) uint8; seconds of each frame: variable rate; degrees clockwise at which it is to be shown
    "A real encoded file; what is `turned` says so in its header, as phones do it."
    import av
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as f:
        s = f.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        s.height, s.width, s.pix_fmt = *frames.shape[1:3], 'yuv420p'
        if times is not None: s.codec_context.time_base = Fraction(1, 12800)
        if codec == 'libx264': s.options = {'crf': '12', 'g': '8', 'preset': 'veryfast', 'threads': '1'}
        for i, frame in enumerate(frames):
            v = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')
            if times is not None: v.pts, v.time_base = round(times[i] * 12800), Fraction(1, 12800)
            f.mux(s.encode(v))
        f.mux(s.encode())
    if turned:
        b = bytearray(Path(path).read_bytes()); at = b.index(b'tkhd') + 44 # ISO 14496-12: the matrix of the track header
        a, c = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turned]
        b[at:at + 36] = b''.join(int(v).to_bytes(4, 'big', signed=True) for v in (a << 16, c << 16, 0, -c << 16, a << 16, 0, 0, 0, 1 << 30))
        Path(path).write_bytes(b)
    return Path(path)


def write_pictures(folder, frames, name='img_{:04d}.jpg', **save): # -> Path
    Path(folder).mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames): Image.fromarray(frame).save(Path(folder) / name.format(i), **({'quality': 92} if name.endswith('jpg') else {}) | save)
    return Path(folder)
