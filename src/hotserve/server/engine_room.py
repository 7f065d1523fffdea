"""The `EngineRoom` of a server, made when the first SavedModel loads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from hotserve.config.options import ServerOptions

if TYPE_CHECKING:
    from hotserve.platforms.engines.loader import EngineRoom


class EngineRoomOnDemand:
    """What the loaders of all SavedModels have in common. Any thread may ask for it."""

    def __init__(self, options: ServerOptions) -> None:
        """Makes nothing yet."""
        self._options = options
        self._lock = threading.Lock()
        self._made: EngineRoom | None = None

    def get(self) -> EngineRoom:
        """The room, the same at each call."""
        from hotserve.platforms.engines.cache import EngineCache
        from hotserve.platforms.engines.loader import EngineRoom

        options = self._options
        with self._lock:
            if self._made is None:
                folder = Path(options.engine_cache_dir).expanduser() if options.engine_cache_dir else None
                cache = EngineCache(folder, options.engine_cache_max_bytes)
                self._made = EngineRoom(cache, options.engine_check_timeout)
            return self._made

    def close(self) -> None:
        """Ends what goes on in it, if there is one."""
        with self._lock:
            if self._made is not None:
                self._made.close()
