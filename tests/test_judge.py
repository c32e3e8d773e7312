"""The judge: scores on hand-made cases, labels of any dataset, what it refuses, training that resumes exactly."""
import math
from pathlib import Path
import numpy as np
import pytest, torch
from torch.nn.functional import one_hot
from fixtures import make_sprite_sheets
from fixtures_notebooks import run_cells
from test_provenance import prepare
from diffsda.clips import Clips
from diffsda.factors import refusal
from diffsda.judge import (CLASSES, Judge, JudgeConfig, as_decoded, chance_agreement, evenly, fit_judge,
    frame_encoder, judge_accuracy, judge_scores, judged_clips, labelled_batch, labels_of, long_enough, make_judge,
    people_of, rendered_swaps)
from diffsda.reader import Reader
from diffsda.sprites import ACTIONS, Sprites
from diffsda.toys import CartoonFaces

root = Path(__file__).resolve().parents[1]
TINY = dict(width=4, g=8, hidden=8)

@pytest.fixture(scope='module')
def sheets(tmp_path_factory): return make_sprite_sheets(tmp_path_factory.mktemp('sheets'))

@pytest.fixture(scope='module')
def faces(): return CartoonFaces('test', 24, 8, size=32)

@pytest.fixture(scope='module')
def judge(faces):
    torch.manual_seed(0)
    return make_judge(faces, **TINY).eval()


# scores

def test_scores_against_other_definitions():
    "Scipy's entropies and KL divergences, on random distributions; IS by its other formula."
    from scipy.stats import entropy
    p, y = np.random.default_rng(0).dirichlet(np.full(9, .3), 200), np.arange(200) % 9
    found = judge_scores(p, y)
    assert math.isclose(found['acc'], np.mean(p.argmax(1) == y))
    assert math.isclose(found['IS'], np.exp(np.mean([entropy(row, p.mean(0)) for row in p])), rel_tol=1e-9)
    assert math.isclose(found['H(y|x)'], entropy(p, axis=1).mean()) and math.isclose(found['H(y)'], entropy(p.mean(0)))
    assert abs(found['IS'] - math.exp(found['H(y)'] - found['H(y|x)'])) < 1e-6

def test_scores_by_hand():
    "Two clips, (3/4, 1/4) and (1/4, 3/4): p(y) is even, every KL is ln 2 - H(1/4)."
    p, h = [[.75, .25], [.25, .75]], -.75 * math.log(.75) - .25 * math.log(.25)
    found = judge_scores(p, [0, 0])
    assert math.isclose(found['IS'], 2 * math.exp(-h)) and math.isclose(found['H(y|x)'], h)
    assert math.isclose(found['H(y)'], math.log(2)) and found['acc'] == .5

@pytest.mark.parametrize('k', [2, 6, 9])
def test_bounds_and_a_perfect_score_that_is_wrong(k):
    y = torch.arange(5 * k) % k
    wrong = one_hot((y + 1) % k, k).double()
    found = judge_scores(wrong, y)
    assert found['acc'] == 0 and math.isclose(found['IS'], k) and found['H(y|x)'] == 0
    assert math.isclose(found['H(y)'], math.log(k))
    even = judge_scores(torch.full((5 * k, k), 1 / k), y)
    assert math.isclose(even['IS'], 1) and math.isclose(even['H(y|x)'], math.log(k))

@pytest.mark.parametrize('p, y, words', [
    ([[.5, .5]], [0, 1], '2 labels'), ([[2., -1.]], [0], 'no distribution'), ([[.5, .6]], [0], 'not logits'),
    ([[float('nan'), 1.]], [0], 'no distribution'), ([[.5, .5]], [2], 'from 0 to 1'),
    ([[.5, .5]], [.5], 'whole numbers')])
def test_scores_refuse(p, y, words): assert words in refusal(lambda: judge_scores(p, y))

def test_agreement_by_chance():
    "The mean is the sum of q r over classes; for 4 labels of two classes the exact distribution is known."
    rng = np.random.default_rng(0)
    guesses, labels = rng.choice(3, 300, p=[.6, .3, .1]), rng.choice(3, 300, p=[.2, .2, .6])
    q, r = (np.bincount(v) / 300 for v in (guesses, labels))
    assert abs(chance_agreement(guesses, labels)['chance'] - q @ r) < .005
    exact = chance_agreement([0, 0, 1, 1], [0, 0, 1, 1], n=6000)       # all four agree in 4 of 4! / (2! 2!) = 1 of 6
    assert exact['acc'] == 1 and abs(exact['p'] - 1 / 6) < .02
    assert 'shapes' in refusal(lambda: chance_agreement([0, 1], [0]))


# labels

def test_labels_of_rendered_data(faces, sheets):
    sprites, mixed = Sprites(sheets, 'test', 'action', 32), Sprites(sheets, 'test', size=32)
    assert list(labels_of(sprites)) == ['action', 'body', 'bottomwear', 'topwear', 'hair']
    assert list(labels_of(mixed)) == ['body', 'bottomwear', 'topwear', 'hair']
    assert labels_of(sprites)['action'][:9].tolist() == [a.replace(' ', '_') for a in ACTIONS]
    assert list(labels_of(faces)) == ['expression', 'hair'] and people_of(sprites) is None
    judge = make_judge(sprites, **TINY)
    assert [len(names) for names in judge.classes.values()] == [9, 6, 6, 6, 6] and not judge.config.identity
    assert (judge.truth(sprites)['hair'] == sprites.characters[:, 3].repeat(9)).all()
    assert list(judge.truth(mixed)) == ['body', 'bottomwear', 'topwear', 'hair'] # the others have no answer there
    assert 'no label action' in refusal(lambda: fit_judge(judge, mixed, steps=1))

class Table:
    "A dataset that is a table of labels."
    frame_shape = (3, 32, 32)
    def __init__(self, name, who=None, **labels):
        self.name, self.labels = name, {k: np.array(v) for k, v in labels.items()}
        if who: self.who = np.array(who)

def test_labels_of_own_data():
    "MUG with the same people on both sides, and with others."
    train = Table('mug', who=list('aabbcc'), id=range(6), subject=list('aabbcc'), expression=['sad', 'very happy'] * 3)
    same, others = (Table('mug', subject=list(who), expression=['sad'] * 3) for who in ('abc', 'xyz'))
    assert set(labels_of(train, same)) == {'subject', 'expression'} and set(labels_of(train, others)) == {'expression'}
    judge = make_judge(train, same, **TINY)
    assert judge.config.heads == 'subject: a b c; expression: sad very_happy' and not judge.config.identity
    assert make_judge(train, others, **TINY).config.identity
    assert judge.truth(same)['subject'].tolist() == [0, 1, 2]
    said = refusal(lambda: judge.truth(others))
    assert 'does not know subject x, y, z' in said and 'train one' in said
    assert 'asked about taichi' in refusal(lambda: judge.truth(Table('taichi', subject=['a'])))
    assert 'frames (3, 64, 64)' in refusal(lambda: judge.truth(type('Large', (Table,), dict(frame_shape=(3, 64, 64)))(
        'mug', subject=['a'])))

def test_data_without_labels_are_refused():
    assert 'no labels' in refusal(lambda: labels_of(Table('mine')))
    assert 'sex: one class only' in refusal(lambda: labels_of(Table('mine', id=range(4), sex=['f'] * 4)))
    assert 'take: 4 classes in 4 clips' in refusal(lambda: labels_of(Table('mine', take=range(4))))
    assert 'no label but the id' in refusal(lambda: labels_of(Table('mine', id=range(4))))
    sound = type('Sound', (Table,), dict(frame_shape=(80,)))('speech', word=['a', 'a', 'b', 'b'])
    assert 'square RGB' in refusal(lambda: make_judge(sound))

def test_prepared_clips(tmp_path):
    "Labels of clips.csv; `prepare` gives each clip its own, so there is nothing to learn until two share one."
    folder = prepare(tmp_path / 'mine', 'mine', (3, 32, 32), sides=('train',) * 4 + ('test',) * 2)
    assert 'label: 4 classes in 4 clips' in refusal(lambda: labels_of(Clips(folder)))
    data = Clips(folder)
    data.labels['label'] = np.array(['a', 'b', 'a', 'b'])
    judge = make_judge(data, **TINY)
    assert judge.config.heads == 'label: a b' and len(fit_judge(judge, data, steps=2, batch=2, n_frames=4)) == 2
    assert rendered_swaps(data, judge.truth(data), 3, 4) is None
    assert set(judge_accuracy(judge, data, 4)['label']) == {'classes', 'clips', 'chance', 'high'}


# network

def test_published_sizes():
    "Counted by hand at width 64, without biases and BatchNorm: 16 (3 64 + 64 128 + 128 256 + 256 512 + 512 g)."
    encoder = frame_encoder(64, 64, 128)
    assert sum(p.numel() for p in encoder.parameters() if p.ndim == 4) == 16 * (192 + 8192 + 32768 + 131072 + 65536)
    heads = '; '.join(f'{h}: {" ".join(names)}' for h, names in CLASSES['sprites'].items())
    judge = Judge(JudgeConfig('sprites', heads, width=64, hidden=256))
    assert abs(sum(p.numel() for p in judge.parameters()) / 1e6 - 5.26) < .01

def test_last_forward_and_first_backward_state(judge, faces):
    clips = faces.frames[:2, :5].float() / 255
    with torch.no_grad():
        each = judge.frames(clips.flatten(0, 1)).unflatten(0, (2, 5))
        _, (h, _) = judge.lstm(each)
        assert torch.allclose(judge.states(clips)[1], torch.cat([h[0], h[1]], 1))

def test_predict_in_parts_and_as_floats(judge, faces):
    clips = faces.take(np.arange(5), evenly(faces.lengths[:5], 4))
    whole = judge.predict(clips)
    for other in (judge.predict(clips, batch=2), judge.predict(clips / 255)):
        assert all(torch.allclose(whole[k], other[k], atol=1e-6) for k in whole)
    vectors = judge.features(clips)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(5), atol=1e-5) and not judge.training

@pytest.mark.parametrize('shape, words', [((1, 4, 3, 16, 32), 'trained on'), ((4, 3, 32, 32), 'clip[None]'),
                                          ((1, 1, 3, 32, 32), '1 frames')])
def test_other_clips_are_refused(judge, shape, words):
    assert words in refusal(lambda: judge.predict(torch.zeros(shape)))

@pytest.mark.parametrize('odd, words', [
    (dict(frame=48), 'power of two'), (dict(frame=16), 'from 32'), (dict(width=0), 'above 0'),
    (dict(heads=''), 'heads'), (dict(heads='hair: red'), 'classes red'),
    (dict(heads='hair: red red'), 'two different')])
def test_other_settings_are_refused(odd, words): assert words in refusal(lambda: JudgeConfig(**odd))

def test_saved_and_read(judge, faces, tmp_path):
    judge.save_pretrained(tmp_path / 'judge')
    again = Judge.from_pretrained(tmp_path / 'judge')
    a, b = (j.predict(faces.frames)['hair'] for j in (judge, again))
    assert again.config == judge.config and torch.equal(a, b)
    assert 'the folder of a judge' in refusal(lambda: Reader.from_pretrained(tmp_path / 'judge'))
    assert 'the folder of a reader' in refusal(lambda: Judge.from_pretrained(root / 'checkpoints/cartoon_reader'))
    assert 'no vector of identity' in refusal(lambda: Judge(JudgeConfig(**TINY)).features(faces.frames))


# training

def test_batches_and_their_labels(faces):
    truth = dict(number=np.arange(24))
    clips, labels = labelled_batch(faces, truth, np.random.default_rng(3), 6, 6)
    assert 2 <= clips.shape[1] <= 6 and torch.equal(labels['number'], labelled_batch(
        faces, truth, np.random.default_rng(3), 6, 6)[1]['number'])
    for clip, i in zip(clips, labels['number']): # its frames, in order
        at = [next(t for t in range(8) if torch.equal(faces.frames[i, t], frame)) for frame in clip]
        assert at == sorted(set(at))
    changed = as_decoded(clips / 255, torch.Generator().manual_seed(0))
    assert changed.min() >= 0 and changed.max() <= 1 and 0 < (changed - clips / 255).abs().mean() < .1

def test_a_judge_learns_and_resumes(faces, tmp_path):
    "Eight clips by heart; a resume of a finished run trains no further."
    few = CartoonFaces('train', 8, 8, size=32)
    torch.manual_seed(0)
    judge = make_judge(few, width=8, g=32, hidden=32)
    fit_judge(judge, few, steps=60, batch=8, out=tmp_path)
    said = judge.predict(few.frames)
    assert ((said['hair'].argmax(1).numpy() == judge.truth(few)['hair'])).mean() > .8
    other = make_judge(few, width=8, g=32, hidden=32)
    losses = fit_judge(other, few, steps=60, batch=8, out=tmp_path, resume=True)
    assert len(losses) == 60 and torch.equal(other.lstm.weight_hh_l0, judge.lstm.weight_hh_l0)
    for odd, words in ((dict(steps=70), 'steps=60, not 70'), (dict(n_frames=4), 'n_frames=8, not 4')):
        assert words in refusal(lambda: fit_judge(other, few, **dict(dict(steps=60, batch=8), **odd), out=tmp_path,
                                                  resume=True))
    assert 'data changed' in refusal(lambda: fit_judge(other, CartoonFaces('train', 10, 8, size=32), steps=60, batch=8,
                                                       out=tmp_path, resume=True))

@pytest.mark.parametrize('odd, words', [
    (dict(steps=0), 'steps: 0'), (dict(batch=0), 'batch: 0'), (dict(n_frames=1), '2 or more'),
    (dict(n_frames=9), 'longest clip has 8'), (dict(resume=True), 'no such checkpoint')])
def test_training_refuses(judge, faces, odd, words, tmp_path):
    assert words in refusal(lambda: fit_judge(judge, faces, **dict(dict(steps=1, out=tmp_path), **odd)))
    judge.eval()


# swaps

def test_rendered_swaps_of_sprites(sheets):
    "With one action a clip, the right answer of a swap is another clip of the same dataset."
    data = Sprites(sheets, 'test', 'action', 32)
    clips, number = rendered_swaps(data, dict(hair=np.arange(len(data)) // 9, action=np.arange(len(data)) % 9), 6)
    for clip, who, what in zip(clips, number['hair'], number['action']):
        assert torch.equal(clip, data.clip(9 * who + what))

def test_rendered_swaps_of_faces(faces):
    "The labels are those of the sources: hair as in `static`, expression as in `dynamic` of the same swaps."
    clips, shown = rendered_swaps(faces, faces.labels | dict(number=np.arange(24)), 6, 8, seed=1)
    from diffsda.faces import render
    for clip, a, hair, what in zip(clips, shown['number'], shown['hair'], shown['expression']):
        assert faces.labels['hair'][a] == hair
        sources = [b for b in range(24) if faces.labels['expression'][b] == what and faces.who[b] != faces.who[a]]
        answers = [render(faces.static[[a]], faces.dynamic[[b]], 32)[0] for b in sources]
        assert min((clip / 255 - answer).abs().max() for answer in answers) < .006
    alone = CartoonFaces('test', 8, 8, size=32, clips_per_identity=8)
    assert 'one identity' in refusal(lambda: rendered_swaps(alone, alone.labels, 2))

def test_a_perfect_judge_has_accuracy_one(faces):
    "An oracle that knows the frames reads clips rightly; the table counts over all clips."
    class Oracle:
        classes = dict(hair=('a', 'b'), expression=('c', 'd'))
        def truth(self, data): return dict(hair=np.arange(24) % 2, expression=np.arange(24) // 12)
        def predict(self, clips):
            at = [int((faces.frames == clip).flatten(1).all(1).nonzero()[0]) if len(clip) == 8 else 0 for clip in clips]
            truth = self.truth(None)
            return {k: one_hot(torch.from_numpy(v[at]).long(), 2).double() for k, v in truth.items()}
    said, which = judged_clips(Oracle(), faces, 8)
    assert which.tolist() == list(range(24)) and (said['hair'].argmax(1).numpy() == np.arange(24) % 2).all()
    assert long_enough(faces, 8).tolist() == which.tolist() and 'longest' in refusal(lambda: long_enough(faces, 9))


# the notebook that trains one

def test_train_judge(tmp_path):
    small = dict(n_clips=44, steps=2, batch_size=2, n_frames=4, width=4, hidden=8, swaps=4, precision='no',
                 out=tmp_path / 'run')
    space = run_cells('train_judge', **small)
    found = space['result']
    assert set(found['accuracy']) == {'expression', 'hair'} and 'swaps' in found['accuracy']['hair']
    assert 'identity_eer' in found and found['steps'] == 2 and (tmp_path / 'run/metrics.json').is_file()
    assert Judge.from_pretrained(tmp_path / 'run').config.dataset == 'cartoon'
    assert 'already holds a run' in refusal(lambda: run_cells('train_judge', **small))
    assert "'stepps'" in refusal(lambda: run_cells('train_judge', stepps=3))
