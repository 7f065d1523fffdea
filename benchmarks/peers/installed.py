"""What is installed in an environment; run by its interpreter.

    python installed.py fastapi uvicorn
    python installed.py --only-with=hotserve hotserve onnxruntime

prints the versions of these packages and the size of all packages as one JSON object. With `--only-with` the packages
that do not come with the named one are left out: an environment of a developer has more in it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

INSTALLERS = {"pip", "setuptools", "wheel"}


def with_requirements(name: str) -> Sequence[Distribution]:
    """A package and what it requires, and what that requires, without any extras."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        package = distribution(waiting.pop())
        if package.name in found:
            continue
        found[package.name] = package
        for requirement in map(Requirement, package.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return list(found.values())


def size(packages: Iterable[Distribution]) -> int:
    """Bytes of their files, without those that Python compiles by itself."""
    paths = {Path(str(file.locate())) for package in packages for file in package.files or ()}
    for package in packages:
        if json.loads(package.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable"):
            spec = find_spec(package.name)
            for folder in (spec and spec.submodule_search_locations) or ():
                paths |= set(Path(folder).rglob("*"))
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")


def version(name: str) -> str:
    """Of a package, if it is there."""
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*")
    parser.add_argument("--only-with", default="", help="a package")
    options = parser.parse_args()
    if options.only_with:
        packages = with_requirements(options.only_with)
    else:
        packages = [package for package in distributions() if package.name not in INSTALLERS]
    print(json.dumps({"versions": {name: version(name) for name in options.packages}, "bytes": size(packages)}))


if __name__ == "__main__":
    main()
