"""Threads with a queue each, and the end of the interpreter with work in flight."""

import os
import subprocess
import sys
import textwrap
import threading

import cermet
import numpy as np
import pytest
from help import Source, batch, device, permanent, run


def test_two_threads_with_a_queue_each():
    array = np.random.default_rng(5).random((3, 8, 8, 4)).astype("f4")
    weights = np.random.default_rng(6).random((8, 3, 3, 4))
    expected = run(lambda c: permanent(cermet.CNNConvolution(device, Source(weights))).encode_batch(c, batch(array)))
    expected, results, problems = expected.numpy(), [], []

    def work():
        try:
            kernel = permanent(cermet.CNNConvolution(device, Source(weights)))
            queue, images = device.make_command_queue(), batch(array)
            for _ in range(50):
                commands, called = queue.make_command_buffer(), []
                result = kernel.encode_batch(commands, images)
                commands.add_completed_handler(lambda done: called.append(done))
                commands.commit()
                commands.wait_until_completed()
                assert called
                results.append(np.array_equal(result.numpy(), expected))
        except BaseException as problem:  # noqa: BLE001: told to the test
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and len(results) == 100 and all(results)


def test_other_threads_run_while_one_waits():
    """Waiting lets go of the interpreter's lock: a handler that needs it can run."""
    commands = device.make_command_queue().make_command_buffer()
    turns = []
    commands.add_completed_handler(lambda _: turns.append(threading.current_thread() is threading.main_thread()))
    commands.commit()
    commands.wait_until_completed()
    assert turns == [False]


SHUTDOWN = {
    "a handler in flight": """
        def handler(done):
            time.sleep(0.3)
            print("handled", flush=True)
        commands.add_completed_handler(handler)
        commands.commit()
    """,
    "work in flight": """
        for _ in range(50):
            commands = queue.make_command_buffer()
            kernel.encode_batch(commands, images)
            commands.add_completed_handler(lambda done: None)
            commands.commit()
        print("handled")
    """,
    "nothing committed": """
        commands.add_completed_handler(lambda done: None)
        kernel.encode_batch(commands, images)
        print("handled")
    """,
    "a thread that works": """
        def work():
            while True:
                c = queue.make_command_buffer()
                kernel.encode_batch(c, images)
                c.add_completed_handler(lambda done: None)
                c.commit()
                c.wait_until_completed()
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
        print("handled")
    """,
    "a queue that is blocked": """
        first = queue.make_command_buffer()
        first.enqueue()
        commands.commit()
        del first
        print("handled")
    """,
}


@pytest.mark.parametrize("case", SHUTDOWN)
def test_the_interpreter_ends(case):
    program = (
        "import sys, threading, time\n"
        f"sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "from help import *\n"
        "queue = device.make_command_queue()\n"
        "commands = queue.make_command_buffer()\n"
        "kernel = cermet.CNNConvolution(device, Source(np.ones((8, 3, 3, 4))))\n"
        "images = batch(np.ones((16, 32, 32, 4)))\n" + textwrap.dedent(SHUTDOWN[case])
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "handled\n" and done.stderr == ""
