"""The benchmark, and what it compares: the same gradient with less memory, and a table of two settings."""
import pytest, torch
import under_fire # a preset of that name, small
from diffsda.bench import BenchSettings, compare, main, other_setting, work_of
from diffsda.factors import BadInput
from diffsda.model import DiffSDA
from diffsda.presets import PRESETS
from diffsda.settings import read_settings
from diffsda.training import TrainConfig, Trainer
from diffsda.unet import Stage

small = dict(preset='under_fire', batch_size=2, n_frames=2, seconds=.01, rounds=1)

@pytest.mark.parametrize('precision', ['no', 'bf16'])
def test_recomputed_gradients_are_the_same_to_the_last_bit(precision):
    torch.manual_seed(0)
    model = DiffSDA(PRESETS['cartoon'].model).train()
    batch = model.prepare_batch(torch.rand(2, 2, 3, 32, 32))
    found = []
    for again in (False, True):
        for layers in model.modules():
            if isinstance(layers, Stage): layers.recompute = again
        model.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, precision == 'bf16'): model(*batch).mean().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found))

def test_recompute_reaches_every_level(tmp_path):
    class Noise:
        def draw(self, rng, batch_size, n_frames): return torch.rand(batch_size, n_frames, 3, 16, 16)
    config = TrainConfig(steps=1, batch_size=2, n_frames=2, recompute=True)
    trainer = Trainer(DiffSDA(PRESETS['under_fire'].model), Noise(), config, tmp_path / 'run', verbose=False)
    stages = [m for m in trainer.unwrapped_model.modules() if isinstance(m, Stage)]
    assert len(stages) > 3 and all(s.recompute for s in stages)
    trainer.fit()

def test_work_and_memory():
    flop, kept = work_of(read_settings(small, BenchSettings))
    twice = work_of(read_settings(small | dict(batch_size=4), BenchSettings))
    assert twice[0] == 2 * flop and 1.8 < twice[1] / kept < 2.2 # linear in the batch, but for what a step keeps once
    again = work_of(read_settings(small | dict(recompute=True), BenchSettings))
    assert again[1] < .7 * kept and flop < again[0] < 4 / 3 * flop

def test_the_table_from_a_terminal(capsys):
    main('--preset under_fire --batch_size 2 --n_frames 2 --seconds .01 --rounds 1 --against batch_size=4'.split())
    said = capsys.readouterr().out
    assert 'torch' in said and 's a step' in said and '\nbatch_size=2' in said and '\nbatch_size=4' in said

refused = [(dict(preset='mog'), "preset 'mog': it is not known"), (dict(against='fast'), "the word 'fast'"),
           (dict(against='preset mug'), "the word 'preset'"), (dict(precision='int8'), "'int8'"),
           (dict(batch_size=1), 'batch_size: 1; expected at least 2')]
@pytest.mark.parametrize('given, said', refused, ids=[s for _, s in refused])
def test_refusals(given, said):
    with pytest.raises(BadInput) as e: compare(read_settings(small | given, BenchSettings))
    assert said in str(e.value)

def test_other_words():
    other = other_setting(BenchSettings(against='compile=True batch_size=4 seconds=2.5'))
    assert (other.compile, other.batch_size, other.seconds, other.against) == (True, 4, 2.5, '')
