"""Prepared clips: what is written is read, every frame is equally likely, and damage of any kind is named."""
import json, os, shutil
from math import comb
import numpy as np
import pytest
import torch
from diffsda.clips import (
    Clips, ShardWriter, benchmark, check, choose_frames, finish, moments, npy_header, own_digest, read_info)
from diffsda.factors import BadInput, refusal
from diffsda.files import digest, write_json

def make(folder, lengths=(20, 25, 30, 35), test=(3,), labels=({},) * 4): # two clips a shard -> Path, list of clips
    folder.mkdir()
    rng, rows, shards, sums, clips = np.random.default_rng(0), [], [], 0, []
    for k in (0, 1):
        writer = ShardWriter(folder / f'shard_{k:05d}.npy', (3, 8, 8), 'uint8')
        for i in (2 * k, 2 * k + 1):
            clip = rng.integers(0, 256, (lengths[i], 3, 8, 8), dtype=np.uint8)
            split = 'test' if i in test else 'train'
            rows.append(dict(id=f'clip {i}', shard=k, start=writer.n, length=len(clip), split=split, **labels[i]))
            if split == 'train': sums = sums + moments(clip)
            for part in np.array_split(clip, 3): writer.add(part)
            clips.append(clip)
        n = writer.n
        shards.append(dict(file=f'shard_{k:05d}.npy', frames=n, sha256=writer.close()))
    info = dict(name='noise', modality='video', frame=[3, 8, 8], rate=25., source='this test', licence='none')
    finish(folder, rows, shards, info, sums)
    return folder, clips

@pytest.fixture
def noise(tmp_path): return make(tmp_path / 'noise')

# writing

def test_a_shard_is_an_ordinary_npy_file(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    writer = ShardWriter(tmp_path / 's.npy', (3, 4, 4), 'uint8')
    writer.add(frames[:10])
    writer.add(frames[10:30])
    writer.back(10) # the second clip is damaged
    writer.add(frames[30:])
    assert not (tmp_path / 's.npy').exists()
    assert writer.close() == digest(tmp_path / 's.npy')
    assert (np.load(tmp_path / 's.npy') == np.concatenate([frames[:10], frames[30:]])).all()

def test_an_empty_or_dropped_shard_leaves_nothing(tmp_path):
    assert ShardWriter(tmp_path / 'a.npy', (3,), 'float32').close() == ''
    writer = ShardWriter(tmp_path / 'b.npy', (3,), 'float32')
    writer.add(np.zeros((2, 3)))
    writer.drop()
    assert list(tmp_path.iterdir()) == []

def test_the_header_has_room_for_any_number_of_frames():
    assert len({len(npy_header((3, 64, 64), 'uint8', n)) for n in (0, 1, 10 ** 6, 10 ** 12)}) == 1

@pytest.mark.parametrize('dtype', ['uint8', 'float16', 'float32'])
def test_moments(dtype):
    frames = (np.random.default_rng(0).random((40, 3, 5, 5)) * 255).astype(dtype)
    n, total, squares = moments(frames[:15]) + moments(frames[15:])
    exact = frames.astype(np.float64)
    assert np.allclose(total / n, exact.mean((0, 2, 3)))
    assert np.allclose(squares / n - (total / n) ** 2, exact.var((0, 2, 3)))

# reading

@pytest.mark.parametrize('length, n', [(12, 3), (7, 5)]) # the two ways of choosing
def test_every_set_of_frames_is_equally_likely(length, n):
    chosen = choose_frames(np.random.default_rng(0), np.full(40_000, length), n)
    sets, times = np.unique(chosen, axis=0, return_counts=True)
    assert (np.diff(sets) > 0).all() and sets.min() == 0 and sets.max() == length - 1 and len(sets) == comb(length, n)
    chi_squared = ((times - times.mean()) ** 2).sum() / times.mean()
    assert chi_squared < len(sets) + 5 * np.sqrt(2 * len(sets))

def test_a_stride_keeps_its_distance():
    chosen = choose_frames(np.random.default_rng(0), np.array([9, 30, 30]), 5, stride=2)
    assert (np.diff(chosen) == 2).all() and (chosen[0] == [0, 2, 4, 6, 8]).all()

def test_what_is_written_is_read(noise):
    folder, clips = noise
    data = Clips(folder)
    assert len(data) == 3 and all((data.clip(i).numpy() == clips[i]).all() for i in range(3))
    assert (Clips(folder, 'test').clip(0).numpy() == clips[3]).all()
    assert (data.clip(1, 4).numpy() == clips[1][[0, 8, 16, 24]]).all()
    train = np.concatenate(clips[:3]) / 255
    mean, std = data.normalisation
    assert np.allclose(mean, train.mean((0, 2, 3)), atol=1e-6) and np.allclose(std, train.std((0, 2, 3)), atol=1e-6)

def test_a_batch_is_a_function_of_the_generator(noise):
    data = Clips(noise[0])
    one, two, other = (data.draw(np.random.default_rng(seed), 6, 8) for seed in (3, 3, 4))
    assert torch.equal(one, two) and not torch.equal(one, other) and one.shape == (6, 8, 3, 8, 8)

def test_reading_is_refused_in_sentences(noise):
    data, rng = Clips(noise[0]), np.random.default_rng(0)
    assert '99 frames were asked for, and the longest clip of train has 30' in refusal(lambda: data.draw(rng, 2, 99))
    strided = Clips(noise[0], stride=9)
    assert '8 frames, 9 apart, were asked for' in refusal(lambda: strided.draw(rng, 2, 8))
    assert "no clip is on the side 'dev'; expected one of test, train" in refusal(lambda: Clips(noise[0], 'dev'))
    assert 'expected 0 to 2' in refusal(lambda: data.clip(3))
    assert "clip 'clip 0': 20 frames, 21 were asked for" in refusal(lambda: data.clip(0, 21))
    assert 'expected two, for a swap' in refusal(lambda: Clips(noise[0], 'test').pairs(2))

# pairs

def test_pairs_are_of_different_people(tmp_path):
    who = [{'subject': s} for s in 'aabb']
    folder, clips = make(tmp_path / 'd', test=(), labels=who)
    static, dynamic, truth = Clips(folder).pairs(40, 3)
    def owner(frame): return next(i for i, clip in enumerate(clips) if (clip == frame.numpy()).all((1, 2, 3)).any())
    assert truth is None
    pairs = [(owner(s[0]), owner(d[0])) for s, d in zip(static, dynamic)]
    assert all((a in (0, 1)) != (b in (0, 1)) for a, b in pairs)

def test_one_person_is_swapped_between_clips(tmp_path):
    folder, clips = make(tmp_path / 'd', test=(), labels=[{'subject': 'a'}] * 4)
    static, dynamic, _ = Clips(folder).pairs(10, 3)
    assert not any((s[0] == d[0]).all() for s, d in zip(static, dynamic))

@pytest.mark.parametrize('aligned, known', [(True, True), ('train', True), ('test', False), (False, False)])
def test_the_right_answer_of_aligned_clips(aligned, known, tmp_path):
    folder, clips = make(tmp_path / 'd', lengths=(20,) * 4, test=())
    info = read_info(folder) | {'aligned': aligned}
    write_json(folder / 'dataset.json', info | {'own': own_digest(info)})
    static, dynamic, truth = Clips(folder).pairs(6, 5)
    assert (truth is not None) == known
    if not known: return
    def place(frame): return next((i, int(t)) for i, clip in enumerate(clips)
                                  for t in np.flatnonzero((clip == frame.numpy()).all((1, 2, 3))))
    for s, d, right in zip(static, dynamic, truth):
        for k in range(5): assert place(right[k]) == (place(s[0])[0], place(d[k])[1])

# damage

def flip(folder): # one bit
    b = bytearray((folder / 'shard_00001.npy').read_bytes())
    b[4000] ^= 4
    (folder / 'shard_00001.npy').write_bytes(b)

def cut(folder): os.truncate(folder / 'shard_00000.npy', 4000)

def another_shape(folder): np.save(folder / 'shard_00000.npy', np.zeros((45, 3, 8, 9), 'uint8'))

def edit(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
    return change

DAMAGE = {
    'a flipped bit': (flip, 'shard_00001.npy: its checksum is not the one in dataset.json'),
    'a short shard': (cut, 'shard_00000.npy: not a NumPy array that can be read safely'),
    'no shard': (lambda f: (f / 'shard_00001.npy').unlink(), 'shard_00001.npy: missing'),
    'another shape': (another_shape, 'expected uint8 (45, 3, 8, 8)'),
    'past the end': (edit('clips.csv', 'clip 3,1,30,35', 'clip 3,1,30,36'), 'frames 30 to 66 of shard 1, which has 65'),
    'no such shard': (edit('clips.csv', 'clip 3,1,30', 'clip 3,2,30'), 'shard 2, which has 0'),
    'the same id': (edit('clips.csv', 'clip 3', 'clip 2'), "clip 'clip 2' stands there 2 times"),
    'words': (edit('clips.csv', ',20,25,', ',20,many,'), "length 'many'; expected whole numbers"),
    'a column': (edit('clips.csv', 'id,shard', 'id,shed'), 'no shard; expected the columns'),
    'more cells': (edit('clips.csv', '30,35,test', '30,35,test,x'), 'more cells than there are columns'),
    'an overlap': (edit('clips.csv', 'clip 1,0,20,25', 'clip 1,0,19,26'), "'clip 0' and 'clip 1' overlap"),
    'a lost clip': (edit('clips.csv', 'clip 1,0,20,25,train\n', ''), '25 of its 45 frames belong to no clip'),
    'no table': (lambda f: (f / 'clips.csv').unlink(), 'clips.csv: not readable'),
    'no list': (lambda f: (f / 'skipped.csv').unlink(), 'skipped.csv: missing'),
    'another schema': (edit('dataset.json', '"schema": 1', '"schema": 7'), 'schema 7; expected 1'),
    'another modality': (edit('dataset.json', '"video"', '"smell"'), "modality 'smell'; expected one of video"),
    'no JSON': (edit('dataset.json', '{', '['), 'not readable as JSON'),
    'no mean': (edit('dataset.json', '"mean"', '"men"'), 'mean is missing'),
    'a changed rate': (edit('dataset.json', '25.0', '24.0'), 'its own checksum does not agree'),
    'no dataset': (lambda f: (f / 'dataset.json').unlink(), 'no dataset.json, so these are no prepared clips'),
}

@pytest.mark.parametrize('name', DAMAGE)
def test_damage_is_named(name, noise):
    spoil, words = DAMAGE[name]
    assert check(noise[0]) == []
    spoil(noise[0])
    found = check(noise[0])
    assert any(words in sentence for sentence in found), found

def test_every_fault_is_listed(noise):
    flip(noise[0])
    cut(noise[0])
    assert len(check(noise[0])) == 2

class Hostile: # unpickling it would make a folder
    def __init__(self, path): self.path = path
    def __reduce__(self): return os.mkdir, (self.path,)

def test_nothing_is_unpickled(noise, tmp_path):
    hostile = np.array([Hostile(str(tmp_path / 'executed'))], object)
    np.save(noise[0] / 'shard_00000.npy', hostile, allow_pickle=True)
    with pytest.raises(BadInput, match='not a NumPy array that can be read safely'): Clips(noise[0])
    assert any('shard_00000.npy' in sentence for sentence in check(noise[0]))
    assert not (tmp_path / 'executed').exists()

def test_the_benchmark_runs(noise):
    "The notebook measures how fast; on a busy machine a time proves nothing, so none is asserted."
    found = benchmark(noise[0], n_frames=8, batch_size=4, rounds=9)
    assert set(found) == {'fraction_of_copy', 'gigabytes_per_second', 'microseconds_per_clip'}
    assert all(v > 0 for v in found.values())

# to other processes, and through a spreadsheet

def drawn_elsewhere(data): return data.draw(np.random.default_rng(0), 4, 5).numpy()

def test_no_frames_travel(tmp_path):
    import multiprocessing, pickle
    folder, _ = make(tmp_path / 'd', lengths=(20_000, 25, 30, 35))
    data = Clips(folder)
    sent = pickle.dumps(data)
    assert len(sent) < 20_000 < sum(s.nbytes for s in data.shards) / 100
    assert torch.equal(pickle.loads(sent).clip(1), data.clip(1))
    with multiprocessing.get_context('spawn').Pool(1) as pool: there = pool.apply(drawn_elsewhere, (data,))
    assert (there == drawn_elsewhere(data)).all()

def test_a_table_from_a_spreadsheet(noise):
    table = noise[0] / 'clips.csv'
    text = table.read_text()
    table.write_bytes(b'\xef\xbb\xbf' + text.replace('\n', '\r\n').encode())
    assert len(Clips(noise[0])) == 3
    table.write_text(text.replace(',', ';'))
    assert "separated by ';'; expected commas" in refusal(lambda: Clips(noise[0]))
