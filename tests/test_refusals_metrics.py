"What metrics, verification and the explorer refuse, and the sentences they refuse it with"
import json, shutil
from pathlib import Path
import numpy as np
import pytest
import torch
from diffsda.factors import BadInput, Factors, refusal
from diffsda.metrics import entropy, mse, r2, swap_error
from diffsda.verification import all_pairs, eer, leakage, open_voices, probe, roc

root = Path(__file__).resolve().parents[1]

def test_two_shapes_are_not_broadcast():
    clip = torch.zeros(2, 3, 3, 4, 4)
    assert '(1, 3, 3, 4, 4)' in refusal(lambda: mse(clip, clip[:1]))
    assert 'one shape' in refusal(lambda: mse(clip, clip[0]))
    assert 'one shape' in refusal(lambda: r2(torch.zeros(5, 2), torch.zeros(5, 1)))

clip = torch.randint(0, 256, (2, 3, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

@pytest.mark.parametrize('same', [
    clip.numpy(), clip.tolist(), clip.long(), clip / 255, clip.double() / 255, clip.numpy() / 255])
def test_an_error_of_other_types_is_the_same(same):
    other = clip.flip(0)
    expected = ((clip.double() - other.double()) / 255).square().mean(dim=(1, 2, 3, 4))
    for found in (mse(same, other), mse(other, same)): assert torch.allclose(found, expected, rtol=1e-6, atol=0)
    assert mse(same, clip).max() < 1e-14

def test_an_error_in_double_is_kept():
    tiny = torch.full((1, 4), 1e-12, dtype=torch.float64)
    assert abs(mse(1 + tiny, tiny + 1 + 1e-10).item() / 1e-20 - 1) < 1e-5 # float32 has no such difference

@pytest.mark.parametrize('a, b, words', [
    (clip, clip.float(), 'divide them by 255'), (clip, clip.long() - 9, 'values from -9'), # two scales: was 21,580
    (clip / 255, clip / 0., 'not finite'), (clip[:0], clip[:0], 'no values')])
def test_errors_that_mean_nothing(a, b, words):
    assert words in refusal(lambda: mse(a, b))

def test_predictions_may_overshoot():
    assert mse(clip, clip / 255 * 2 - .5).min() > 0

def test_a_factor_that_never_changes_explains_nothing():
    truth = torch.tensor([[1., 5], [2, 5], [4, 5]])
    found = r2(truth + .5, truth)
    assert abs(found[0] - (1 - .25 / truth[:, 0].var(correction=0))) < 1e-6 and found[1].isnan()
    assert torch.equal(r2((truth + .5).numpy(), truth.tolist())[:1], found[:1])
    for few in (truth[:1], truth[:, 0], truth[:0]): assert refusal(lambda: r2(few, few)).startswith('r2: ')

@pytest.mark.parametrize('labels', [[0, 1, 3], [-1, 0], [0., 1.], [], [[0, 1]], 'abc', [True, False]])
def test_labels_that_are_not_among_the_classes(labels):
    assert refusal(lambda: entropy(labels, 3)).startswith('labels: ')

class Copies:
    "Its reconstruction is the clip itself; counts what it is asked."
    asked = 0
    def reconstruct(self, clip, **kw):
        self.asked += 1
        return torch.as_tensor(clip) / 255
    def swap(self, static, dynamic, **kw): return torch.as_tensor(dynamic) / 255

@pytest.mark.parametrize('change, words', [
    (lambda s, d, t: (s[:1], d, None), '1 static and 2 dynamic'),
    (lambda s, d, t: (s, d[:1], t), '2 static and 1 dynamic'),
    (lambda s, d, t: (s, d, t[:1]), 'truth: shape'), (lambda s, d, t: (s, d[:, :1], t), 'that of dynamic')])
def test_pairs_are_compared_before_anything_is_computed(change, words):
    model, score = Copies(), lambda pairs, batch: refusal(lambda: swap_error(model, pairs, batch=batch))
    for batch in (1, 16): assert words in score(change(clip, clip, clip), batch)
    for batch in (0, -1, 1.5, '2'): assert score((clip, clip, clip), batch).startswith('batch: ')
    assert model.asked == 0

def test_pairs_of_other_types():
    plain = swap_error(Copies(), (clip.flip(0), clip, clip), batch=1).metrics
    assert plain == swap_error(Copies(), (clip.flip(0).numpy(), clip.tolist(), clip.numpy()), batch=2.).metrics
    assert plain['reconstruction_mse'] < 1e-14 and plain['copy_dynamic_mse'] == 0 < plain['copy_static_mse']

@pytest.mark.parametrize('scores, same, words', [
    ([1, 2], [1, 1], ('2 of 2 pairs', 'both kinds')),
    ([1, 2], [0, 0], ('0 of 2 pairs', 'both kinds')),
    ([1, np.nan], [1, 0], ('1 of 2 scores', 'not finite')),
    ([np.inf, 2, 3], [1, 0, 0], ('1 of 3 scores', 'not finite'))])
def test_pairs_without_an_error_rate(scores, same, words):
    for f in (roc, eer):
        said = refusal(lambda: f(scores, same))
        assert all(word in said for word in words), said

def test_a_vector_of_zeros_has_no_cosine():
    scores, same = all_pairs([[0, 0], [1, 0], [1, 1]], ['ann', 'ann', 'bob'])
    assert '2 of 3 scores' in refusal(lambda: eer(scores, same))

def test_too_few_examples_for_a_probe():
    said = refusal(lambda: probe(np.zeros((7, 2)), ['ann'] * 4 + ['bob'] * 3))
    assert '2 labels' in said and '[4, 3]' in said and 'two labels with 4 examples' in said
    assert set(probe(np.eye(8), ['ann', 'bob'] * 4)) == {'accuracy', 'chance'}

def test_rare_labels_are_left_out():
    x = np.vstack([np.eye(3)[[0] * 6 + [1] * 6], 9 * np.ones((3, 3))])
    found = probe(x, ['ann'] * 6 + ['bob'] * 6 + ['cat'] * 3)
    assert found == dict(accuracy=1., chance=.5)

def test_utterances_are_not_split():
    "A label that is known only by its utterance cannot be found when utterances stay whole."
    rng, names, utterances = np.random.default_rng(0), np.repeat(['a', 'b'], 40), np.repeat(range(8), 10)
    x = 5 * rng.standard_normal((8, 20))[utterances] + rng.standard_normal((80, 20)) # a direction for each utterance
    assert probe(x, names)['accuracy'] == 1 and probe(x, names, utterances)['accuracy'] < .9

class Encoder:
    def encode(self, clip): return Factors(clip.mean(1), clip[..., :2])

def test_leakage_asks_only_what_has_an_answer():
    torch.manual_seed(0)
    say = lambda content: [(torch.randn(20, 3) + k, f'speaker {k}', content(k, i)) for k in range(2) for i in range(4)]
    assert set(leakage(Encoder(), say(lambda k, i: ''), 10)) == {'speaker from s', 'speaker from d'}
    once = say(lambda k, i: f'{k} {i}')
    assert set(leakage(Encoder(), once, 10)) == {'speaker from s', 'speaker from d'}
    assert len(leakage(Encoder(), say(lambda k, i: f'word {i % 2}'), 10)) == 4
    assert leakage(Encoder(), say(lambda k, i: '')[:1], 10) == {}

@pytest.mark.parametrize('lost', ['run.json', 'metrics.json'])
def test_a_folder_that_is_no_run(tmp_path, lost):
    shutil.copytree(root / 'checkpoints/librispeech', tmp_path / 'run')
    (tmp_path / 'run' / lost).unlink()
    said = refusal(lambda: open_voices(tmp_path / 'run', 'vowels'))
    assert f'there is no {lost}' in said and 'diffsda-train' in said

def test_voices_need_a_model_of_sound():
    assert 'a model of pictures' in refusal(lambda: open_voices(root / 'checkpoints/cartoon64', 'vowels'))
    with pytest.raises(BadInput): open_voices(root / 'checkpoints/nothing', 'vowels')
