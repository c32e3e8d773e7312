"""Trains the reference model of the cartoon faces on one GPU, in eight minutes.

    python checkpoints/train_cartoon64.py --out runs/cartoon64_gpu

A model this small costs a GPU less to compute than a CPU to launch. So the whole step (batch, noise, gradient, AdamW,
average) is captured once as a CUDA graph and replayed. Four models are tried for half a minute each. The one whose
swaps of test faces come nearest to the truth goes on, first with its own noise on d, then with half of it. The usual
way to train, with resume and all that belongs to it, is diffsda-train; this script does one thing, quickly. It keeps
7 GB of frames on the GPU. Without a GPU it runs too, to be tested.
"""
import argparse, csv, math, sys, time
from dataclasses import asdict, replace
from pathlib import Path
import torch
from torch import nn
from diffsda import faces, toys
from diffsda.experiment import Experiment
from diffsda.files import write_json
from diffsda.metrics import swap_error
from diffsda.model import DiffSDA
from diffsda.presets import PRESETS
from diffsda.settings import read_settings
from diffsda.training import schedule

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
GPU, BEGAN = DEVICE == 'cuda', time.monotonic()
FINE = PRESETS['cartoon64'].model
COARSE = dict(base=64, mults=(1, 2, 2), patch=4, enc_mults=(1, 2, 4), enc_patch=4) # of 4x4 patches, as `sprites`
TRIALS = {'fine, d_dim 24, d_noise 0.4': dict(d_dim=24), 'fine, d_dim 12, d_noise 0.4': {},
          'fine, d_dim 12, d_noise 0.8': dict(d_noise=0.8), 'coarse, d_dim 24, d_noise 0.4': dict(COARSE, d_dim=24)}
PHASES = ((1., 2e-3), (.5, 1.5e-3)) # of the best trial: factor on d_noise, peak learning rate

def say(*what): print(f'{time.monotonic() - BEGAN:6.1f} s', *what, flush=True)

def draw(static,      # (n, S)
         dynamic,     # (n, t, Y)
         chunk=1536): # frames at a time
    "`toys.draw_clips` on the GPU: (n, t, 3, 64, 64) bytes."
    t = dynamic.shape[1]
    out = torch.empty(len(static), t, 3, 64, 64, dtype=torch.uint8, device=DEVICE)
    with torch.device(DEVICE):
        for k, those in faces.by_style(static):
            for w in those.split(chunk // t):
                s, d = static[w].to(DEVICE).repeat_interleave(t, 0), dynamic[w].to(DEVICE).flatten(0, 1)
                frames = toys.to_bytes(faces.draw_face(s, d, faces.STYLES[k], 64))
                out[w.to(DEVICE)] = frames.unflatten(0, (len(w), t))
    return out

class Run:
    "A model in training; its step is one CUDA graph."
    def __init__(self, name,
                 config,     # ModelConfig
                 frames,     # (n, t, c, h, w) bytes, all training clips on the device
                 batch,      # clips a step
                 lr=2e-3,    # peak learning rate
                 n_frames=4, # of each clip
                 ema=0.9995):
        torch.manual_seed(0)
        self.name, self.model = name, DiffSDA(config).to(DEVICE).train()
        self.frames, self.batch, self.n_frames, self.peak, self.ema = frames, batch, n_frames, lr, ema
        self.lr, self.loss = torch.zeros((), device=DEVICE), torch.zeros((), device=DEVICE)
        self.step, self.rows, self.spent = 0, [], 0.
        self.params = list(self.model.parameters())
        self.mean = [p.detach().clone() for p in self.params]
        self.optimizer = torch.optim.AdamW(self.params, lr=self.lr if GPU else lr, weight_decay=1e-5,
                                           capturable=GPU, fused=True)

    def once(self):
        clips = torch.randint(len(self.frames), (self.batch, 1), device=DEVICE)
        times = torch.rand(self.batch, self.frames.shape[1], device=DEVICE).argsort(1)[:, :self.n_frames].sort(1).values
        loss = self.model(*self.model.prepare_batch(self.frames[clips, times])).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.params, 1., foreach=True)
        self.optimizer.step()
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.params], 1 - self.ema)
        self.loss += loss.detach()

    def captured(self):
        "The graph of one step; it is warmed up on a stream of its own, as CUDA asks."
        self.lr.fill_(self.peak / 100)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(4):
                self.optimizer.zero_grad(set_to_none=True)
                self.once()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph): self.once()
        return graph

    def log(self, logged, lr, minutes): # step of the row before -> of this one
        row = dict(step=self.step, loss=float(self.loss) / (self.step - logged), lr=lr, minutes=minutes)
        self.rows.append(row)
        self.loss.zero_()
        return self.step

    def one_step(self, graph, lr): # of `captured`, None on a CPU
        if GPU:
            self.lr.fill_(lr)
            graph.replay()
        else:
            self.optimizer.param_groups[0]['lr'] = lr
            self.optimizer.zero_grad()
            self.once()
        self.step += 1
        if self.step == 500: torch._foreach_copy_(self.mean, [p.detach() for p in self.params])

    def train(self, seconds, every=500): # steps between rows of the curve
        began, first = time.monotonic(), self.step
        graph = self.captured() if GPU else None
        self.loss.zero_()
        logged = self.step
        while time.monotonic() - began < seconds:
            for _ in range(50 if GPU else 1):
                lr = self.peak * schedule((time.monotonic() - began) / seconds, self.step - first, 100)
                self.one_step(graph, lr)
            if GPU: torch.cuda.synchronize() # else the clock would run ahead of the work
            minutes = (self.spent + time.monotonic() - began) / 60
            if self.step - logged >= every or not GPU: logged = self.log(logged, lr, minutes)
        self.spent += time.monotonic() - began
        if self.step > logged: self.log(logged, lr, self.spent / 60)
        self.optimizer.zero_grad(set_to_none=True)
        return self

    def averaged(self):
        other = DiffSDA(self.model.config).to(DEVICE)
        other.load_state_dict(self.model.state_dict())
        with torch.no_grad(): torch._foreach_copy_(list(other.parameters()), self.mean)
        return other.eval()

def of_a_copy(model, pairs): # SwapPairs
    "Errors of reconstruction and swap, as fractions of the better copy: of the means, one evaluation each."
    m = swap_error(model, pairs, n_steps=1, temperature=0.).metrics
    copy = min(m['copy_static_mse'], m['copy_dynamic_mse'])
    return m['reconstruction_mse'] / copy, m['swap_mse'] / copy

def report(run, pairs): # -> the swap's error
    reconstruction, swap = of_a_copy(run.averaged(), pairs)
    say(f'{run.name}, d_noise {run.model.config.d_noise}: {run.step} steps, '
        f'reconstruction {reconstruction:.3f}, swap {swap:.3f} of a copy')
    return swap

def measure(out, run, pairs): # folder of the model; what trained it (step, spent); test pairs
    "metrics.json and the pictures, as diffsda-train leaves them."
    settings = dict(dataset='cartoon', preset='cartoon64_fine', run=str(out), n_clips=200, pairs=pairs)
    e = Experiment(read_settings(settings), verbose=False)
    e.trainer.step, e.trainer.elapsed = run.step, run.spent
    return e.measure()

def save(out, run, options): # folder, Run, of the command line
    "The averaged weights in half precision, the curve, the measured numbers and what was run."
    run.averaged().save_pretrained(out, dtype=torch.float16)
    (out / 'README.md').unlink() # the Hub's card
    with open(out / 'metrics.csv', 'w', newline='') as f:
        table = csv.DictWriter(f, run.rows[0], lineterminator='\n')
        table.writeheader()
        table.writerows(run.rows)
    measure(out, run, options.pairs)
    trained_on = torch.cuda.get_device_name() if GPU else 'cpu'
    write_json(out / 'run.json', dict(script='checkpoints/train_cartoon64.py', settings=vars(options), trial=run.name,
                                      trained_on=trained_on, model=asdict(run.model.config)))

def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, text in (('out', 'runs/cartoon64_gpu', 'folder of the model'),
                                ('budget', 510., 'seconds from the start until the model is written'),
                                ('trial', 32., 'seconds of each trial'),
                                ('n_clips', 24000, 'training clips, one for each identity'),
                                ('batch_size', 64, 'clips a step, four frames of each'),
                                ('compared', 96, 'swaps by which models are compared'),
                                ('pairs', 64, 'test pairs that are measured in the end')):
        parser.add_argument('--' + name, type=type(default), default=default, help=f'{text} (default: {default})')
    o, trials = parser.parse_args(), len(TRIALS)
    if (Path(o.out) / 'checkpoint.pt').exists():
        sys.exit(f'--out {o.out}: a run of diffsda-train lies there; name another folder')
    if o.budget < trials * o.trial:
        sys.exit(f'--budget {o.budget}: the {trials} trials alone take {trials * o.trial} seconds; '
                 'give more, or a shorter --trial')
    return o

def main():
    o = read_options()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    frames = draw(toys.sample_static(o.n_clips), toys.sample_dynamic(o.n_clips)[0])
    some = frames[:400, ::6].float() / 255
    scale = dict(mean=round(some.mean().item(), 4), std=round(some.std().item(), 4))
    test = toys.CartoonFaces('test').pairs(o.compared, 8)
    say(f'{o.n_clips} clips drawn')
    runs = {}
    for name, change in TRIALS.items():
        run = Run(name, replace(FINE, **change, **scale), frames, o.batch_size).train(o.trial)
        swap = report(run, test)
        if math.isfinite(swap): runs[swap] = run # else it has diverged
    if not runs: sys.exit('every trial has diverged')
    run, d_noise = runs[min(runs)], runs[min(runs)].model.config.d_noise
    left = o.budget - (time.monotonic() - BEGAN)
    say(f'{run.name} goes on for {left:.0f} s')
    for factor, lr in PHASES:
        run.model.config, run.peak = replace(run.model.config, d_noise=factor * d_noise), lr
        report(run.train(left / len(PHASES)), test)
    save(Path(o.out), run, o)
    say(f'{o.out}: model.safetensors, config.json, metrics.json, metrics.csv, run.json, swap.png, reconstruction.png')

if __name__ == '__main__': main()
