"""The training steps of cermet_bench in PyTorch on a GPU: peer_torch_gpu.py CASE STEPS BATCH prints, for each
mode, a line "MODE MILLISECONDS": the median of means of 50 steps in flight.

Modes: eager, graph (a captured CUDA graph of the whole step) and compiled, each in NCHW and channels last.
float32 with TF32 off, as cermet computes unless it is asked for less; --tf32 switches it on.
"""
import statistics
import sys
import time

import torch
from torch import nn

tf32 = "--tf32" in sys.argv
case, steps, batch = [word for word in sys.argv[1:] if not word.startswith("--")]
steps, batch, group = int(steps), int(batch), 50
torch.backends.cuda.matmul.allow_tf32 = tf32
torch.backends.cudnn.allow_tf32 = tf32
torch.backends.cudnn.benchmark = True
labels = (torch.arange(batch) % 10).cuda()
loss_of = nn.CrossEntropyLoss()


def network():
    torch.manual_seed(1)
    if case == "lenet":
        return nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(7 * 7 * 64, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, 10)).cuda()
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(28 * 28 * 8, 10)).cuda()


def measure(step):
    for _ in range(20):
        step()
    times = []
    for _ in range(steps // group):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(group):
            step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3 / group)
    return statistics.median(times)


def run(mode, layout):
    net, pictures = network(), torch.rand(batch, 1, 28, 28, device="cuda")
    if layout == "nhwc":
        net = net.to(memory_format=torch.channels_last)
        pictures = pictures.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, foreach=True)
    forward = torch.compile(net, mode="max-autotune-no-cudagraphs") if mode == "compiled" else net

    def step():
        optimizer.zero_grad(set_to_none=False)
        loss = loss_of(forward(pictures), labels)
        loss.backward()
        optimizer.step()
        return loss

    first = step().item()
    assert min(step().item() for _ in range(12)) < first, "the loss did not fall"
    if mode == "eager":
        return measure(step)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return measure(graph.replay)


for mode in ("eager", "graph", "compiled"):
    for layout in ("nchw", "nhwc"):
        try:
            print(f"{mode}-{layout} {run(mode, layout):.4f}", flush=True)
        except Exception as problem:  # a mode that this PyTorch lacks is not the best one
            print(f"{mode}-{layout} failed: {str(problem).splitlines()[0][:120]}", file=sys.stderr)
