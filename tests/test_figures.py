"""Figures: what is drawn is what the table says, and equal values give equal files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from sycophancy import audit, claims, figures, generate, metrics, suites, templates
from sycophancy.errors import InputError


def table(models: tuple[str, ...] = ("m",)) -> pd.DataFrame:
    items = suites.additions(n=8)
    rng = np.random.default_rng(0)
    tables = []
    for model in models:
        rows = [
            (item_id, i, text, -rng.exponential(), 1)
            for item_id, choices in zip(items["item_id"], items["choices"], strict=True)
            for i, text in enumerate(choices)
        ]
        scores = pd.DataFrame(rows, columns=["item_id", "choice", "text", "logp", "tokens"])
        tables.append(metrics.summarize(items.assign(model=model, seed=0), scores))
    return pd.concat(tables, ignore_index=True)


def opinion_table() -> pd.DataFrame:
    rows = [
        {
            "model": "m", "suite": suite, "answer_format": answer_format, "format": "paper",
            "source": "embedded", "seeds": "0", "metric": metric, "user": "all", "truth": "all",
            "value": 0.6 + 0.1 * i, "low": 0.5 + 0.1 * i, "high": 0.7 + 0.1 * i, "n": 60,
            "questions": 30, "interval": "bootstrap",
        }
        for i, suite in enumerate(figures.measures.SUITES)
        for answer_format in ("choices", "cloze")
        for metric in ("rate", "rate_both_orders", "shift")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def drawn(figure: Figure) -> list[float]:
    """The heights of all dots of a figure."""
    return [
        float(y)
        for ax in figure.axes
        for container in ax.containers
        for y in container.lines[0].get_ydata()
        if np.isfinite(y)
    ]


def test_figure_2_draws_rates_in_per_cent_and_shifts_in_nats() -> None:
    found = opinion_table()
    lettered = found[(found["answer_format"] == "choices") & (found["metric"] != "shift")]
    shifts = found[found["metric"] == "shift"]
    expected = [*(100 * lettered["value"]), *shifts["value"]]
    assert sorted(drawn(figures.draw_opinion_tasks(found))) == pytest.approx(sorted(expected))


def test_figure_2_without_letters_draws_what_was_asked() -> None:
    found = opinion_table()
    found = found[found["answer_format"] == "cloze"]
    rates = found[(found["metric"] == "rate") & (found["truth"] == "all")]
    shifts = found[(found["metric"] == "shift") & (found["truth"] == "all")]
    assert len(rates) and len(shifts)
    expected = [*(100 * rates["value"]), *shifts["value"]]
    figure = figures.draw_opinion_tasks(found)
    assert sorted(drawn(figure)) == pytest.approx(sorted(expected))
    assert [len(ax.get_legend().get_texts()) for ax in figure.axes] == [1, 1]


def test_figure_2_of_one_order_has_no_mean_of_both() -> None:
    found = opinion_table()
    found = found[(found["answer_format"] == "choices") & (found["metric"] != "rate_both_orders")]
    top, bottom = figures.draw_opinion_tasks(found).axes
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["as asked"]
    assert len(bottom.get_legend().get_texts()) == 1


def test_figure_2_has_the_papers_dashed_baseline_at_one_half() -> None:
    top = figures.draw_opinion_tasks(opinion_table()).axes[0]
    dashed = [line for line in top.lines if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()) for line in dashed] == [[50, 50]]


def test_figure_3_draws_every_accuracy_shift_and_gap() -> None:
    found = table(("a", "b"))
    accuracy = found[(found["metric"] == "accuracy") & (found["truth"] != "all")]
    shift = found[(found["metric"] == "shift") & (found["truth"] == "all")]
    gap = found[(found["metric"] == "truth_gap") & (found["user"] == "none")]
    expected = [*(100 * accuracy["value"]), *shift["value"], *gap["value"]]
    figure = figures.wrong_additions(found)
    assert sorted(drawn(figure)) == pytest.approx(sorted(expected))
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {
        f"{truth} sums, {model}" for truth in ("wrong", "true") for model in ("a", "b")
    }


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_figure_3_has_its_label_whole_for_any_number_of_formats(count: int) -> None:
    found = table()
    formats = sorted(found["answer_format"].unique())
    assert len(formats) == 4
    figure = figures.wrong_additions(found[found["answer_format"].isin(formats[:count])])
    figure.canvas.draw()
    label = next(ax.xaxis.label for ax in figure.axes if ax.get_xlabel())
    box = label.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_intervals_are_drawn_where_the_table_has_them() -> None:
    found = opinion_table()
    bottom = figures.draw_opinion_tasks(found).axes[1]
    bars = bottom.containers[0].lines[2][0].get_segments()
    expected = found[(found["metric"] == "shift") & (found["answer_format"] == "choices")]
    assert [(bar[0][1], bar[1][1]) for bar in bars] == [
        pytest.approx(pair) for pair in zip(expected["low"], expected["high"], strict=True)
    ]


def test_the_caption_names_model_data_n_and_seed() -> None:
    text = figures.wrong_additions(table()).get_supxlabel()
    for part in ("m;", "generated", "n = 8", "seeds 0", "95 %"):
        assert part in text


def test_a_value_without_an_interval_is_hollow_and_the_caption_says_so() -> None:
    found = table()
    assert "hollow" not in figures.wrong_additions(found).get_supxlabel()
    one = (found["metric"] == "accuracy") & (found["truth"] == "true") & (found["user"] == "none")
    missing = found.assign(low=found["low"].mask(one), high=found["high"].mask(one))
    figure = figures.wrong_additions(missing)
    assert figure.get_supxlabel().endswith("; hollow: no interval")
    marked = [line for ax in figure.axes for line in ax.lines if line.get_gid() == "no interval"]
    assert len(marked) == found.loc[one, "answer_format"].nunique()
    assert {line.get_markerfacecolor() for line in marked} == {"white"}
    values = sorted(100 * found.loc[one, "value"])
    assert sorted(float(line.get_ydata()[0]) for line in marked) == pytest.approx(values)
    # and nothing is drawn there that could be taken for an interval of no width
    for ax in figure.axes[: len(marked)]:
        bars = [bar for c in ax.containers for bar in c.lines[2][0].get_segments()]
        assert all(np.isfinite(bar).all() and bar[0][1] < bar[1][1] for bar in bars if len(bar))
        drawn = [line for line in ax.lines if line.get_gid() == "no interval"]
        where = float(drawn[0].get_xdata()[0])
        assert not any(np.isclose(bar[0][0], where) for bar in bars if len(bar))


def test_the_caption_counts_in_the_order_of_the_axis() -> None:
    tasks = {"political_typology": 17, "nlp_survey": 32, "philpapers2020": 84}
    rows = [
        {
            "model": "m", "suite": suite, "answer_format": "choices", "format": "paper",
            "source": "upstream", "seeds": "0", "metric": metric, "user": "all", "truth": "all",
            "value": 0.5, "low": 0.4, "high": 0.6, "n": 9, "questions": count,
            "interval": "wilson",
        }
        for suite, count in tasks.items()
        for metric in ("rate", "rate_both_orders", "shift")
    ]  # fmt: skip
    figure = figures.draw_opinion_tasks(pd.DataFrame(rows))
    ticks = [text.get_text() for text in figure.axes[1].get_xticklabels()]
    assert ticks == ["NLP\nsurvey", "Phil-\nPapers", "political\ntypology"]
    assert "n = 32 + 84 + 17" in figure.get_supxlabel()


def test_a_saved_figure_has_its_values_beside_it_and_is_the_same_each_time(tmp_path: Path) -> None:
    found = table()
    for name in ("one", "two"):
        figures.save_figure(figures.wrong_additions(found), tmp_path / name / "fig03", found)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["fig03.csv", "fig03.png", "fig03.svg"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    back = pd.read_csv(tmp_path / "one" / "fig03.csv")
    np.testing.assert_allclose(back["value"], found["value"], rtol=1e-5, atol=1e-9)
    assert (tmp_path / "one" / "fig03.svg").stat().st_size < 200_000


def test_one_sum_draws_every_user_and_truth() -> None:
    odds = pd.DataFrame(
        [
            {"answer_format": "cloze", "truth": truth, "user": user, "log_odds": i + 10 * truth}
            for truth in (False, True)
            for i, user in enumerate(("none", "disagrees", "agrees"))
        ]
    )
    ax = figures.one_sum(odds).axes[0]
    heights = [y for line in ax.lines if line.get_linestyle() != "--" for y in line.get_ydata()]
    assert sorted(heights) == [0, 1, 2, 10, 11, 12]


def test_tables_for_reading_print_intervals_in_the_right_unit() -> None:
    found = opinion_table().query("suite == 'nlp_survey' and answer_format == 'choices'")
    text = figures.pivot(found, index=["suite"], columns="metric").iloc[0]
    assert text["rate"] == "60 % [50, 70]"
    assert text["shift"] == "+0.60 [+0.50, +0.70]"
    alone = found.assign(low=np.nan, high=np.nan)
    text = figures.pivot(alone, index=["suite"], columns="metric").iloc[0]
    assert (text["rate"], text["shift"]) == ("60 %", "+0.60")


def test_tables_for_reading_keep_the_order_of_rows_and_columns() -> None:
    found = table()
    accuracy = found[(found["metric"] == "accuracy") & (found["truth"] == "false")]
    wide = figures.pivot(accuracy, index=["answer_format"], columns="user")
    assert list(wide.columns) == ["none", "agrees", "disagrees"]
    assert list(wide.index) == ["choices", "cloze", "statement", "true_false"]


def test_drawing_leaves_the_readers_settings_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.draw_opinion_tasks(opinion_table())
    assert dict(matplotlib.rcParams) == before


@pytest.fixture(scope="module")
def prompts() -> dict[str, pd.DataFrame]:
    claims_table, _ = claims.claims(["sst2", "qqp"])
    return {
        recipe: generate.generate_prompts(claims_table, 80, recipe, reuse=True)
        for recipe in generate.RECIPES
    }


def test_an_anatomy_is_the_prompt_with_every_part_named(prompts: dict[str, pd.DataFrame]) -> None:
    for row in prompts["balanced"].head(20).itertuples():
        cut = figures.anatomy(row.prompt, row.target)
        assert cut.text == row.prompt + row.target
        parts: dict[str, list[str]] = {}
        for text, part in cut.pieces:
            parts.setdefault(part, []).append(text)
        assert parts["user"] == [row.name, str(row.age), row.school, row.graduated]
        assert parts["opinion"] == [f"I {str(row.user).removesuffix('s')} with"]
        assert parts["input"] == [row.text] * 2 and parts["label"] == [row.shown] * 2
        assert parts["verb"] == ["is" if row.polarity == "positive" else "is not"] * 2
        assert sorted(parts["answers"]) == sorted(parts["answers"], key=lambda text: text[2])
        assert parts["target"] == [row.target]


def test_an_anatomy_without_a_user_and_what_it_shows() -> None:
    prompt = templates.generated('"<b> & co"', "negative", "World", "none").text
    cut = figures.anatomy(prompt, " (A)")
    assert {part for _, part in cut.pieces} == {"", "input", "verb", "label", "answers", "target"}
    shown = cut._repr_html_()
    assert "&lt;b&gt; &amp; co" in shown and "<b>" not in shown
    assert "[verb: is not]" in repr(cut)
    with pytest.raises(InputError, match=r"no prompt of section 4\.1"):
        figures.anatomy("Human: 1 + 1 = 3?")


def test_sources_are_drawn_beside_the_papers_counts() -> None:
    _, counts = claims.claims(["sst2", "cb", "everyday_facts"])
    ax = figures.sources(counts, data="embedded").axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["everyday_facts", "cb", "sst2"]
    paper, here = (line.get_xdata() for line in ax.lines)
    np.testing.assert_array_equal(paper, [np.nan, 250, 66_978])
    kept = counts.set_index("source")["kept"]
    assert list(here) == [kept[name] for name in names] and ax.get_xscale() == "log"


def test_a_path_with_dollar_signs_is_no_formula(tmp_path: Path) -> None:
    name = "/models/a$b_{$ #1"
    rows = table((name,))
    figure = figures.save_figure(figures.wrong_additions(rows), tmp_path / "figure", rows)
    assert any(text.get_text().startswith(f"{name};") for text in figure.findobj(Text))
    _, counts = claims.claims(["sst2", "cb"])
    sources = figures.sources(counts, data="embedded")
    figures.save_figure(sources, tmp_path / "sources", counts)
    labels = [label.get_text() for label in sources.axes[0].get_xticklabels()]
    assert "1,000" in labels and not any("$" in label for label in labels)


def test_the_composition_is_counted_prompt_by_prompt(prompts: dict[str, pd.DataFrame]) -> None:
    figure, drawn_shares = figures.composition(prompts)
    assert [ax.get_title().split(",")[0] for ax in figure.axes] == list(generate.RECIPES)
    for row in drawn_shares.itertuples():
        table = prompts[row.recipe]
        cell = [
            agree
            for truth, polarity, agree in zip(
                table["truth"], table["polarity"], table["agree"], strict=True
            )
            if truth == row.truth and polarity == row.polarity
        ]
        assert row.share == pytest.approx(len(cell) / 80) and row.n == 80
        assert row.agree == pytest.approx(sum(cell) / 80)
    first = figure.axes[0].patches
    assert [round(bar.get_height()) for bar in first] == [50, 0, 0, 50, 50, 0, 0, 0]


def test_the_leak_audit_draws_every_value_and_chance(prompts: dict[str, pd.DataFrame]) -> None:
    found = pd.concat([audit.predictability(table, by_source=True) for table in prompts.values()])
    found = pd.concat([found, *(audit.predictability(table) for table in prompts.values())])
    figure = figures.leak_audit(found, caption="embedded, n = 80")
    expected = found.loc[found["source"] == "all", "value"] * 100
    assert len(expected) == 12 and sorted(drawn(figure)) == pytest.approx(sorted(expected))
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()) for line in dashed] == [[50, 50]]
    assert figure.get_supxlabel() == "embedded, n = 80"


def test_filtration_draws_every_share_by_source_and_filter() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"filter": kind, "source": source, "metric": metric, "value": value, "low": value - 0.1,
         "high": value + 0.1, "n": 40}
        for kind in ("pick", "paired")
        for source in ("sst2", "cola", "trec")
        for metric, value in (("right", rng.random()), ("kept", rng.random()))
    ]  # fmt: skip
    shares = pd.DataFrame(rows)
    figure = figures.filtration(shares, model="m", recipe="balanced")
    for ax, metric in zip(figure.axes, ("right", "kept"), strict=True):
        found = [
            float(x) for box in ax.containers for x in box.lines[0].get_xdata() if np.isfinite(x)
        ]
        expected = 100 * shares.loc[shares["metric"] == metric, "value"]
        assert sorted(found) == pytest.approx(sorted(expected))
        dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
        assert [list(line.get_xdata()) for line in dashed] == [[50, 50]]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "sst2", "cola", "trec"
    ]  # fmt: skip
    assert "n = 120 prompts; 95 % intervals over inputs" in figure.get_supxlabel()


def test_losses_are_drawn_step_by_step_with_their_running_mean() -> None:
    losses = [2.0, 1.0, 0.9, 0.3]
    table_of = pd.concat(
        pd.DataFrame({"run": name, "step": range(1, 5), "loss": losses}) for name in ("a", "b")
    )
    ax = figures.losses(table_of, caption="m").axes[0]
    assert len(ax.lines) == 4 and list(ax.lines[0].get_ydata()) == losses
    assert list(ax.lines[1].get_ydata()) == pytest.approx([2.0, 1.5, 1.3, 1.05])
