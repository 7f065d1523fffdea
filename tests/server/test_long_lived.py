from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from hotserve.server.long_lived import keep_for_good

class Node:
    pass

def cycle():
    node = Node()
    node.itself = node

cycle()
keep_for_good()
kept = gc.get_freeze_count()
assert not any(isinstance(each, Node) for each in gc.get_objects())
cycle()
print(kept, len(gc.get_objects()), gc.collect())
"""


def test_what_is_there_is_looked_at_no_longer_and_what_comes_is() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    kept, looked_at, collected = map(int, ended.stdout.split())
    assert kept > 10_000
    assert looked_at < 1000
    assert collected >= 1
