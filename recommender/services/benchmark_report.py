"""What benchmarks came to, as a page of Markdown with a plot, and as JSON that the next one adds to."""

import json
from collections.abc import Mapping
from math import log
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from recommender.ml.drawing import INK, SOFT, write_figure

#: The stages of a night, in their order, and what each does.
NIGHT = {
    "load": "load history",
    "snapshot": "snapshot",
    "learn": "describe past campaigns, train",
    "plan": "plan the run",
    "score": "choose, describe, score",
    "allocate": "decide who gets what within the budget",
    "write": "explain, write lists",
    "finish": "estimate uses and cost, check",
}
GIB = 2**30
#: Limits: a load by a bare COPY, scoring and writing by the bare model and a bare COPY, the share kept, growth, memory.
MOST_LOAD, MOST_SCORING, LEAST_KEPT, MOST_GROWTH, MOST_MEMORY = 2.0, 3.0, 0.99, 1.05, 6 * 10**9

#: A size that was measured: what it was, and by stage ``wall``, ``cpu``, ``memory`` and ``figures``.
Size = Mapping[str, Any]


def write_report(path: Path, described: Mapping[str, Any], stages: Mapping[str, Any]) -> None:
    """Write a page, the plot and the JSON file of the same name, with the sizes that this already has.

    Args:
        path: of the page, ``.md``.
        described: the size (``shoppers``, ``lines``, ``coupons``, ``products``), ``workers``, ``database`` and
            ``machine``.
        stages: by name, ``wall`` and ``cpu`` (seconds), ``memory`` (bytes) and ``figures``; all of the night, and what
            was measured so far of what it is compared with.
    """
    kept = path.with_suffix(".json")
    sizes = [each for each in _read(kept) if each["shoppers"] != described["shoppers"]]
    sizes = sorted([*sizes, {**described, "stages": dict(stages)}], key=lambda each: each["shoppers"])
    path.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(sizes, indent=1) + "\n")
    picture = path.with_suffix(".svg")
    _draw(sizes, picture)
    path.write_text(render_report(sizes, picture.name))


def render_report(sizes: list[Size], picture: str) -> str:
    """The page, of sizes in ascending order."""
    parts = [
        "# A night in a made-up shop\n",
        "`manage.py benchmark` makes a shop of a given size whose behaviour is known, in a database of its own, and "
        "runs a whole night in it. Each stage has processes of its own; what it takes to start them and to load "
        "libraries is not counted. Memory is the most that any of them held. CPU is that of these processes, not of "
        "the database. What the machine did besides is in all figures of the clock. The PostgreSQL of `make benchmark` "
        "does not wait for the disk (`fsync=off`), neither for the shop nor for a bare COPY.\n",
        f"![Seconds by stage and size]({picture})\n",
    ]
    for size in sizes:
        parts += _describe(size)
    parts += ["## Growth\n", _growth(sizes)]
    return "\n".join(parts)


def _describe(size: Size) -> list[str]:
    stages = size["stages"]
    rows = [
        "| stage | seconds | CPU seconds | memory, GiB | |",
        "| --- | ---: | ---: | ---: | --- |",
        *(
            f"| {words} | {stages[name]['wall']:,.1f} | {stages[name]['cpu']:,.1f} "
            f"| {stages[name]['memory'] / GIB:.2f} | {_told(stages[name]['figures'])} |"
            for name, words in NIGHT.items()
        ),
        f"| **the night** | {_night(size, 'wall'):,.1f} | {_night(size, 'cpu'):,.1f} | {_memory(size) / GIB:.2f} | |",
    ]
    return [
        f"## {size['shoppers']:,} shoppers\n",
        f"{size['lines']} order lines a shopper, {size['coupons']} live coupons, {size['products']:,} products; "
        f"{size['workers']} workers score. {size['database']}, {size['machine']}.\n",
        "\n".join(rows) + "\n",
        "\n".join(_against_limits(size)) + "\n",
    ]


def _against_limits(size: Size) -> list[str]:
    """Rows of what was measured so far beside the night."""
    stages = size["stages"]
    rows = ["| beside | figure | limit |", "| --- | ---: | ---: |"]
    if "copy_loaded" in stages:
        rows += _load_by_copy(stages["load"]["wall"], stages["copy_loaded"]["figures"])
    if {"predict", "copy_lists"} <= stages.keys():
        rows.append(_scoring_by_bare_model(stages))
    if "check" in stages:
        checked = stages["check"]["figures"]
        rows.append(
            f"| of the lists that scoring every pair gives, what the first stage of a run without a budget keeps with "
            f"{checked['coupons kept']:,.0f} coupons of each shopper, on {checked['shoppers']:,.0f} whom it was not "
            f"learned from | {checked['share kept']:.2%} | {LEAST_KEPT:.0%} |"
        )
    return [*rows, f"| most memory of a process, GiB | {_memory(size) / GIB:.2f} | {MOST_MEMORY / GIB:.2f} |"]


def _load_by_copy(loaded: float, copied: Mapping[str, float]) -> list[str]:
    bare = (
        f"| load, by a COPY of its rows into tables without keys ({copied['seconds']:,.1f} s) "
        f"| {loaded / copied['seconds']:.1f} × | |"
    )
    if not (with_keys := copied.get("seconds with keys")):
        return [bare]
    return [
        f"| load, by a bare COPY of its rows into tables with the same keys, indexes and references "
        f"({with_keys:,.1f} s) | {loaded / with_keys:.1f} × | {MOST_LOAD:.0f} × |",
        bare,
    ]


def _scoring_by_bare_model(stages: Mapping[str, Any]) -> str:
    predicted, listed = stages["predict"]["figures"], stages["copy_lists"]["figures"]["seconds"]
    if not predicted:
        return "| scoring, by LightGBM, which is not installed (`pip install lightgbm`) | not measured | |"
    times = (stages["score"]["wall"] + stages["write"]["wall"]) / (predicted["seconds"] + listed)
    return (
        f"| describing, scoring, explaining and writing, by predict of 200 trees of LightGBM "
        f"({predicted['seconds']:,.1f} s) and a bare COPY of the lists ({listed:,.1f} s) | {times:.1f} × "
        f"| {MOST_SCORING:.0f} × |"
    )


def _growth(sizes: list[Size]) -> str:
    if len(sizes) < 2:
        return "One size says nothing of growth.\n"
    small, large = sizes[-2:]
    times = log(large["shoppers"] / small["shoppers"])
    exponents = {of: log(_night(large, of) / _night(small, of)) / times for of in ("wall", "cpu")}
    return (
        f"From {small['shoppers']:,} to {large['shoppers']:,} shoppers the night's seconds grow as shoppers to the "
        f"power of {exponents['wall']:.2f}, those of CPU to that of {exponents['cpu']:.2f}; the limit is "
        f"{MOST_GROWTH}.\n"
    )


def _told(figures: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {value:.2%}" if name.startswith("share") else f"{value:,.0f} {name}" for name, value in figures.items()
    )


def _night(size: Size, of: str) -> float:
    return sum(size["stages"][name][of] for name in NIGHT)


def _memory(size: Size) -> int:
    return max(size["stages"][name]["memory"] for name in NIGHT)


def _read(path: Path) -> list[Size]:
    return json.loads(path.read_text()) if path.is_file() else []


def _draw(sizes: list[Size], path: Path) -> None:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(sizes))
    below = [0.0] * len(sizes)
    for name, words in NIGHT.items():
        seconds = [1000 * size["stages"][name]["wall"] / size["shoppers"] for size in sizes]
        axes.bar(places, seconds, bottom=below, width=0.6, label=words)
        below = [low + more for low, more in zip(below, seconds, strict=True)]
    axes.set_xticks(places, [f"{size['shoppers']:,}" for size in sizes], color=INK)
    axes.set_xlabel("shoppers", color=SOFT)
    axes.set_ylabel("seconds a thousand shoppers", color=SOFT)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(figure, path)
