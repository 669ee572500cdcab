"""Count the rooms of the house and the arrows between them.

python benchmarks/rooms.py: a room is jobs, benchmarks, stprivacy, or one module or package of pipelines; an arrow is an
import from one into another. Ends with status 1 where rooms import each other in a circle.
"""

from graphlib import CycleError, TopologicalSorter

import grimp

PACKAGES = ("jobs", "benchmarks", "pipelines", "stprivacy")


def room(module: str) -> str:
    """The room of a module by its dotted name."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package if package == "pipelines" else package


def arrows() -> dict[str, set[str]]:
    """Of each room the rooms that it imports from."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False)
    found: dict[str, set[str]] = {room(module): set() for module in graph.modules}
    for module in graph.modules:
        found[room(module)] |= {room(other) for other in graph.find_modules_directly_imported_by(module)}
    return {name: others - {name} for name, others in found.items() if name != "pipelines" or others}


def main() -> int:
    """Print every room with what it uses, the counts, and a circle if there is one."""
    found = arrows()
    for name in sorted(found):
        print(f"{name:<12} {', '.join(sorted(found[name]))}")
    print(f"{len(found)} rooms, {sum(map(len, found.values()))} arrows")
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        print("circle:", " -> ".join(error.args[1]))
        return 1
    print("no circle")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
