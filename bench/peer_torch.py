"""The same training step in PyTorch: peer_torch.py CASE THREADS STEPS MODE prints milliseconds a step.

MODE: nchw or nhwc (channels last); lstm takes any. Weights, pictures and labels as in cermet_bench, up to the random
numbers; plain SGD; the loss must fall first.
"""
import sys
import time

import torch
from torch import nn

case, threads, steps, mode = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(threads)
torch.manual_seed(1)
if case == "lstm":  # forward and back through time, without a loss and an optimizer
    layer = nn.LSTM(64, 200)
    x, g = torch.rand(20, 32, 64).requires_grad_(), torch.rand(20, 32, 200)

    def walk():
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(x)[0].backward(g)

    for _ in range(8):
        walk()
    for _ in range(steps):
        start = time.perf_counter()
        walk()
        print(f"{(time.perf_counter() - start) * 1e3:.6f}")
    sys.exit()
batch = 64 if case == "lenet" else 1
if case == "lenet":
    net = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(7 * 7 * 64, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, 10))
else:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(28 * 28 * 8, 10))
pictures = torch.rand(batch, 1, 28, 28)
if mode == "nhwc":
    net = net.to(memory_format=torch.channels_last)
    pictures = pictures.to(memory_format=torch.channels_last)
labels = torch.arange(batch) % 10
loss_of = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.02)


def step():
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(net(pictures), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


first = step()
lowest = min(step() for _ in range(8))  # dropout makes single steps noisy
assert lowest < first, "the loss did not fall"
for _ in range(steps):
    start = time.perf_counter()
    step()
    print(f"{(time.perf_counter() - start) * 1e3:.6f}")
