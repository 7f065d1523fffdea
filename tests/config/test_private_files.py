from __future__ import annotations

import stat

import pytest

from hotserve.config.private_files import private_files


def test_only_this_user_can_read_the_files_or_enter_their_folder() -> None:
    with private_files({"a.pem": "one", "b.pem": "zwölf"}) as files:
        assert {name: path.read_text("utf-8") for name, path in files.items()} == {"a.pem": "one", "b.pem": "zwölf"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
        assert {stat.S_IMODE(path.parent.stat().st_mode) for path in files.values()} == {0o700}


def test_the_files_are_gone_after_the_block_even_if_it_fails() -> None:
    with pytest.raises(LookupError), private_files({"a.pem": "one"}) as files:
        raise LookupError
    assert not files["a.pem"].parent.exists()
