"""Speech from stand-in corpora in the true layouts, bad files, and the real corpora where they are here."""
import os, pickle, shutil, subprocess, sys, warnings
from collections import Counter
from pathlib import Path
import numpy as np
import pytest
import soundfile
import torch
from fixtures_speech import CORE, babble, make_fsdd, make_librispeech, make_timit, write_sphere
from diffsda.sound import HOP, RATE, log_mel
from diffsda.factors import BadInput
from diffsda.speech import CORE_TEST, SEGMENT, SILENCE, Speech, decode, fsdd, librispeech, prepare, read_sound
from diffsda.speech import segments, timit

root = Path(__file__).resolve().parent.parent
sound = babble('ann', 'hello')

def real(name):
    here = [d for d in (root/'data'/name, root.parent/'shared/data'/name) if d.is_dir()]
    return here[0] if here else pytest.skip(f'the real {name} is not here')

def speakers(utterances, split): return {u.speaker for u in utterances if u.split == split}

@pytest.fixture(scope='module')
def books(tmp_path_factory): return make_librispeech(tmp_path_factory.mktemp('books'), range(10, 20), utterances=2)

@pytest.fixture(scope='module')
def digits(tmp_path_factory): return make_fsdd(tmp_path_factory.mktemp('digits'), digits=range(3), takes=(0, 4, 5, 49))

@pytest.fixture(scope='module', params=['upper', 'lower', 'riff', 'both'])
def tree(request, tmp_path_factory):
    "TIMIT in capitals, in small letters, as RIFF under the same names, or with a converted copy beside each file."
    riff = lambda path, x: soundfile.write(path, x, RATE, format='WAV')
    def both(path, x): write_sphere(path, x); riff(f'{path}.wav', x)
    write = dict(riff=riff, both=both).get(request.param, write_sphere)
    return make_timit(tmp_path_factory.mktemp('timit')/'TIMIT', lower=request.param == 'lower', write=write)


# files that are mended

def write(path, x, rate=RATE, subtype='PCM_16', **kw):
    soundfile.write(path, x, rate, subtype=subtype, **kw)
    return path

@pytest.mark.parametrize('kind', ['wav', 'flac', 'sph', 'aiff'])
def test_formats(tmp_path, kind):
    path = tmp_path/f'a.{kind}'
    write_sphere(path, sound) if kind == 'sph' else write(path, sound)
    notes = []
    x = read_sound(path, notes)
    assert x.dtype == torch.float32 and x.shape == (RATE,) and notes == [] and np.abs(x.numpy() - sound).max() <= 2**-15

def test_sphere_is_as_libsndfile_knows_it(tmp_path):
    write_sphere(tmp_path/'a.WAV', sound)
    info = soundfile.info(tmp_path/'a.WAV')
    assert (info.format, info.subtype, info.endian) == ('NIST', 'PCM_16', 'LITTLE')
    assert (info.samplerate, info.channels, info.frames) == (RATE, 1, RATE)

def test_sphere_as_libsndfile_writes_it(tmp_path):
    for subtype in ('PCM_16', 'ULAW'):
        path = write(tmp_path/f'{subtype}.wav', sound, subtype=subtype, format='NIST')
        assert np.abs(read_sound(path).numpy() - sound).max() < (.02 if subtype == 'ULAW' else 2**-14)

def test_stereo_is_mixed(tmp_path):
    notes, path = [], write(tmp_path/'a.wav', np.stack([sound, -.5 * sound], 1))
    assert np.abs(read_sound(path, notes).numpy() - .25 * sound).max() < 1e-4
    assert notes == [(path, 'mixed down from 2 channels')]

@pytest.mark.parametrize('rate', [8000, 22050, 44100, 48000])
def test_other_rates(tmp_path, rate):
    tone = lambda r: .5 * np.sin(2 * np.pi * 1000 * np.arange(r) / r)
    notes, path = [], write(tmp_path/'a.wav', tone(rate), rate)
    x = read_sound(path, notes).numpy()
    assert len(x) == RATE and np.abs(x - tone(RATE))[800:-800].max() < 2e-3
    assert [what.split(':')[0] for _, what in notes] == [f'resampled from {rate} Hz']
    assert ('nothing above 4000 Hz' in notes[0][1]) == (rate == 8000)

@pytest.mark.parametrize('subtype,kind', [('PCM_U8', 'wav'), ('PCM_S8', 'aiff')])
def test_8_bit(tmp_path, subtype, kind):
    notes, path = [], write(tmp_path/f'a.{kind}', sound, subtype=subtype)
    assert np.abs(read_sound(path, notes).numpy() - sound).max() <= 1/128 and len(notes) == 1
    assert '8 bits' in notes[0][1]

@pytest.mark.parametrize('n', [2, 100, 67 * HOP - 1, 67 * HOP])
def test_shorter_than_a_segment(tmp_path, n):
    notes, path = [], write(tmp_path/'a.wav', np.roll(sound, -500)[:n])
    x = read_sound(path, notes)
    assert len(log_mel(x)) == SEGMENT == 68 and (x[n:] == 0).all() and len(notes) == (n < 67 * HOP)

def test_all_mends_at_once(tmp_path):
    notes, path = [], write(tmp_path/'a.wav', np.stack([babble('bob', 'hi', .2, 44100)] * 2, 1), 44100, 'PCM_U8')
    assert len(read_sound(path, notes)) == 67 * HOP and len(notes) == 4 and {p for p, _ in notes} == {path}

def test_length_unknown_to_a_pipe(tmp_path):
    raw = bytearray(write(tmp_path/'a.wav', sound).read_bytes())
    at = raw.find(b'data')
    for length in (b'\xff\xff\xff\xff', b'\xff\xff\xff\x7f'):
        raw[at + 4:at + 8] = length
        (tmp_path/'b.wav').write_bytes(raw)
        assert len(decode(tmp_path/'b.wav')[0]) == RATE


# files that are refused

def cut(keep): return lambda b: b[:int(len(b) * keep)]
def flip(b): return b[:len(b) // 2] + bytes([b[len(b) // 2] ^ 255]) + b[len(b) // 2 + 1:]

@pytest.mark.parametrize('kind,spoil,said', [
    ('wav', cut(.5), 'truncated, its header promises 32000 bytes and 159'), ('wav', cut(.999), 'truncated'),
    ('wav', lambda b: b[:44], 'promises 32000 bytes and 0 are'), ('wav', lambda b: b[:20], 'not a recording'),
    ('sph', cut(.5), 'truncated, its header promises 16000'),
    ('sph', lambda b: b[:-2], 'promises 16000 samples and 15999'),
    ('sph', lambda b: b[:1024], 'promises 16000 samples and 0'), ('sph', lambda b: b[:500], 'not a recording'),
    ('flac', cut(.5), 'damaged or truncated'), ('flac', lambda b: b[:-20], 'damaged or truncated'),
    ('flac', lambda b: b[:60], 'not a recording'), ('flac', flip, 'damaged or truncated'),
    ('wav', lambda b: b'', 'empty file of 0 bytes'), ('flac', lambda b: b'<html>404</html>', 'not a recording'),
    ('sph', lambda b: b'version https://git-lfs.github.com/spec/v1', 'not a recording'),
    ('wav', lambda b: bytes(1000), 'not a recording')])
def test_damaged(tmp_path, kind, spoil, said):
    path = tmp_path/f'voice.{kind}'
    write_sphere(path, sound) if kind == 'sph' else write(path, sound)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(BadInput, match=rf'voice\.{kind}: .*{said}.*fetch it again'): read_sound(path)

def test_packed_sphere(tmp_path):
    for coding in ('pcm,embedded-shorten-v2.00', 'ulaw,embedded-shorten-v1.09'):
        write_sphere(tmp_path/'SA1.WAV', sound, coding=coding)
        with pytest.raises(BadInput, match='SA1.WAV: a SPHERE file packed with shorten.*sph2pipe'):
            read_sound(tmp_path/'SA1.WAV')

@pytest.mark.parametrize('x,rate,subtype,said', [
    (0 * sound, RATE, 'PCM_16', 'silent'), (0 * sound, 8000, 'PCM_U8', 'silent'),
    (0 * sound + .3, RATE, 'PCM_16', 'silent'),
    (np.stack([sound, -sound], 1), RATE, 'PCM_16', 'silent.*channels'),
    (1e-5 * sound, RATE, 'FLOAT', 'silent'), (sound[:0], RATE, 'PCM_16', 'without a single sample'),
    (np.where(sound == sound.max(), np.nan, sound), RATE, 'FLOAT', '1 of 16000 samples are NaN or infinite'),
    (np.where(sound > .2, np.inf, sound), RATE, 'DOUBLE', 'NaN or infinite'),
    (sound, 200, 'PCM_16', '200 samples a second')])
def test_no_speech_in_it(tmp_path, x, rate, subtype, said):
    path = write(tmp_path/'voice.wav', x, rate, subtype)
    with pytest.raises(BadInput, match=f'voice.wav: .*{said}'): read_sound(path)

def test_not_even_a_file(tmp_path):
    (tmp_path/'link.wav').symlink_to(tmp_path/'gone.wav')
    for name in ('link.wav', 'gone.wav', '.'):
        with pytest.raises(BadInput, match='cannot be opened'): read_sound(tmp_path/name)

def test_one_bad_file_does_not_stop_the_others(tmp_path):
    folder = make_librispeech(tmp_path/'books', range(251, 271), flat=True, seconds=.6)
    bad = sorted(u.path for u in librispeech(folder) if u.split == 'train')[:3]
    bad[0].write_bytes(b''); bad[1].write_bytes(bad[1].read_bytes()[:3000]); soundfile.write(bad[2], 0 * sound, RATE)
    done = prepare(librispeech(folder))
    assert len(done.mels) == len(done.utterances) == 17 and [p for p, _ in done.skipped] == bad
    assert all(path.name in said for path, said in done.skipped)
    assert [k in said for k, (_, said) in zip(('empty', 'truncated', 'silent'), done.skipped)] == [True] * 3
    with pytest.warns(UserWarning) as caught: ds = Speech('librispeech', folder)
    assert len(caught) == 1 and '3 of 16 files were skipped' in str(caught[0].message)
    assert bad[0].name in str(caught[0].message)
    assert len(ds) == 13 and ds.skipped == done.skipped and caught[0].filename == __file__
    # the other side is sound
    with warnings.catch_warnings(): warnings.simplefilter('error'); Speech('librispeech', folder, 'test')

def test_nothing_left(tmp_path):
    folder = make_fsdd(tmp_path, ['theo'], [1, 2], [5])
    for path in folder.rglob('*.wav'): path.write_bytes(b'')
    with pytest.raises(BadInput, match='none of its 2 files can be read.*1_theo_5.wav: an empty file'):
        Speech('fsdd', folder)


# layouts

def test_core_test_is_two_men_and_a_woman_of_each_region():
    assert CORE_TEST == set(' '.join(CORE.values()).split()) and len(CORE_TEST) == 24
    assert all([s[0] for s in who.split()].count('F') == 1 for who in CORE.values())

def test_timit(tree):
    found = timit(tree)
    assert speakers(found, 'train') == {'FCJF0', 'MARC0', 'FCLT0'} and speakers(found, 'test') == CORE_TEST
    assert not speakers(found, 'train') & speakers(found, 'test')
    assert Counter(u.content for u in found if u.split == 'test') == {'SX37': 24, 'SI1027': 24} # no SA
    assert Counter(u.content for u in found if u.split == 'train') == {'SA1': 3, 'SX37': 3, 'SI1027': 3}
    assert {u.sex for u in found if u.speaker.startswith('F')} == {'F'} and len(found) == 28 * 3
    ds = Speech('timit', tree.parent, 'test')
    assert len(ds) == 48 and list(ds.labels) == ['speaker', 'content', 'sex', 'path'] and not ds.skipped
    assert not ds.notes
    i = [u.speaker for u in ds.items].index('FELC0')
    # 16 bits, in the quietest bands
    assert (ds.clip(i) - log_mel(babble('FELC0', ds.items[i].content, .7))).abs().max() < .3
    assert len(ds.utterances()) == 48 # whole ones

def test_timit_from_one_side_only(tree):
    side = next(tree.glob('[Tt][Rr]*'))
    assert len(Speech('timit', side)) == 9
    with pytest.raises(BadInput, match='no utterance for split=.test.*both sides'): Speech('timit', side, 'test')

def test_librispeech(books):
    found = librispeech(books)
    train, test = speakers(found, 'train'), speakers(found, 'test')
    assert len(found) == 20 and len(train) == 8 and len(test) == 2 and not train & test
    assert all(u.sex == 'FM'[int(u.speaker) % 2] and u.content == '' for u in found)
    assert librispeech(books/'train-clean-100') == found and librispeech(str(books)) == found
    flat = Path(shutil.copytree(books, books.parent/'flat', dirs_exist_ok=True))
    for f in flat.rglob('*.flac'): shutil.move(f, flat/f.name.upper())
    again = librispeech(flat)
    # the layout does not matter
    assert (speakers(again, 'train'), speakers(again, 'test')) == (train, test) and len(again) == 20

def test_librispeech_split_is_written_in_stone(tmp_path):
    for s in range(251): (tmp_path/f'{s}-1-0000.flac').touch()
    found = librispeech(tmp_path)
    assert len(speakers(found, 'train')) == 200 and len(speakers(found, 'test')) == 51
    # the last 51 by sha256sum of the shell
    assert sorted(speakers(found, 'test'), key=int)[:6] == ['2', '5', '6', '15', '20', '24']

def test_librispeech_keeps_its_own_split(tmp_path):
    subsets = 'train-clean-360', 'train-other-500', 'dev-clean', 'test-clean', 'test-other'
    for who, subset in enumerate(subsets, 1):
        make_librispeech(tmp_path, [who], subset=subset, seconds=.6)
    found = librispeech(tmp_path)
    assert speakers(found, 'train') == {'1', '2'} and speakers(found, 'test') == {'4', '5'}
    assert speakers(found, 'dev') == {'3'}

def test_fsdd(digits):
    found = fsdd(digits)
    # not disjoint, as its owners split it
    assert len(found) == 3 * 3 * 4 and speakers(found, 'train') == speakers(found, 'test')
    sides = {(u.path.stem.split('_')[2], u.split) for u in found}
    assert sides == {('0', 'test'), ('4', 'test'), ('5', 'train'), ('49', 'train')}
    ds = Speech('fsdd', digits, 'test')
    said = [[c, s] for c, s in zip(ds.labels['content'], ds.labels['speaker'])]
    assert [Path(p).stem.split('_')[:2] for p in ds.labels['path']] == said
    assert 'sex' not in ds.labels

def test_copies_and_litter_do_not_count(digits, tmp_path):
    here = Path(shutil.copytree(digits, tmp_path/'a'))
    shutil.copytree(digits, here/'copy')
    for name in ('._0_george_0.wav', '0_george_0.wav.bak', 'x0_george_1.wav', 'notes.txt'): (here/name).write_text('')
    assert len(fsdd(here)) == len(fsdd(digits))

@pytest.mark.parametrize('corpus,source', [
    ('librispeech', 'openslr.org/12'), ('fsdd', 'git clone https://github.com/Jakobovski'), ('timit', 'LDC93S1')])
def test_not_that_folder(tmp_path, corpus, source):
    (tmp_path/'file').write_text('')
    (tmp_path/'empty').mkdir()
    (tmp_path/'other').mkdir()
    (tmp_path/'other/cat.wav').write_text('')
    for folder, said in ((None, 'none was given'), ('', 'none was given'),
                         (tmp_path/'nowhere', 'nowhere: there is no such folder'),
                         (tmp_path/'file', 'a file, not a folder'),
                         (tmp_path/'empty', 'an empty folder'), (tmp_path/'other', r'none of its 1 files \(cat.wav')):
        with pytest.raises(BadInput, match=f'{said}.*{source}'): Speech(corpus, folder)

def test_wrong_argument(books):
    with pytest.raises(BadInput, match="corpus='speech'.*librispeech, fsdd, timit"): Speech('speech', books)
    with pytest.raises(BadInput, match="split='dev'.*train, test"): Speech('librispeech', books, 'dev')


# the dataset

@pytest.fixture(scope='module')
def ds(books): return Speech('librispeech', books)

def test_contract(ds):
    assert ds.name == 'librispeech' and ds.frame_shape == (80,) and ds.split == 'train' and len(ds) == 16
    assert all(len(v) == 16 for v in ds.labels.values()) and 'content' not in ds.labels
    assert all(torch.equal(ds.clip(i), log_mel(read_sound(ds.labels['path'][i]))) for i in range(16))
    assert ds.clip(0).dtype == torch.float32
    assert abs(ds.minutes - 16 * 1.3 / 60) < .01

def test_draw(ds):
    draw = lambda seed, n=68: ds.draw(np.random.default_rng(seed), 8, n)
    assert draw(0).shape == (8, 68, 80) and torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))
    whole = [ds.clip(i).numpy() for i in range(16)]
    for clip in draw(2).numpy(): assert any((w[t:t + 68] == clip).all() for w in whole for t in range(len(w) - 67))
    most = ds.lengths.max()
    assert (draw(0, 300)[:, most:] == SILENCE).all() and (draw(0, 300)[:, :100] != SILENCE).any()
    assert all((ds.clip(i).numpy() == w).all() for i, w in enumerate(whole)) # what is drawn is a copy

def test_speakers_are_drawn_evenly(tmp_path):
    make_fsdd(tmp_path, ['ann', 'bob'], [7], [5]); make_fsdd(tmp_path, ['cat'], range(10), [5])
    ds = Speech('fsdd', tmp_path)
    who = {ds.clip(i).numpy().tobytes(): str(w) for i, w in enumerate(ds.labels['speaker'])}
    drawn = Counter(who[c.numpy().tobytes()] for c in ds.draw(np.random.default_rng(0), 3000, SEGMENT))
    assert all(900 < drawn[w] < 1100 for w in ('ann', 'bob', 'cat'))

def test_halves(books, tmp_path):
    two = Speech('librispeech', books, 'test')
    assert len(two.utterances()) == 4 and len(two.utterances(halves=True)) == 8
    one = Speech('librispeech', books, 'test', per_speaker=1)
    parts = one.utterances()
    assert len(one) == 2 and [u[1] for u in parts] == [w for w in one.labels['speaker'] for _ in range(2)]
    assert len(one.utterances(halves=False)) == 2
    assert all(torch.equal(torch.cat([parts[2 * i][0], parts[2 * i + 1][0]]), one.clip(i)) for i in range(2))

def test_segments():
    mel = torch.arange(200.)[:, None].expand(-1, 80)
    assert segments(mel).shape == (2, 68, 80) and segments(mel)[1, 0, 0] == 68
    assert segments(mel[:68]).shape == (1, 68, 80) and segments(mel[:5])[0, 5:].unique().tolist() == [SILENCE]

def test_goes_to_a_worker(ds):
    twin = pickle.loads(pickle.dumps(ds))
    assert torch.equal(twin.draw(np.random.default_rng(0), 2, 30), ds.draw(np.random.default_rng(0), 2, 30))

def test_heavy_imports_are_late():
    code = "import sys, diffsda.speech; sys.exit(any(m in sys.modules for m in ('librosa', 'soundfile', 'pandas')))"
    assert subprocess.run([sys.executable, '-c', code], cwd=root).returncode == 0

def test_no_such_clip(ds):
    for i in (16, -1):
        with pytest.raises(BadInput, match=f'clip {i}: there are 16 utterances in this split; expected 0 to 15'):
            ds.clip(i)


# the real corpora

def test_real_librispeech():
    folder = real('librispeech_mini')
    found = librispeech(folder)
    train, test = speakers(found, 'train'), speakers(found, 'test')
    assert len(found) == 251 and len(train) == 200 and len(test) == 51 and not train & test
    assert {u.sex for u in found} == {'F', 'M'}
    ds = Speech('librispeech', folder, 'test')
    assert len(ds) == 51 and len(ds.utterances()) == 102 and not ds.skipped and not ds.notes and 10 < ds.minutes < 13

def test_real_fsdd():
    folder = real('fsdd')
    found = fsdd(folder)
    assert Counter(u.split for u in found) == {'train': 2700, 'test': 300}
    assert len(speakers(found, 'test')) == 6 and set(Counter(u.content for u in found).values()) == {300}
    ds = Speech('fsdd', folder, 'test', per_speaker=20)
    assert len(ds) == 120 and not ds.skipped
    assert Counter(what.split(':')[0] for _, what in ds.notes)['resampled from 8000 Hz'] == 120


# floats on another scale, and sounds that only PyAV reads

@pytest.mark.parametrize('bits', [16, 24, 32])
def test_floats_on_the_scale_of_integers(tmp_path, bits):
    path, notes = write(tmp_path/'a.wav', sound * (2 ** (bits - 1) - 1), subtype='FLOAT'), []
    assert np.abs(read_sound(path, notes).numpy() - sound).max() < 1e-4
    assert notes == [(path, f'on the scale of {bits} bit integers: divided by {2 ** (bits - 1)}')]

def test_floats_on_no_known_scale(tmp_path):
    with pytest.raises(BadInput, match='a.wav: its samples rise to 50.*divide them'):
        read_sound(write(tmp_path/'a.wav', sound * 100, subtype='FLOAT'))

@pytest.mark.parametrize('suffix', ['m4a', 'mka'])
def test_sounds_by_pyav(tmp_path, suffix):
    import av
    path = tmp_path/f'a.{suffix}'
    with av.open(str(path), 'w') as f:
        s = f.add_stream('aac', rate=RATE, layout='mono')
        a = av.AudioFrame.from_ndarray(sound[None].astype('float32'), format='fltp', layout='mono')
        a.sample_rate = RATE
        f.mux(s.encode(a)); f.mux(s.encode(None))
    x = read_sound(path).numpy()
    fit = np.correlate(x, sound.astype('float32'), 'full').max() / np.sqrt((x ** 2).sum() * (sound ** 2).sum())
    assert fit > .98 and len(sound) <= len(x) <= len(sound) + 2048
    path.write_bytes(path.read_bytes()[:-6000])
    said = 'a.*(truncated|not a recording that can be read).*fetch it again'
    with pytest.raises(BadInput, match=said): read_sound(path)
