"""Figures of a profile show what their rows say: widths, heights, colours, labels."""

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from mcuq_lab.nucleosim.profile import CAUSE_COLUMNS, OUTSIDE, causes_figure, flame_figure
from mcuq_lab.nucleosim.profile.style import FRAME_COLOUR, LOOKS, OUTSIDE_COLOUR

TITLE = "NUCLEO-F412ZG (simulated), 16 MHz, cortex-m4 model, version 2"


def by_cause(**cycles: int) -> dict[str, int]:
    causes = dict.fromkeys(CAUSE_COLUMNS, 0) | {f"{k}_cycles": n for k, n in cycles.items()}
    return {"cycles": sum(causes.values()), **causes}


@pytest.fixture
def paths() -> pd.DataFrame:
    """main calls cheap and costly, which calls cheap again."""
    return pd.DataFrame(
        {
            "node": [0, 1, 2, 3],
            "parent": [-1, 0, 0, 2],
            "depth": [0, 1, 1, 2],
            "function": ["main", "cheap", "costly", "cheap"],
            "calls": [0, 1, 1, 1],
            "cycles": [100, 200, 600, 100],
            "inclusive_cycles": [1000, 200, 700, 100],
        }
    )


@pytest.fixture
def blocks() -> pd.DataFrame:
    rows = [
        {"function": "main", **by_cause(issue=100)},
        {"function": "cheap", **by_cause(issue=200, branch=100)},
        {"function": "costly", **by_cause(issue=300, load_use=100)},
        {"function": "costly", **by_cause(issue=50, data_wait=150)},
    ]
    return pd.DataFrame(rows)


def rectangles(figure) -> list[tuple]:
    """(left, top, width, height, colour) of what is filled."""
    (axes,) = figure.axes
    return [
        (p.get_x(), p.get_y(), p.get_width(), p.get_height(), to_hex(p.get_facecolor()))
        for p in axes.patches
        if p.get_fill()
    ]


def legend(figure) -> dict[str, str]:
    (found,) = figure.legends
    return {
        text.get_text(): to_hex(handle.get_facecolor())
        for text, handle in zip(found.get_texts(), found.legend_handles, strict=True)
    }


def test_functions_lie_below_their_callers_as_wide_as_their_cycles(paths, blocks):
    figure = flame_figure(paths, blocks, title=TITLE)
    frames = {r[:4] for r in rectangles(figure) if r[4] == FRAME_COLOUR.lower()}
    # The most expensive callee first; own cycles behind the callees.
    assert frames == {(0, 0, 1000, 1), (0, 1, 700, 1), (700, 1, 200, 1), (0, 2, 100, 1)}
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]


def test_area_of_a_colour_is_cycles_of_a_cause(paths, blocks):
    drawn = rectangles(flame_figure(paths, blocks, title=TITLE))
    area = dict.fromkeys(CAUSE_COLUMNS, 0.0)
    for _, _, width, height, colour in drawn:
        for column, (look, _) in LOOKS.items():
            if colour == look.lower():
                area[column] += width * height
    total = sum(area.values())
    for column in CAUSE_COLUMNS:
        assert area[column] / total == pytest.approx(blocks[column].sum() / 1000)


def test_blocks_stay_within_their_function(paths, blocks):
    drawn = rectangles(flame_figure(paths, blocks, title=TITLE))
    (waiting,) = [r for r in drawn if r[4] == LOOKS["data_wait_cycles"][0].lower()]
    # costly: callee up to 100, first block to 500, second to 700; three quarters are waits.
    assert waiting[0] == pytest.approx(500)
    assert waiting[2] == pytest.approx(200)
    (issue,) = [r for r in drawn if r[0] == waiting[0] and r[4] == LOOKS["issue_cycles"][0].lower()]
    assert waiting[3] == pytest.approx(3 * issue[3])


def test_flame_says_what_it_shows(paths, blocks):
    figure = flame_figure(paths, blocks, title=TITLE)
    assert figure.get_suptitle() == TITLE
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[:2] == ["main 100%", "costly 70%"]
    assert legend(figure) == {
        LOOKS[f"{cause}_cycles"][1]: LOOKS[f"{cause}_cycles"][0].lower()
        for cause in ("issue", "load_use", "branch", "data_wait")
    }
    assert figure.axes[0].get_xlabel() == "cycles"


def test_names_and_titles_fit_a_narrow_figure(paths, blocks):
    long_name = "costly_kernel_with_a_long_name_w4a4"
    for table in (paths, blocks):
        table["function"] = table["function"].replace("costly", long_name)
    figure = flame_figure(paths, blocks, title=TITLE, width_in=2.5)
    assert figure.get_suptitle().replace("\n", " ") == TITLE
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    (axes,) = figure.axes
    frames = [p for p in axes.patches if to_hex(p.get_facecolor()) == FRAME_COLOUR.lower()]
    for text in axes.texts:
        box = text.get_window_extent(renderer)
        assert any(
            frame.get_window_extent(renderer).x0 <= box.x0
            and box.x1 <= frame.get_window_extent(renderer).x1
            for frame in frames
        )
    title = figure._suptitle.get_window_extent(renderer)
    assert 0 <= title.x0 < title.x1 <= figure.bbox.x1


def test_part_of_a_tree_is_drawn_from_its_own_root(paths, blocks):
    part = paths[paths["node"].isin([2, 3])]
    frames = {
        r[:4]
        for r in rectangles(flame_figure(part, blocks, title=TITLE))
        if r[4] == FRAME_COLOUR.lower()
    }
    assert frames == {(0, 0, 700, 1), (0, 1, 100, 1)}


def test_bars_stack_causes_and_name_the_rest():
    rows = [{"function": f"f{n}", **by_cause(issue=20_000 - n, fetch=n)} for n in range(1, 20)]
    rows.append({"function": OUTSIDE, **by_cause(), "cycles": 50_000})
    functions = pd.DataFrame(rows)
    functions["share"] = functions["cycles"] / functions["cycles"].sum()
    figure = causes_figure(functions, title=TITLE, most=5)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["no instruction", "f1", "f2", "f3", "f4", "15 more"]
    assert figure.get_suptitle() == TITLE
    assert axes.get_xlabel() == "thousand cycles, callees not included"
    by_colour = {to_hex(bar.patches[0].get_facecolor()): bar for bar in axes.containers}
    widths = {
        colour: [patch.get_width() for patch in bar.patches] for colour, bar in by_colour.items()
    }
    assert widths[LOOKS["issue_cycles"][0].lower()][1] == pytest.approx(19.999)
    assert widths[OUTSIDE_COLOUR] == pytest.approx([50, 0, 0, 0, 0, 0])
    assert sum(map(sum, widths.values())) == pytest.approx(functions["cycles"].sum() / 1e3)
    shares = [text.get_text() for text in axes.texts]
    assert shares[0] == f"{50 / 430:.1%}"
    assert "no instruction" in legend(figure)
