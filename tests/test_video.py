"""Which frames a video gives: those that a player shows, in every container, codec and structure that can be made here.

The frames carry their numbers, so the truth needs no decoder; FFmpeg's own frames are compared as well."""
import importlib.util, itertools, sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
from PIL import Image
from diffsda.factors import BadInput, refusal
from diffsda.video import (
    ImageFolder, Video, at_rate, composed, cropped, natural_order, open_frames, read_image, times_of, turned)
from fixtures_video import edit, encoded, note_rotation, number, numbered, numbers, write_images

root = Path(__file__).resolve().parent.parent
faults = root.parent / 'shared/faults'
X264 = {'crf': '12', 'preset': 'veryfast'}
X265 = {'preset': 'ultrafast', 'x265-params': 'log-level=none:keyint=8:bframes=4:open-gop=1'}
VPX = {'g': '8', 'deadline': 'good', 'cpu-used': '5', 'lag-in-frames': '8', 'auto-alt-ref': '1', 'b': '500k'}
ASP, MPEG = {'bf': '2', 'g': '10', 'q': '3'}, {'bf': '2', 'g': '8', 'q': '3'}
OPEN = X264 | {'x264-params': 'open-gop=1:keyint=9:min-keyint=9:bframes=3:scenecut=0'}

def ffmpeg(path): # its own frames
    import av
    with av.open(str(path)) as f: return np.stack([frame.to_ndarray(format='rgb24') for frame in f.decode(video=0)])

def reading(path, **kw): return np.concatenate(list(Video(path, **kw).read()))

def holds(path, want, times=None, same=True, seed=0): # the property: `want` are the numbers that a player shows
    film = Video(path)
    frames = np.concatenate(list(film.read()))
    assert numbers(frames) == list(want), numbers(frames)
    assert len(film) == len(want) and frames.shape == (len(want), film.height, film.width, 3)
    if times is not None: assert np.abs(film.times - np.asarray(times)).max() < 2e-3, film.times
    if same: assert (frames == ffmpeg(path)).all()
    rng = np.random.default_rng(seed)
    choices = [np.flatnonzero(rng.random(len(want)) < p) for p in (.1, .5, .9)]
    for which in (*choices, at_rate(film.times, 5), at_rate(film.times, 12.5, .3, .9), np.arange(9, len(want))):
        for video in (film, Video(path)): # one that was read before, and a new one
            got = list(video.read(which))
            assert not len(which) or (np.concatenate(got) == frames[which]).all()
    return film

FILMS = { # file: codec, its options, options of `encoded`
    'closed.mp4': ('libx264', X264 | {'g': '8'}, {}),
    'open.mkv': ('libx264', OPEN, {}),
    'open.mp4': ('libx264', OPEN, {}),
    'refresh.mp4': ('libx264', X264 | {'x264-params': 'intra-refresh=1:keyint=10'}, {}),
    'without_b.mov': ('libx264', X264 | {'bf': '0'}, {}),
    'hevc.mp4': ('libx265', X265, {}),
    'hevc.mkv': ('libx265', X265, {}),
    'vp9.webm': ('libvpx-vp9', VPX, {}),
    'vp8.webm': ('libvpx', VPX, {}), # with hidden frames
    'asp.mp4': ('mpeg4', ASP, {}),
    'asp.avi': ('mpeg4', ASP, {}), # without time stamps
    'h264.avi': ('libx264', X264 | {'bf': '2'}, {}),
    'mjpeg.avi': ('mjpeg', {}, dict(pixels='yuvj420p')),
    'ms.avi': ('msmpeg4', {}, {}),
    'prores.mov': ('prores', {}, dict(pixels='yuv422p10le')),
    'rle.mov': ('qtrle', {}, dict(pixels='rgb24')),
    'old.mpg': ('mpeg1video', MPEG, {}),
    'dvd.mpg': ('mpeg2video', MPEG, {}),
    'broadcast.ts': ('mpeg2video', MPEG, {}),
    'camera.m2ts': ('libx264', X264 | {'g': '8'}, {}),
    'media.wmv': ('wmv2', {}, {}),
    'flash.flv': ('flv', {}, {}),
    'flash264.flv': ('libx264', X264, {}),
    'web.gif': ('gif', {}, dict(pixels='rgb8')),
    'studio.mxf': ('mpeg2video', MPEG, {}),
    'phone.3gp': ('libx264', X264, {}),
    'archive.mkv': ('ffv1', {}, dict(pixels='yuv444p')),
    'bare.h264': ('libx264', X264 | {'bf': '2'}, {}),
    'live.webm': ('libvpx-vp9', VPX, dict(muxer={'live': '1'})), # without a duration
    'pieces.mp4': ('libx264', X264 | {'g': '8'}, dict(muxer={'movflags': 'frag_keyframe+empty_moov'})),
    'no_list.mp4': ('libx264', X264 | {'g': '8'}, dict(muxer={'use_editlist': '0'})),
    'ten_bits.mp4': ('libx264', X264, dict(pixels='yuv420p10le')),
}

@pytest.mark.parametrize('name', FILMS)
def test_containers_and_codecs(name, tmp_path):
    codec, options, kw = FILMS[name]
    holds(encoded(tmp_path / name, numbered(30), codec, options, **kw), range(30), np.arange(30) / 25)

def test_av1(tmp_path, capfd):
    path = encoded(tmp_path / 'av1.mp4', numbered(30, (64, 64)), 'libsvtav1', {'preset': '10', 'crf': '20'})
    holds(path, range(30), np.arange(30) / 25)

@pytest.mark.parametrize('rate', [10, 24000 / 1001, 30000 / 1001, 60])
def test_rates(rate, tmp_path):
    for name in ('a.mp4', 'a.mkv'):
        holds(encoded(tmp_path / name, numbered(30), options=OPEN, rate=rate), range(30), np.arange(30) / rate)

@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.webm'])
def test_variable_rate(name, tmp_path):
    times = np.cumsum([40, 40, 200, 33, 7] * 6)
    codec, options = ('libvpx-vp9', VPX) if name == 'a.webm' else ('libx264', OPEN)
    holds(encoded(tmp_path / name, numbered(30), codec, options, times=times), range(30), (times - times[0]) / 1000)

EDITS = { # segments, and the frames that a player shows
    'trimmed': ([(7, 30)], range(7, 30)),
    'both ends': ([(5, 17)], range(5, 17)),
    'delayed': ([(None, 12), (0, 30)], range(30)),
    'a piece cut out': ([(3, 9), (17, 25)], [*range(3, 9), *range(17, 25)]),
    'another order': ([(10, 20), (0, 10)], [*range(10, 20), *range(10)]),
    'twice': ([(5, 11), (5, 11)], [*range(5, 11)] * 2)}

@pytest.mark.parametrize('name', EDITS)
def test_edit_lists(name, tmp_path):
    segments, want = EDITS[name]
    for options in (X264 | {'g': '10', 'bf': '0'}, X264 | {'g': '10', 'bf': '2'}, OPEN):
        path = edit(encoded(tmp_path / 'a.mp4', numbered(30), options=options), segments)
        holds(path, want, np.arange(len(want)) / 25)

@pytest.mark.parametrize('turn', [90, 180, 270])
def test_rotation(turn, tmp_path):
    stored = np.rot90(numbered(30, (48, 64)), turn // 90, (1, 2))
    path = encoded(tmp_path / 'a.mp4', stored, options=OPEN)
    note_rotation(path, turn)
    film = holds(path, range(30), same=False)
    assert (film.height, film.width) == (48, 64) and (film.read.__self__ is film)
    assert (np.rot90(ffmpeg(path), -turn // 90, (1, 2)) == np.concatenate(list(film.read()))).all()

def test_mirrors():
    "All eight ways to lay a picture, against the map of ISO 14496-12: (x, y) goes to (ax + cy, bx + dy)."
    image = np.arange(6).reshape(2, 3, 1)
    signs = list(itertools.product((1, -1), (1, -1)))
    for a, b, c, d in [(s, 0, 0, t) for s, t in signs] + [(0, s, t, 0) for s, t in signs]:
        place = {(a * x + c * y, b * x + d * y): image[y, x, 0] for y in range(2) for x in range(3)}
        left, top = min(x for x, _ in place), min(y for _, y in place)
        got = turned(image, np.array([a, b, 0, c, d, 0, 0, 0, 1]) * 65536)
        assert got.shape[:2] == ((2, 3) if a else (3, 2))
        assert all(got[y - top, x - left, 0] == v for (x, y), v in place.items())

def disc(size, wide): # a white circle, on pixels that are `wide` times as wide as high
    y, x = np.mgrid[:size[0], :size[1]]
    round_ = (y - size[0] / 2) ** 2 + ((x - size[1] / 2) * wide) ** 2 < (size[0] / 3) ** 2
    return np.repeat(np.where(round_, 230, 20).astype(np.uint8)[..., None], 3, -1)

@pytest.mark.parametrize('name, aspect', [
    ('a.mp4', Fraction(64, 45)), ('a.mkv', Fraction(8, 9)), ('a.mov', Fraction(4, 3)), ('b.mkv', Fraction(1, 2))])
def test_pixels_that_are_not_square(name, aspect, tmp_path):
    path = encoded(tmp_path / name, np.stack([disc((90, 120), float(aspect))] * 6), options=X264, aspect=aspect)
    film = Video(path)
    white = next(film.read())[3].mean(-1) > 128
    high, wide = np.ptp(np.nonzero(white.any(1))), np.ptp(np.nonzero(white.any(0)))
    assert (film.height, film.width) == (90, round(120 * aspect)) and abs(high - wide) <= 2
    holds(encoded(tmp_path / f'b_{name}', numbered(30), options=OPEN, aspect=aspect), range(30), same=False)

@pytest.mark.parametrize('size', [(16, 16), (32, 32), (64, 48), (48, 32), (50, 66)])
def test_sizes(size, tmp_path): holds(encoded(tmp_path / 'a.mp4', numbered(30, size), options=OPEN), range(30))

def test_odd_sizes(tmp_path):
    holds(encoded(tmp_path / 'a.mkv', numbered(30, (49, 67)), 'ffv1', pixels='yuv444p'), range(30))

# what a picture is made of

def test_interlaced(tmp_path):
    "Half of the lines are recorded a fiftieth of a second later: read as they are, an edge that moves has teeth."
    x = np.arange(96)[None, None]
    moments = np.where(abs(x - 20 - 2 * np.arange(24)[:, None, None]) < 12, 220, 30) + np.zeros((1, 64, 1))
    woven = moments[::2].copy()
    woven[:, 1::2] = moments[1::2, 1::2]
    def rgb(grey): return np.repeat(grey[..., None], 3, -1).astype(np.uint8)
    def teeth(frames): return np.abs(np.diff(frames.astype(float), axis=1)).mean()
    fields = {'flags': '+ildct+ilme', 'field_order': 'tt', 'top': '1'}
    kinds = ('a.mp4', 'libx264', {'x264-params': 'tff=1:crf=8'}), ('a.mpg', 'mpeg2video', {'q': '2'})
    for name, codec, options in kinds:
        path = encoded(tmp_path / name, rgb(woven), codec, fields | options)
        got, film = reading(path), Video(path)
        assert len(got) == 12 and np.abs(film.times - np.arange(12) / 25).max() < 1e-3
        assert teeth(ffmpeg(path)) > 5 and teeth(got[1:-1]) < 1.5
        assert np.abs(got[1:-1].astype(float) - rgb(moments[::2])[1:-1]).mean() < 8
        assert (next(film.read([3, 7])) == got[[3, 7]]).all()

@pytest.mark.parametrize('background', [0, 255, (10, 200, 30)])
def test_transparent_video(background, tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 32, 32, 4), dtype=np.uint8)
    frames[:, :16, :, 3], frames[:, 16:, :16, 3] = 0, 255
    got = reading(encoded(tmp_path / 'a.mov', frames, 'png', pixels='rgba'), background=background)
    alpha = frames[..., 3:] / 255
    assert np.abs(got - (frames[..., :3] * alpha + np.array(background) * (1 - alpha))).max() <= .5 + 1e-5

def test_full_range(tmp_path):
    grey = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[None, None, :, None], (3, 16, 64, 3))
    got = reading(encoded(tmp_path / 'a.avi', grey, 'mjpeg', {'q': '1'}, pixels='yuvj444p'))
    assert np.abs(got.astype(int) - grey).max() < 6

# what is refused

def said(path): return refusal(lambda: list(Video(path).read()))

@pytest.mark.parametrize('name, codec, kw', [
    ('a.mkv', 'libx264', {}), ('a.webm', 'libvpx-vp9', {}), ('a.mp4', 'libx264', dict(muxer={'movflags': 'faststart'})),
    ('a.avi', 'mpeg4', {}), ('a.flv', 'flv', {}), ('a.wmv', 'wmv2', {})])
def test_cut_off(name, codec, kw, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), dtype=np.uint8)
    path = encoded(tmp_path / name, noise, codec, **kw)
    assert len(Video(path)) == 60
    data = path.read_bytes()
    for part in (.4, .6, .8):
        path.write_bytes(data[:int(len(data) * part)])
        assert 'that its header promises; fetch it again' in said(path) or 'damaged' in said(path), said(path)

def with_sound(path, frames, seconds): # a film, and sound of another length
    import av
    with av.open(str(path), 'w') as f:
        s, t = f.add_stream('libx264', rate=25), f.add_stream('aac', rate=16000, layout='mono')
        s.height, s.width, s.pix_fmt = *frames.shape[1:3], 'yuv420p'
        for frame in frames: f.mux(s.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        f.mux(s.encode())
        for i in range(int(seconds * 16)):
            a = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format='fltp', layout='mono')
            a.sample_rate, a.pts = 16000, 1000 * i
            f.mux(t.encode(a))
        f.mux(t.encode())
    return path

@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.mov', 'a.ts', 'a.flv', 'a.avi'])
def test_sound_that_lasts_longer(name, tmp_path):
    holds(with_sound(tmp_path / name, numbered(30), 6), range(30), np.arange(30) / 25)

def test_a_last_frame_that_stays(tmp_path):
    times = [*range(0, 1000, 40), 9000]
    for name in ('a.mp4', 'a.mkv'):
        for options in (X264, X264 | {'bf': '0'}):
            path = encoded(tmp_path / name, numbered(26), options=options, times=times)
            holds(path, range(26), np.array(times) / 1000)

def test_time_stamps(tmp_path):
    path = encoded(tmp_path / 'a.ts', numbered(30), options=OPEN)
    path.write_bytes(path.read_bytes() * 2) # two recordings in one file: the clock goes back
    assert 'orrupt' in said(path) or 'time stamps do not ascend: frame 30' in said(path)
    assert 'convert it: ffmpeg' in said(path)
    assert 'of its 3 frames have no time stamp' in refusal(lambda: times_of('x', [0, None, .3], 0, 0))
    assert 'of its 3 frames have no time stamp' in refusal(lambda: times_of('x', [0, None, .3], 10, .9))
    assert (times_of('x', [None] * 3, 10, 0) == [0, .1, .2]).all()
    assert (times_of('x', [5, None, 5.1], 10, .3) == [0, .1, .2]).all()
    assert 'ascend' in refusal(lambda: times_of('x', [0, .2, .1], 0, 0))
    assert 'ascend' in refusal(lambda: times_of('x', [0, .1, .1], 10, 5))

def test_a_recording_that_begins_between_key_frames(tmp_path):
    path = encoded(tmp_path / 'a.ts', numbered(60, first=3), options=OPEN)
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 3 // 188 * 188:])
    got = numbers(reading(path))
    assert got == list(range(got[0], 63)) and 10 < got[0] < 40

def test_a_codec_that_nobody_knows(tmp_path):
    path = encoded(tmp_path / 'a.mp4', numbered(8))
    path.write_bytes(path.read_bytes().replace(b'avc1', b'qqqq'))
    assert 'its codec (none (qqqq' in said(path) and 'convert it: ffmpeg' in said(path)

def test_names_that_mean_something_to_ffmpeg(tmp_path):
    for name in ('take%03d.mp4', 'http:x.mp4', 'concat:a|b.mp4', 'a,b=c;.mp4', '4\udce4.mp4', '-i.mp4'):
        try: path = encoded(tmp_path / 'a.mp4', numbered(8)).rename(tmp_path / name)
        except (OSError, UnicodeError): continue # not on this disk
        assert numbers(reading(path)) == list(range(8))
    (tmp_path / 'list.mp4').write_text('#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n')
    assert 'not a video that can be read' in said(tmp_path / 'list.mp4')

def test_frames_that_are_not_there(tmp_path):
    film = Video(encoded(tmp_path / 'a.mp4', numbered(8)))
    for which in ([3, 2], [-1], [8]): assert 'numbers of 0 to 7 that ascend' in refusal(lambda: list(film.read(which)))
    assert list(film.read([])) == [] and numbers(next(film.read([2, 2, 5]))) == [2, 2, 5]

def test_two_readers_of_one_video(tmp_path):
    film = Video(encoded(tmp_path / 'a.mkv', numbered(30), options=OPEN))
    pairs = [(number(a[0]), number(b[0])) for k in range(5) for a, b in zip(film.read([3 * k]), film.read([20 + k]))]
    assert pairs == [(3 * k, 20 + k) for k in range(5)]

# every reader of a data set

class Given: # options of a program
    size, fps, cuts, faces, sound, background = 32, 12.5, False, False, False, 0

def program(name): # of data_prep, as a module
    spec = importlib.util.spec_from_file_location(name, root / f'data_prep/{name}.py')
    if spec.origin not in sys.path: sys.path.append(str(root / 'data_prep'))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

def clip_numbers(parts): return [number(f.transpose(1, 2, 0)) for p in parts if isinstance(p, np.ndarray) for f in p]

@pytest.fixture(scope='module')
def hard(tmp_path_factory): # an open GOP, trimmed by an edit list: random access and the raw count are both wrong here
    path = encoded(tmp_path_factory.mktemp('hard') / 'a.mp4', numbered(90, (64, 64)), options=OPEN)
    return edit(path, [(11, 90)])

@pytest.mark.parametrize('cuts', [False, True])
def test_own_films(hard, cuts):
    source, args = SimpleNamespace(path=str(hard), id='a', part=None), Given()
    args.cuts = cuts
    assert clip_numbers(program('folder').read(source, args)) == list(range(11, 90, 2))

def test_chunks_of_taichi(hard):
    taichi = program('taichi_hd')
    for start, end in ((0, 12), (12, 33), (40, 60), (20, 30)): # one opened film, forwards and back
        part = dict(start=start, end=end, bbox='0-0-64-64', fps=25., width=64, height=64)
        read = taichi.read(SimpleNamespace(path=str(hard), id='a', part=part), Given())
        assert clip_numbers(read) == list(range(11 + start, 11 + end))

def test_clips_of_celebv(hard):
    part = {'from': .8, 'to': 1.6, 'top': 0, 'bottom': 1, 'left': 0, 'right': 1}
    args = Given()
    args.fps = 25
    read = program('celebv_hq').read(SimpleNamespace(path=str(hard), id='a', part=part), args)
    assert clip_numbers(read) == list(range(31, 51))

def test_tracks_of_voxceleb(hard):
    read = program('voxceleb').read(SimpleNamespace(path=str(hard), id='a', part=None), Given())
    assert clip_numbers(read) == list(range(11, 90, 6))

# images

def test_image_formats(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    for k, suffix in enumerate(('.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.jp2')):
        lossless = dict(lossless=True) if suffix == '.webp' else {}
        Image.fromarray(picture + np.uint8(k)).save(tmp_path / f'{k}{suffix}', **lossless)
    got = np.concatenate(list(ImageFolder(tmp_path).read()))
    assert len(got) == 7 and all((g == picture + np.uint8(k)).all() for k, g in enumerate(got))
    (tmp_path / '9.heic').write_bytes(b'x')
    assert '1 of 8 images are of a kind that is not read (9.heic)' in refusal(lambda: ImageFolder(tmp_path))

def test_transparent_images(tmp_path):
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    rgba[:8, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / 'a.png')
    for background in (0, 255, (9, 99, 199)):
        alpha = rgba[..., 3:] / 255
        want = rgba[..., :3] * alpha + np.array(background) * (1 - alpha)
        assert np.abs(read_image(tmp_path / 'a.png', background) - want).max() <= .5 + 1e-5
        got = next(open_frames(tmp_path, background=background).read())[0]
        assert np.abs(got - want).max() <= .5 + 1e-5
    flat = Image.fromarray(np.full((8, 8), 7, np.uint8))
    flat.putpalette([255, 0, 0] * 256)
    flat.save(tmp_path / 'p.png', transparency=7)
    assert (read_image(tmp_path / 'p.png', 255) == 255).all()
    grey = np.dstack([np.full((8, 8), v, np.uint8) for v in (200, 128)])
    Image.fromarray(grey).save(tmp_path / 'la.png')
    assert (read_image(tmp_path / 'la.png') == 100).all()
    clear = Image.fromarray(np.full((8, 8, 3), 77, np.uint8))
    clear.save(tmp_path / 'key.png', transparency=(77, 77, 77))
    assert (read_image(tmp_path / 'key.png', 255) == 255).all()

def test_sixteen_bits(tmp_path):
    grey = np.linspace(0, 65535, 24 * 24).reshape(24, 24).astype(np.uint16)
    for name in ('a.png', 'a.tif'):
        Image.fromarray(grey).save(tmp_path / name)
        got = read_image(tmp_path / name)
        assert got.shape == (24, 24, 3) and np.abs(got - grey[..., None] / 257).max() <= .5
    Image.fromarray(np.full((8, 8), 1 << 20, np.int32)).save(tmp_path / 'b.tif')
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / 'c.tif')
    assert 'numbers from 1048576' in refusal(lambda: read_image(tmp_path / 'b.tif'))
    assert 'floating-point numbers; expected 8 or 16 bits' in refusal(lambda: read_image(tmp_path / 'c.tif'))

def test_several_images_in_one_file(tmp_path):
    images = [Image.fromarray(np.full((8, 8, 3), v, np.uint8)) for v in (10, 90, 200)]
    for name in ('a.webp', 'a.png', 'a.tif'):
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:])
        assert '3 images in one file' in refusal(lambda: read_image(tmp_path / name))

def test_natural_order():
    names = ['take 2²5.mp4', 'take 10.mp4', 'take 9.mp4', 'Take ٣.mp4', 'ⅷ.mp4', '²', '1', '']
    assert sorted(natural_order(names)) == sorted(names)
    assert natural_order(['b10', 'b9', 'a²5', 'a²10']) == ['a²5', 'a²10', 'b9', 'b10']

# the examples of the list of faults, where they are, and a larger grid

@pytest.mark.skipif(not faults.exists(), reason='the examples are not here')
def test_the_examples():
    shown = {'av1.mp4': 25, 'dv_pal_wide.mp4': 25, 'mpeg4_asp.avi': 100, 'mpeg4_asp.mp4': 100, 'open_gop.mkv': 100,
             'plain.mp4': 100, 'trimmed_edit_list.mp4': 75}
    for name, n in shown.items():
        film, own = Video(faults / 'video' / name), ffmpeg(faults / 'video' / name)
        got = np.concatenate(list(film.read()))
        assert len(film) == len(own) == n and (name.startswith('dv') or (got == own).all()), name
        assert (np.concatenate(list(film.read(range(3, n, 7)))) == got[3::7]).all()
    assert (Video(faults / 'video/dv_pal_wide.mp4').width) == 1024
    assert 'ends after 2.00 s of the 4.00 s' in said(faults / 'video/truncated_half.mkv')
    assert len(ImageFolder(faults / 'pictures/jpg_and_webp')) == 24

GOPS = [X264 | {'g': str(g), 'bf': str(b), 'x264-params': f'open-gop={o}:b-pyramid={p}:scenecut=0'}
        for g, b, o, p in itertools.product((3, 12, 250), (0, 1, 5), (0, 1), ('none', 'normal'))]

@pytest.mark.long
@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.ts', 'a.mov', 'a.avi', 'a.flv', 'a.m2ts', 'a.3gp'])
def test_every_structure(name, tmp_path):
    for k, options in enumerate(GOPS):
        for rate in (12.5, 30000 / 1001):
            holds(encoded(tmp_path / name, numbered(60, first=k), options=options, rate=rate), range(k, k + 60), seed=k)

@pytest.mark.long
def test_every_edit(tmp_path):
    rng = np.random.default_rng(0)
    for k, options in enumerate(GOPS):
        for n in (1, 2, 3):
            at = np.sort(rng.choice(np.arange(1, 60), 2 * n, replace=False)).reshape(n, 2)
            want = [i for a, b in at for i in range(a, b)]
            path = edit(encoded(tmp_path / 'a.mp4', numbered(60), options=options), [(int(a), int(b)) for a, b in at])
            try: holds(path, want, np.arange(len(want)) / 25, seed=k)
            except BadInput as e: assert n > 1 and 'time stamps do not ascend' in str(e)
