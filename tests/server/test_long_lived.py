from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from hotserve.server.server import Server
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

IMPORTS = """
import gc
from hotserve.server.long_lived import imports_for_good

collections = []
gc.callbacks.append(lambda phase, info: collections.append(phase))
with imports_for_good():
    import hotserve.server.server
during = len(collections)
print(during, gc.get_freeze_count(), len(gc.get_objects()), gc.isenabled())
"""


def test_what_is_there_is_looked_at_no_longer_and_what_comes_is() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    kept, looked_at, collected = map(int, ended.stdout.split())
    assert kept > 10_000
    assert looked_at < 1000
    assert collected >= 1


def test_what_is_imported_for_good_is_looked_at_neither_while_it_is_imported_nor_later() -> None:
    ended = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=120)
    during, kept, looked_at, is_enabled = ended.stdout.split()
    assert during == "0"
    assert int(kept) > 10_000
    assert int(looked_at) < 1000
    assert is_enabled == "True"
