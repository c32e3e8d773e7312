"LDM's autoencoders with the names and the order of weights of the original, for tests: other code, same mathematics"
import torch
from torch import nn
from torch.nn import functional as F

norm = lambda c: nn.GroupNorm(32, c, eps=1e-6)
swish = lambda x: x * x.sigmoid()

class Res(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.norm1, self.conv1 = norm(a), nn.Conv2d(a, b, 3, padding=1)
        self.norm2, self.conv2 = norm(b), nn.Conv2d(b, b, 3, padding=1)
        if a != b: self.nin_shortcut = nn.Conv2d(a, b, 1)
    def forward(self, x):
        h = self.conv2(swish(self.norm2(self.conv1(swish(self.norm1(x))))))
        return h + (self.nin_shortcut(x) if hasattr(self, 'nin_shortcut') else x)

class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm, self.q, self.k, self.v, self.proj_out = norm(c), *(nn.Conv2d(c, c, 1) for _ in range(4))
    def forward(self, x):
        h = self.norm(x)
        q, k, v = (f(h).flatten(2) for f in (self.q, self.k, self.v))
        weight = (torch.einsum('bci,bcj->bij', q, k) * x.shape[1] ** -.5).softmax(-1)
        return x + self.proj_out(torch.einsum('bij,bcj->bci', weight, v).view_as(x))

class Resample(nn.Module):
    def __init__(self, c, down):
        super().__init__()
        self.down, self.conv = down, nn.Conv2d(c, c, 3, stride=2 if down else 1, padding=0 if down else 1)
    def forward(self, x):
        if self.down: return self.conv(F.pad(x, (0, 1, 0, 1)))
        return self.conv(x.repeat_interleave(2, -1).repeat_interleave(2, -2))

def level(a, b, n, attend):
    m = nn.Module()
    m.block = nn.ModuleList(Res(b if i else a, b) for i in range(n))
    m.attn = nn.ModuleList(Attention(b) for _ in range(n if attend else 0))
    return m

def middle(c): m = nn.Module(); m.block_1, m.attn_1, m.block_2 = Res(c, c), Attention(c), Res(c, c); return m

class Half(nn.Module): # encoder or decoder
    def __init__(self, widths, n_res, attend, c_in, c_out, down):
        super().__init__()
        self.down_way, k = down, len(widths)
        if down:
            self.conv_in = nn.Conv2d(c_in, widths[0], 3, padding=1)
            levels = [level(widths[max(i - 1, 0)], w, n_res, attend and i == k - 1) for i, w in enumerate(widths)]
            self.down = nn.ModuleList(levels)
            for i in range(k - 1): self.down[i].downsample = Resample(widths[i], True)
        self.mid = middle(widths[-1])
        if not down:
            self.conv_in = nn.Conv2d(c_in, widths[-1], 3, padding=1)
            above = [widths[min(i + 1, k - 1)] for i in range(k)]
            levels = [level(above[i], w, n_res + 1, attend and i == k - 1) for i, w in enumerate(widths)]
            self.up = nn.ModuleList(levels)
            for i in range(1, k): self.up[i].upsample = Resample(widths[i], False)
        end = widths[-1] if down else widths[0]
        self.norm_out, self.conv_out = norm(end), nn.Conv2d(end, c_out, 3, padding=1)
    def run(self, h, m):
        for i, block in enumerate(m.block):
            h = block(h)
            if len(m.attn): h = m.attn[i](h)
        return h
    def forward(self, x):
        h, mid = self.conv_in(x), lambda h: self.mid.block_2(self.mid.attn_1(self.mid.block_1(h)))
        if self.down_way:
            for m in self.down: h = self.run(h, m); h = m.downsample(h) if hasattr(m, 'downsample') else h
            h = mid(h)
        else:
            h = mid(h)
            for m in reversed(self.up): h = self.run(h, m); h = m.upsample(h) if hasattr(m, 'upsample') else h
        return self.conv_out(swish(self.norm_out(h)))

class Original(nn.Module):
    "vq-f8-n256, kl-f8 and vq-f4 by their arguments."
    def __init__(self, widths=(128, 256, 256, 512), n_res=2, attend=True, codes=256, c=4):
        super().__init__()
        twice = 1 if codes else 2 # a Gaussian has a mean and a spread
        self.encoder = Half(widths, n_res, attend, 3, c * twice, True)
        self.decoder = Half(widths, n_res, attend, c, 3, False)
        if codes: self.quantize = nn.Module(); self.quantize.embedding = nn.Embedding(codes, c)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(c * twice, c * twice, 1), nn.Conv2d(c, c, 1)
    def encode(self, x):
        z = self.quant_conv(self.encoder(x))
        return z if hasattr(self, 'quantize') else z.chunk(2, 1)[0]
    def decode(self, z):
        if hasattr(self, 'quantize'):
            e = self.quantize.embedding.weight
            near = ((z[:, None] - e[None, :, :, None, None]) ** 2).sum(2).argmin(1)
            z = e[near].movedim(-1, 1)
        return self.decoder(self.post_quant_conv(z))

def lightning(model, extra=()): # a checkpoint as Lightning of 2021 wrote it
    state = {k: v for k, v in model.state_dict().items()}
    state |= {'loss.perceptual_loss.net.slice1.0.weight': torch.zeros(64, 3, 3, 3),
              'loss.discriminator.main.0.weight': torch.zeros(64, 3, 4, 4), 'loss.logvar': torch.zeros(())}
    return {'epoch': 11, 'global_step': 1_000_000, 'pytorch-lightning_version': '1.0.8', 'state_dict': state,
            'optimizer_states': [], 'lr_schedulers': [], **dict(extra)}
