"""The peers' side of the benchmark, run by the peers' own interpreter.

``python peers.py WORKLOAD THREADS ARGUMENT...`` makes the workload,
prints ``ready``, and answers every line on its standard input with the
seconds of one iteration. It has an environment of its own because one of the peers is a package
named ``dnc`` too.
"""

# mypy: ignore-errors
# (its dnc is the peer, not ours)

import math
import sys
import time

import torch


def dnc_train(length, width):
    """The package ``dnc``: forward and backward, R 4, H 256, B 16, T 32."""
    from dnc import DNC

    memory = DNC(
        input_size=16,
        hidden_size=256,
        rnn_type='lstm',
        num_layers=1,
        nr_cells=length,
        cell_size=width,
        read_heads=4,
        batch_first=True,
        gpu_id=-1,
    )
    xs = torch.randn(16, 32, 16)

    def iteration():
        memory.zero_grad()
        ys = memory(xs, (None, None, None), reset_experience=True)[0]
        ys = ys[0] if isinstance(ys, tuple) else ys
        ys.pow(2).mean().backward()

    return iteration


def lstm_train(steps, batch, inputs, hidden):
    lstm = torch.nn.LSTM(inputs, hidden)
    xs = torch.randn(steps, batch, inputs)
    gradient = torch.randn(steps, batch, hidden)

    def iteration():
        lstm.zero_grad()
        lstm(xs)[0].backward(gradient)

    return iteration


class VAE(torch.nn.Module):
    def __init__(self, latents):
        super().__init__()
        conv, up = torch.nn.Conv2d, torch.nn.ConvTranspose2d
        sizes = ((3, 32), (32, 64), (64, 128), (128, 256))
        self.encoder = torch.nn.ModuleList([conv(*s, 4, 2) for s in sizes])
        self.mu = torch.nn.Linear(1024, latents)
        self.ln_var = torch.nn.Linear(1024, latents)
        self.fc = torch.nn.Linear(latents, 1024)
        sizes = ((1024, 128, 5), (128, 64, 5), (64, 32, 6), (32, 3, 6))
        self.decoder = torch.nn.ModuleList([up(*s, 2) for s in sizes])

    def loss(self, x):
        h = x
        for layer in self.encoder:
            h = torch.relu(layer(h))
        h = h.flatten(1)
        mu, ln_var = self.mu(h), self.ln_var(h)
        h = self.fc(mu + torch.exp(ln_var / 2) * torch.randn_like(mu))
        h = h[:, :, None, None]
        for layer in self.decoder[:3]:
            h = torch.relu(layer(h))
        error = (torch.sigmoid(self.decoder[3](h)) - x).square().sum() / len(x)
        kl = 0.5 * (mu**2 + ln_var.exp() - ln_var - 1).sum(1)
        return error + torch.clamp(kl, min=0.5 * mu.shape[1]).mean()


def vae_train(batch, latents):
    vae = VAE(latents).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(vae.parameters(), 1e-4, fused=True)
    x = torch.rand(batch, 3, 64, 64).to(memory_format=torch.channels_last)

    def iteration():
        optimizer.zero_grad()
        vae.loss(x).backward()
        optimizer.step()

    return iteration


def mdnrnn_train(steps, batch):
    lstm, head = torch.nn.LSTM(66, 512), torch.nn.Linear(512, 961)
    parameters = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, 1e-3, fused=True)
    x, target = torch.randn(steps, batch, 66), torch.randn(steps, batch, 64)
    done = (torch.rand(steps, batch) < 0.01).float()

    def iteration():
        optimizer.zero_grad()
        out = head(lstm(x)[0])
        logits, mu, ln_sigma = out[..., :960].reshape(steps, batch, 3, 5, 64).unbind(2)
        scaled = (target[:, :, None] - mu) * torch.exp(-ln_sigma)
        density = -0.5 * (scaled**2 + math.log(2 * math.pi)) - ln_sigma
        weight = torch.log_softmax(logits, 2)
        nll = -torch.logsumexp(weight + density, 2).mean()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            out[..., -1], done, weight=1 + 9 * done
        )
        (nll + entropy).backward()
        torch.nn.utils.clip_grad_value_(parameters, 1.0)
        optimizer.step()

    return iteration


@torch.no_grad()
def dream_steps(batch, steps, tau=1.15):
    cell, head = torch.nn.LSTMCell(66, 512), torch.nn.Linear(512, 961)
    rest = torch.zeros(batch, 2)
    state = [torch.randn(batch, 64), torch.zeros(batch, 512)]
    state.append(torch.zeros(batch, 512))

    @torch.no_grad()
    def iteration():
        z, h, c = state
        for _ in range(steps):
            h, c = cell(torch.cat((z, rest), 1), (h, c))
            out = head(h)
            logits, mu, ln_sigma = out[:, :960].reshape(batch, 3, 5, 64).unbind(1)
            below = torch.softmax(logits / tau, 1).cumsum(1)[:, :-1]
            k = (torch.rand(batch, 1, 64) > below).sum(1, keepdim=True)
            sigma = torch.exp(ln_sigma.gather(1, k)[:, 0]) * math.sqrt(tau)
            z = mu.gather(1, k)[:, 0] + sigma * torch.randn(batch, 64)
            _ = out[:, -1] > 0
        state[:] = z.clamp(-5, 5), h, c

    return iteration


def cma_generations(size, population, count):
    import cma

    options = {'popsize': population, 'verbose': -9, 'seed': 1}
    search = cma.CMAEvolutionStrategy(size * [0], 0.1, options)

    def iteration():
        for _ in range(count):
            candidates = search.ask()
            search.tell(candidates, [float((x**2).sum()) for x in candidates])

    return iteration


def main(workload, threads, *arguments):
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    iteration = globals()[workload](*map(int, arguments))
    iteration()
    print('ready', flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        iteration()
        print(time.perf_counter() - start, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
