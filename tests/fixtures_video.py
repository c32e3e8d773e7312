"""Stand-ins for video datasets, in the true layout on the disk: cartoon faces that move, encoded as their owners do."""
import csv, functools, json
from fractions import Fraction
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from diffsda.faces import DYNAMIC, render
from diffsda.toys import sample_dynamic, sample_static

CAST = (8, 27, 98, 194, 208, 288, 339, 433, 600) # cartoon identities whose faces a Haar cascade finds


@functools.lru_cache(maxsize=None)
def performance(who,     # which identity of the cast
                take=0,  # which performance
                n=24,    # frames
                size=96, # pixels of a side
               ):        # (n, size, size, 3) uint8
    "One identity performs: the head turns and tilts a little, eyes and mouth move freely."
    static = sample_static(CAST[who % len(CAST)] + 1)[-1:]
    dynamic = sample_dynamic(take + 1, n_frames=max(n, 8))[0][-1:, :n].clone()
    dynamic[..., [DYNAMIC.index('yaw'), DYNAMIC.index('roll')]] *= .15
    dynamic[..., DYNAMIC.index('eye_open')] = .5 + .3 * dynamic[..., DYNAMIC.index('eye_open')]
    torch.set_num_threads(1)
    return (render(static, dynamic, size)[0].permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


def scene(faces,           # (n, h, w, 3) uint8
          at=(40, 20),     # left, top: where the face is put
          size=(144, 192), # height, width of the frame
          ground=128,      # mean grey of the wall
         ):                # (n, *size, 3) uint8
    "The performance in front of a wall with a soft gradient."
    gradient = np.linspace(ground - 30, ground + 30, size[1])[None, :, None]
    wall = np.clip(gradient + np.zeros((*size, 3)), 0, 255).astype(np.uint8)
    out = np.repeat(wall[None], len(faces), 0)
    (x, y), (h, w) = at, faces.shape[1:3]
    out[:, y:y + h, x:x + w] = faces
    return out


def write_video(path,            # its folder is made
                frames,          # (n, h, w, 3) uint8
                fps=25,
                times=None,      # seconds at which each frame is shown: a variable rate
                codec='libx264',
                turned=0,        # degrees clockwise by which it is to be turned when shown
               ):                # Path
    "A real encoded file; a rotation is noted in its header, as phones do it."
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
    if turned: note_rotation(path, turned)
    return Path(path)


def note_rotation(path, turned): # of an MP4; 90, 180 or 270
    "The matrix of the track header says how a video is to be turned (ISO 14496-12)."
    b = bytearray(Path(path).read_bytes())
    at = b.index(b'tkhd') + 44
    a, c = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turned]
    matrix = (a << 16, c << 16, 0, -c << 16, a << 16, 0, 0, 0, 1 << 30)
    b[at:at + 36] = b''.join(int(v).to_bytes(4, 'big', signed=True) for v in matrix)
    Path(path).write_bytes(b)


def write_images(folder,              # is made
                 frames,              # (n, h, w, 3) uint8
                 name='img_{:04d}.jpg',
                 **save,              # options of PIL's save
                ):                    # Path
    Path(folder).mkdir(parents=True, exist_ok=True)
    if name.endswith('jpg'): save = {'quality': 92} | save
    for i, frame in enumerate(frames): Image.fromarray(frame).save(Path(folder) / name.format(i), **save)
    return Path(folder)


def make_mug(folder,
             subjects=('001', '002', '010'),
             expressions=('anger', 'happiness', 'neutral'),
             n=16,           # frames of a sequence
             sessions=False, # a session folder between subject and expression
            ):               # Path
    "As the MUG group distributes it: 001/happiness/take000/img_0000.jpg, 19 frames a second; or with sessions between."
    for i, subject in enumerate(subjects):
        for j, expression in enumerate(expressions):
            place = Path(folder) / subject / ('session0' if sessions else '') / expression / f'take{j:03d}'
            write_images(place, scene(performance(i, j, n), at=(30 + 10 * i, 24)))
    return Path(folder)


def make_taichi(folder,
                videos=('u6rJiF-gPx8', '_L745tFFmCQ'),
                scale=.5, # size of the videos here, in units of the size that the metadata were made for
               ):         # Path
    "Whole videos, two chunks each, and their metadata."
    columns, rows = ('video_id', 'start', 'end', 'bbox', 'fps', 'width', 'height'), []
    for i, video in enumerate(videos):
        chunks = [scene(performance(i, k, 24), at=(20 + 50 * k, 30)) for k in (0, 1)]
        write_video(Path(folder) / f'{video}.mp4', np.concatenate(chunks), 25)
        for k in (0, 1):
            box = '-'.join(str(round(v / scale)) for v in (20 + 50 * k, 30, 116 + 50 * k, 126))
            rows.append((video, 24 * k, 24 * k + 24, box, 25.0, 192 / scale, 144 / scale))
    with open(Path(folder) / 'taichi-metadata.csv', 'w', newline='') as f: csv.writer(f).writerows([columns, *rows])
    return Path(folder)


def make_voxceleb(folder,
                  speakers=('id10001', 'id10270', 'id10271'),  # tracks as videos, 25 frames a second
                  images=('Eartha_Kitt', 'Adam_Driver'),       # tracks as images, every sixth frame
                 ): # Path
    for i, speaker in enumerate(speakers):
        for j in range(2):
            track = Path(folder) / speaker / f'1zcIwhmdeo{j}' / f'{j + 1:05d}.mp4'
            write_video(track, np.repeat(performance(i, j, 16, 128), 4, 0), 25)
    for i, name in enumerate(images):
        write_images(Path(folder) / name / '1.6' / 'Y8hIVOBuels' / '1', performance(i, 2, 12, 128), '{:07d}.jpg')
    return Path(folder)


def make_celebv(folder,
                clips=('M2Ohb0FAaJU_1', '_0tf2n3rlJU_0', 'gone4ever_0_3'),
               ): # Path
    "The owners' JSON; the first clip is processed, the second still to be cut from its film, the third is lost."
    looks = ['Blurry', 'Male', 'Young'] + [f'look_{i}' for i in range(37)]
    acts = ['blow', 'chew', 'close_eyes'] + [f'act_{i}' for i in range(32)]
    calm = {'sep_flag': False, 'labels': 'neutral'}
    moods = [dict(emotion='neutral', start_sec=0, end_sec=.3), dict(emotion='happy', start_sec=.3, end_sec=.8)]
    entries = {}
    for i, name in enumerate(clips):
        video = name.rsplit('_', 2)[0] if name.count('_') > 1 and i == 2 else name[:-2]
        attributes = dict(appearance=[(i + k) % 2 for k in range(40)], action=[int(k == i) for k in range(35)],
                          emotion={'sep_flag': True, 'labels': moods} if i == 1 else calm)
        entries[name] = dict(ytb_id=video, duration=dict(start_sec=.8, end_sec=1.6), attributes=attributes,
                             bbox=dict(top=30 / 144, bottom=126 / 144, left=.5, right=1.0), version='v0.1')
        if i == 0: write_video(Path(folder) / 'processed' / f'{name}.mp4', performance(i, 1, 20, 128))
        if i == 1:
            parts = [scene(performance(i, k, 20), at=(96 * k, 30), ground=60 + 90 * k) for k in (0, 1)]
            write_video(Path(folder) / 'raw' / f'{video}.mp4', np.concatenate(parts))
    info = dict(meta_info=dict(appearance_mapping=looks, action_mapping=acts), clips=entries)
    (Path(folder) / 'celebvhq_info.json').write_text(json.dumps(info))
    return Path(folder)


def make_grid(folder): # -> Path
    "As GRID's owners publish it: MPEG-1, three talkers."
    for i, (who, name) in enumerate((('s1', 'bbaf2n'), ('s1', 'lwwz9p'), ('s2', 'pgbi1s'), ('s3', 'srin4a'))):
        faces = scene(performance(i, 0, 12), at=(40 + 4 * i, 24))
        write_video(folder / f'{who}/video/mpg_6000/{name}.mpg', faces, codec='mpeg1video')
    return folder

def make_london(folder): # -> Path
    "Six people of the London set, already morphed: 000_0.png to 000_2.png and so on."
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(6):
        for k, frame in enumerate(scene(performance(i, 0, 3))): Image.fromarray(frame).save(folder / f'{i:03d}_{k}.png')
    return folder

def make_films(folder): # -> Path
    "Somebody's own: two people in folders of their names, one film with a change of scene, one recorded upright."
    for i, name in enumerate(('Ann, "the boss"', 'Zoë')):
        a, b = scene(performance(i, 0, 20)), scene(performance(i, 1, 20), at=(70, 30), ground=50)
        write_video(Path(folder) / name / 'two scenes.mp4', np.concatenate([a, b]), 12.5)
        write_video(Path(folder) / name / 'upright.mov', np.rot90(a, 1, (1, 2)), 25, turned=90)
        write_video(Path(folder) / name / 'dark.mkv', b, times=np.cumsum([.04, .08] * 10))
    return Path(folder)


# films whose frames carry their numbers, so that truth needs no decoder

BITS = 8 # columns of the picture: black or white above, the contrary below


def numbered(n=30,           # frames
             size=(48, 64),  # height, width
             first=0,        # number of the first
            ):               # (n, *size, 3) uint8
    height, width = size
    columns = np.arange(width) * BITS // width
    on = (first + np.arange(n))[:, None] >> columns & 1
    upper = np.where(on, 210, 40).astype(np.uint8)
    picture = np.where(np.arange(height)[:, None] < height // 2, upper[:, None], 250 - upper[:, None])
    return np.repeat(picture[..., None], 3, -1).astype(np.uint8)


def number(frame): # (h, w, 3) uint8 -> the number that it shows; -1: a mixture of several
    height, width = frame.shape[:2]
    y, x = (np.array([.25, .75]) * height).astype(int), ((np.arange(BITS) + .5) * width / BITS).astype(int)
    above, below = frame.mean(-1)[y][:, x]
    clear = np.abs(above - below) > 80
    return int(((above > below) << np.arange(BITS)).sum()) if clear.all() else -1


def numbers(frames): return [number(f) for f in frames]


def encoded(path,                  # its folder is made
            frames,                # (n, h, w, 3) uint8
            codec='libx264',
            options={},            # of the encoder
            rate=25,               # frames a second
            times=None,            # whole milliseconds at which each frame is shown
            pixels='yuv420p',      # format
            aspect=None,           # width of a pixel in its heights, a Fraction
            muxer={},              # options of the container
            container=None,        # name of its format; None: by the suffix
           ):                      # Path
    import av
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w', format=container, options=muxer) as f:
        s = f.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        s.height, s.width, s.pix_fmt, s.options = *frames.shape[1:3], pixels, dict(options)
        s.codec_context.thread_count = 1
        if aspect: s.codec_context.sample_aspect_ratio = aspect
        if times is not None: s.codec_context.time_base = Fraction(1, 1000)
        for i, frame in enumerate(frames):
            layout = 'rgba' if frame.shape[-1] == 4 else 'rgb24'
            v = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=layout)
            if times is not None: v.pts, v.time_base = int(times[i]), Fraction(1, 1000)
            f.mux(s.encode(v))
        f.mux(s.encode())
    return Path(path)


def edit(path,     # of an MP4 as `encoded` writes it, its header after its data; it is changed
         segments, # list of (first frame, end frame): what a player shows; None instead of a first: nothing is shown
         rate=25,
        ):         # Path
    "Another edit list (ISO 14496-12): what phones and editors write when they trim a film without encoding it again."
    b = bytearray(Path(path).read_bytes())
    number = lambda at: int.from_bytes(b[at:at + 4], 'big')
    scale = number(b.index(b'mdhd') + 16) # ticks of the track a second; those of the film are milliseconds
    at = b.index(b'elst') - 4
    delay = int.from_bytes(b[at + 20:at + 24], 'big', signed=True)
    rows = [((end - (first or 0)) * 1000 // rate, -1 if first is None else delay + first * scale // rate)
            for first, end in segments]
    new = b'elst' + bytes(4) + len(rows).to_bytes(4, 'big')
    for length, start in rows: new += length.to_bytes(4, 'big') + start.to_bytes(4, 'big', signed=True) + b'\0\1\0\0'
    grown = len(new) + 4 - number(at)
    for box in (b'moov', b'trak', b'edts'):
        place = b.rindex(box, 0, at) - 4
        b[place:place + 4] = (number(place) + grown).to_bytes(4, 'big')
    b[at:at + number(at)] = (len(new) + 4).to_bytes(4, 'big') + new
    Path(path).write_bytes(b)
    return Path(path)
