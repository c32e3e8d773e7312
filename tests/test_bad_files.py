"""What can be wrong with the files of a dataset, or with the place they are to go: each gets its sentence."""
import csv, gc, json, os, resource, shutil, subprocess, sys
import numpy as np
import pytest
from diffsda.clips import Clips, check, read_info
from diffsda.factors import BadInput
from diffsda.preparation import Source, prepare
from diffsda.video import Video, cropped, open_frames
import fixtures_video as made
from fixtures_video import performance, scene, write_images, write_video
from test_preparation import ENV, files, program, skipped, table

def sound_only(path): # a film without images
    import av
    with av.open(str(path), 'w') as f:
        s = f.add_stream('aac', rate=16000, layout='mono')
        a = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format='fltp', layout='mono')
        a.sample_rate = 16000
        f.mux(s.encode(a))
        f.mux(s.encode())

def hole(data, at): # bytes with 60 zeros in them
    b = bytearray(data)
    b[at:at + 60] = bytes(60)
    return b

@pytest.fixture(scope='module')
def zoo(tmp_path_factory):
    "Good films, and one of every kind that is not."
    folder = tmp_path_factory.mktemp('zoo')
    film = scene(performance(0, 0, 24))
    wall = np.full_like(film, 120)
    good = write_video(folder / 'good.mp4', film).read_bytes()
    for name, data in (('zero', b''), ('head', good[600:]), ('tail', good[:len(good) // 2]),
                       ('text', b'<html>404</html>' * 50), ('hole', hole(good, len(good) // 2))):
        (folder / f'{name}.mp4').write_bytes(data)
    sound_only(folder / 'voice.mp4')
    write_video(folder / 'one.mp4', film[:1])
    write_video(folder / 'slim.mp4', film[:, :, :48])
    write_video(folder / 'wide.mp4', np.concatenate([film] * 3, 2)[:, :128])
    write_video(folder / 'huge.mp4', np.broadcast_to(np.uint8(90), (8, 4320, 7680, 3)))
    write_video(folder / 'wall.mp4', wall)
    write_video(folder / 'half.mp4', np.concatenate([film, wall]))
    write_video(folder / 'old.mpg', film, codec='mpeg1video')
    write_video(folder / 'old.ts', film, codec='mpeg2video')
    shutil.copy(folder / 'old.ts', folder / 'disguised.mp4')
    write_images(folder / 'jpegs', film, '{}.jpg')
    os.truncate(folder / 'jpegs/7.jpg', 1500)
    write_images(folder / 'sizes', film[:8], '{}.png')
    write_images(folder / 'sizes', film[8:9, :100], '8.png')
    write_images(folder / 'words', film[:8], '{}.jpg')
    (folder / 'words/3.jpg').write_bytes(b'not an image')
    write_video(folder / 'mit Leerzeichen/Großmutter – "1, 2".mp4', film)
    os.symlink(folder / 'nowhere.mp4', folder / 'dangling.mp4')
    return folder

@pytest.fixture
def few(zoo, tmp_path): # a film with a face, one with half a face, one without
    (tmp_path / 'few').mkdir()
    for name in ('good.mp4', 'half.mp4', 'wall.mp4'): shutil.copy(zoo / name, tmp_path / 'few')
    return tmp_path / 'few'

@pytest.fixture
def mine(zoo, tmp_path): # three films
    (tmp_path / 'mine').mkdir()
    for name in ('good.mp4', 'half.mp4', 'wall.mp4'): shutil.copy(zoo / name, tmp_path / 'mine')
    return tmp_path / 'mine'

REASONS = {
    'zero.mp4': 'empty file of 0 bytes',
    'head.mp4': 'not a video that can be read',
    'tail.mp4': 'not a video that can be read',
    'text.mp4': 'not a video that can be read',
    'hole.mp4': 'damaged at or after frame',
    'voice.mp4': 'sound, but no images',
    'one.mp4': '1 frame, a clip needs 8',
    'wide.mp4': '576x128 pixels; of so narrow a strip',
    'jpegs': '7.jpg: not a whole image',
    'sizes': '192x100 pixels, the first image',
    'words': '3.jpg: not a whole image',
    'dangling.mp4': 'where nothing is; mend it, or take it away',
}

def sides(folder): return [Clips(folder, s) for s in read_info(folder)['splits']]
def ids(folder): return sorted(str(i) for data in sides(folder) for i in data.labels['id'])

def test_the_zoo(zoo, tmp_path):
    program('folder', zoo, tmp_path / 'out', '--fps', 0, code=3)
    found = skipped(tmp_path / 'out')
    assert set(found) == set(REASONS), set(found) ^ set(REASONS)
    for name, reason in REASONS.items():
        assert reason in found[name] and str(tmp_path) not in found[name] and str(zoo) not in found[name], found[name]
    good = ['disguised.mp4', 'good.mp4', 'half.mp4', 'huge.mp4', 'mit Leerzeichen/Großmutter – "1, 2".mp4', 'old.mpg',
            'old.ts', 'slim.mp4', 'wall.mp4']
    assert ids(tmp_path / 'out') == good and check(tmp_path / 'out') == []
    labels = {str(label) for data in sides(tmp_path / 'out') for label in data.labels['label']}
    assert labels == {'', 'mit Leerzeichen'}

def test_without_a_face(zoo, few, tmp_path):
    program('folder', few, tmp_path / 'out', '--faces', '--fps', 0, code=3)
    found = skipped(tmp_path / 'out')
    assert list(found) == ['wall.mp4'] and 'a face in 0 of 9 frames' in found['wall.mp4']
    said = program('folder', few, tmp_path / 'no', '--faces', '--detector', 'nobody:nothing', code=1)
    assert "expected 'haar', or MODULE:FUNCTION" in said
    said = program('folder', zoo / 'words', tmp_path / 'none', code=1)
    assert 'not one of 1 sources could be used' in said and not (tmp_path / 'none').exists()

def edited(folder, **changes): # of the first chunk of taichi-metadata.csv; None: no such column
    rows = table(folder / 'taichi-metadata.csv')
    rows[0] |= changes
    keep = [c for c in rows[0] if changes.get(c, '') is not None]
    with open(folder / 'taichi-metadata.csv', 'w', newline='') as f:
        writer = csv.DictWriter(f, keep, extrasaction='ignore')
        writer.writeheader()
        writer.writerows(rows)

@pytest.mark.parametrize('changes, code, said', [
    (dict(bbox='700-40-900-240'), 3, 'does not meet the frame of 192x144'),
    (dict(bbox='40-60'), 3, 'are not numbers'),
    (dict(bbox='left'), 3, 'are not numbers'),
    (dict(video_id='gone'), 3, 'gone.mp4: not there'),
    (dict(start='9000', end='9100'), 3, 'nothing in it, expected frames'),
    (dict(end='4'), 3, '4 frames, a clip needs 10'),
    (dict(width=None), 1, 'no column width')])
def test_metadata(changes, code, said, tmp_path):
    folder = made.make_taichi(tmp_path / 'files')
    edited(folder, **changes)
    assert said in program('taichi_hd', folder, tmp_path / 'out', code=code)
    if code == 3: assert read_info(tmp_path / 'out')['clips'] == 3

def is_seen(path): # does FFmpeg complain when the film is read once, from its beginning?
    try: list(Video(path).read())
    except BadInput: return True
    return False

def test_a_hole_is_its_own_chunks(tmp_path):
    "One opened video, two chunks: the decoder runs ahead, but a damaged second chunk must not be used."
    folder, seen = made.make_taichi(tmp_path / 'files', videos=('abc', 'xyz')), 0
    whole = (folder / 'abc.mp4').read_bytes()
    for at in np.linspace(len(whole) * .55, len(whole) * .8, 6).astype(int):
        (folder / 'abc.mp4').write_bytes(hole(whole, at))
        if not is_seen(folder / 'abc.mp4'): continue # it decodes to something: no one can see it
        seen, out = seen + 1, tmp_path / str(at)
        program('taichi_hd', folder, out, code=3)
        assert any('abc.mp4: damaged at or after frame' in reason for reason in skipped(out).values())
        assert 'abc#000024#000048' not in ids(out)
    assert seen >= 3 # the encoder is not deterministic to the byte, so neither is this number

def test_nothing_of_the_users_is_deleted(mine, tmp_path):
    for out in (mine, tmp_path):
        assert 'name another folder' in program('folder', mine, out, '--overwrite', code=1)
        assert sorted(p.name for p in mine.iterdir()) == ['good.mp4', 'half.mp4', 'wall.mp4']

def test_a_shot_without_a_face(tmp_path):
    grey = np.full((20, 144, 192, 3), 30, np.uint8)
    film = np.concatenate([scene(performance(0, 0, 24)), grey, scene(performance(2, 0, 24))])
    for i in range(2): write_video(tmp_path / f'films/{i}.mp4', film)
    program('folder', tmp_path / 'films', tmp_path / 'out', '--faces', '--cuts', '--fps', 0, code=3)
    assert ids(tmp_path / 'out') == ['0.mp4', '0.mp4#2', '1.mp4', '1.mp4#2']
    assert all('a face in 0 of' in reason for reason in skipped(tmp_path / 'out').values())

def test_check_from_the_terminal(mine, tmp_path):
    program('folder', mine, tmp_path / 'out', '--fps', 0)
    def look():
        command = [sys.executable, '-m', 'diffsda.clips', tmp_path / 'out']
        return subprocess.run(command, env=ENV, capture_output=True, text=True)
    assert look().returncode == 0 and '3 clips' in look().stdout
    shard = tmp_path / 'out/shard_00000.npy'
    b = bytearray(shard.read_bytes())
    b[5000] ^= 1
    shard.write_bytes(b)
    assert look().returncode == 1 and 'at least one bit is wrong' in look().stderr

@pytest.mark.parametrize('options, said', [
    (('--fps', 'nan'), 'a number of 0 or more'),
    (('--grow', '-1'), 'a number of 0 or more'),
    (('--grow', '0', '--faces'), 'expected more than 0'),
    (('--test', '1'), 'a fraction below 1'),
    (('--name', 'mug'), 'take another'),
    (('--limit', '-3'), 'a number of 0 or more')])
def test_odd_options(options, said, zoo, tmp_path):
    mine = tmp_path / 'mine'
    mine.mkdir()
    shutil.copy(zoo / 'good.mp4', mine)
    assert said in program('folder', mine, tmp_path / 'out', *options, code=1)

def test_celebv_info(tmp_path):
    folder = made.make_celebv(tmp_path / 'files')
    file = folder / 'celebvhq_info.json'
    info = json.loads(file.read_text())
    file.write_text(file.read_text()[:500])
    assert 'cannot be read as JSON' in program('celebv_hq', folder, tmp_path / 'out', code=1)
    short = json.loads(json.dumps(info))
    short['clips']['M2Ohb0FAaJU_1']['attributes']['action'].pop()
    file.write_text(json.dumps(short))
    assert 'another number of attributes' in program('celebv_hq', folder, tmp_path / 'out', code=1)
    del info['clips']['M2Ohb0FAaJU_1']['bbox']
    info['clips']['_0tf2n3rlJU_0']['bbox']['left'] = 'x'
    (folder / 'processed/M2Ohb0FAaJU_1.mp4').unlink()
    file.write_text(json.dumps(info))
    assert "lacks 'bbox'" in program('celebv_hq', folder, tmp_path / 'out', code=1)

def test_duplicate_ids(tmp_path):
    folder = made.make_voxceleb(tmp_path / 'files', speakers=['id10001', 'id10270'], images=['Adam_Driver'])
    write_video(folder / 'Adam_Driver/Y8hIVOBuels/1.mp4', np.repeat(performance(0, 0, 16, 128), 4, 0))
    program('voxceleb', folder, tmp_path / 'out', '--size', 32, code=3)
    assert list(skipped(tmp_path / 'out').values())[0].endswith('rename one of them')
    assert read_info(tmp_path / 'out')['clips'] == 5

@pytest.mark.parametrize('name, wrong', [
    ('mug', 'no sequence in it'),
    ('taichi_hd', 'neither a *metadata*.csv'),
    ('voxceleb', 'no face track'),
    ('celebv_hq', 'celebvhq_info.json'),
    ('timit', 'an empty folder'),
    ('librispeech', 'an empty folder'),
    ('fsdd', 'an empty folder'),
    ('sprites', 'no folders body and shoes'),
    ('folder', 'no video in it')])
def test_nothing_there(name, wrong, tmp_path):
    (tmp_path / 'empty').mkdir()
    assert wrong in program(name, tmp_path / 'empty', tmp_path / 'out', code=1)
    assert not list(tmp_path.glob('out*'))

def test_where_it_is_to_go(few, tmp_path):
    def said(out, *options, **kw): return program('folder', few, out, *options, code=1, **kw)
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos/me.jpg').write_bytes(b'mine')
    assert 'holds no prepared clips' in said(tmp_path / 'photos')
    assert (tmp_path / 'photos/me.jpg').read_bytes() == b'mine'
    (tmp_path / 'file').write_bytes(b'')
    assert 'cannot be written' in said(tmp_path / 'file/out')
    assert 'cannot be written' in said('/proc/diffsda') # a target that is read-only, also to root
    assert 'there is no such folder; mend its name' in program('folder', tmp_path / 'nowhere', tmp_path / 'out', code=1)
    assert 'they come from MUG: https://mug' in program('mug', tmp_path / 'nowhere', tmp_path / 'out', code=1)
    assert 'size of 8 or more' in said(tmp_path / 'out', '--size', 4)
    assert 'letters, digits and _' in said(tmp_path / 'out', '--name', 'my/films')

def test_a_file_that_may_not_grow(few, tmp_path):
    "As on a disk that is full after 300 kB; with more space the same command goes on."
    def tight(): resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    large = '--fps', 0, '--size', 96
    said = program('folder', few, tmp_path / 'full', *large, code=1, preexec_fn=tight)
    assert 'cannot be written' in said and 'Finished shards are kept' in said and not (tmp_path / 'full').exists()
    program('folder', few, tmp_path / 'full', *large)
    program('folder', few, tmp_path / 'once', *large)
    assert files(tmp_path / 'full') == files(tmp_path / 'once')

may_mount = hasattr(os, 'geteuid') and os.geteuid() == 0 and shutil.which('mount')

@pytest.mark.skipif(not may_mount, reason='needs root to mount a small disk')
def test_a_full_disk(few, tmp_path):
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', disk], capture_output=True)
    if mounted.returncode: pytest.skip('no disk can be mounted here')
    try: assert 'No space left on device' in program('folder', few, disk / 'out', '--fps', 0, code=1)
    finally: subprocess.run(['umount', disk])

def test_two_at_once(zoo, tmp_path):
    from filelock import FileLock
    (tmp_path / 'out.part').mkdir()
    with FileLock(tmp_path / 'out.part/.lock'):
        assert 'another preparation is at work' in program('folder', zoo, tmp_path / 'out', code=1)

# what a worker may meet

INFO = dict(name='x', modality='video', frame=[3, 32, 32])

def read_and_die(source):
    if source.id == 'b': os.kill(os.getpid(), 9)
    for part in open_frames(source.path).read(): yield cropped(part, None, 32)

def read_and_stumble(source):
    if source.id == 'b': raise IndexError('a bug of a library')
    yield from read_and_die(source)

class Native:
    "Stands for a film whose decoder threads a fork leaves behind: it may be released only where it was opened."
    def __init__(self, path):
        self.path, self.home = path, os.getpid()
        self.me = self # a cycle: only the garbage collector ends it
    def __del__(self):
        if os.getpid() != self.home: self.path.write_text('released in another process')

def read_and_collect(source):
    gc.collect()
    yield from read_and_die(source)

def test_a_worker_leaves_what_it_inherited(zoo, tmp_path):
    gc.disable()
    try:
        Native(tmp_path / 'trace')
        sources = [Source('a', str(zoo / 'good.mp4'))]
        prepare(sources, read_and_collect, tmp_path / 'out', INFO, workers=1, verbose=False)
    finally: gc.enable()
    assert not (tmp_path / 'trace').exists()

def test_a_worker_dies(zoo, tmp_path):
    sources = [Source(i, str(zoo / 'good.mp4')) for i in 'abc']
    with pytest.raises(BadInput, match='a worker died'):
        prepare(sources, read_and_die, tmp_path / 'out', INFO, workers=1, verbose=False)
    made = prepare(sources, read_and_stumble, tmp_path / 'two', INFO, workers=1, verbose=False)
    reason = skipped(tmp_path / 'two')[str(zoo / 'good.mp4')]
    assert made['clips'] == 2 and 'IndexError: a bug of a library' in reason
    assert not list((tmp_path / 'two').glob('.shard*'))
