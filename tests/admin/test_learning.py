"""Models side by side, their figure, and the champion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from recommender.admin import feature_groups, input_drift, input_labels, metrics
from recommender.ml.algorithms import ALGORITHMS
from recommender.ml.evaluation.metrics import METRICS
from recommender.ml.feature_names import NAMES
from recommender.ml.features import GROUPS
from recommender.models import Evaluation, ModelVersion, Promotion, Run, RunInput, Shop
from recommender.services.training import promote
from tests.admin.rows import add_rows, add_version

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def version(db: None) -> ModelVersion:
    return add_version(1)


def action(name: str, version: ModelVersion) -> str:
    return reverse(f"admin:recommender_modelversion_{name}", args=[version.pk])


def test_the_admin_reads_metrics_as_the_model_layer_does() -> None:
    described = {name: (str(column.title), column.better, column.decimals) for name, column in metrics.COLUMNS.items()}
    assert described == {name: (metric.title, metric.better, metric.decimals) for name, metric in METRICS.items()}


def test_a_training_is_compared_with_the_best_first(admin_client: Client, version: ModelVersion) -> None:
    Shop.current()
    Shop.objects.update(champion=version)
    better = ModelVersion.objects.get(pk=version.pk)
    better.pk, better.key, better.algorithm = None, "better", "gradient_boosting"
    better.save()
    add_version(2)  # of another training
    for of, roc_auc, log_loss in ((version, 0.7, 0.1), (better, 0.8, 0.2)):
        Evaluation.objects.create(model_version=of, metric="roc_auc", value=roc_auc, low=roc_auc - 0.1, high=0.9)
        Evaluation.objects.create(model_version=of, metric="log_loss", value=log_loss)
    answer = admin_client.get(action("compare", version))
    main, *others, _costs = answer.context["comparison"]
    assert [row for row, _cells in main.rows] == [better, version]
    assert [(cells[0].value, cells[0].interval, cells[0].is_best) for _row, cells in main.rows] == [
        ("0.800", "0.700 – 0.900", True),
        ("0.700", "0.600 – 0.900", False),
    ]
    column = next(table for table in others if "Log loss" in table.titles)
    cells = [cells[column.titles.index("Log loss")] for _row, cells in column.rows]
    assert [(cell.value, cell.is_best) for cell in cells] == [("0.20000", False), ("0.10000", True)], "less is better"


def test_the_latest_comparison_is_one_click_away(admin_client: Client) -> None:
    latest = reverse("admin:recommender_modelversion_compare_latest")
    assert admin_client.get(latest)["Location"] == reverse("admin:recommender_modelversion_changelist")
    add_version(3)
    newest = add_version(7)
    add_version(5)
    assert admin_client.get(latest)["Location"] == action("compare", newest)


def test_a_promotion_keeps_who_and_why(admin_client: Client, version: ModelVersion) -> None:
    assert admin_client.post(action("promote", version), {"reason": ""}).context["form"].errors
    assert (Shop.current().champion, Promotion.objects.count()) == (None, 0)
    for _ in range(2):
        admin_client.post(action("promote", version), {"reason": "It learned from the spring campaign."})
    promotion = Promotion.objects.get()
    assert (Shop.current().champion, promotion.previous) == (version, None)
    assert (str(promotion.promoted_by), promotion.reason) == ("admin", "It learned from the spring campaign.")


def test_who_may_not_promote_promotes_nothing(client_with: Callable[..., Client], version: ModelVersion) -> None:
    client = client_with("view_modelversion", "start_job")
    assert client.get(action("promote", version)).status_code == 403
    assert client.post(action("promote", version), {"reason": "because"}).status_code == 403
    assert (Shop.current().champion, Promotion.objects.count()) == (None, 0)
    assert client_with("view_modelversion", "promote_modelversion").get(action("promote", version)).status_code == 200


class TestFigure:
    @pytest.fixture(autouse=True)
    def folder(self, settings: Any, tmp_path: Path) -> Path:
        settings.DATA_DIR = tmp_path / "data"
        (settings.DATA_DIR / "figures").mkdir(parents=True)
        (settings.DATA_DIR / "figures" / "one.png").write_bytes(PNG)
        (settings.DATA_DIR / "secret-key").write_bytes(b"secret")
        (tmp_path / "outside.png").write_bytes(PNG)
        (settings.DATA_DIR / "link.png").symlink_to(tmp_path / "outside.png")
        return settings.DATA_DIR

    def test_it_is_shown(self, admin_client: Client, version: ModelVersion) -> None:
        ModelVersion.objects.update(figure="figures/one.png")
        answer = admin_client.get(action("figure", version))
        assert (answer.status_code, answer["Content-Type"]) == (200, "image/png")
        assert answer.getvalue() == PNG

    @pytest.mark.parametrize(
        "figure",
        ["", ".", "figures", "../outside.png", "figures/../../outside.png", "link.png", "secret-key", "no"],
    )
    def test_nothing_else_is(self, figure: str, admin_client: Client, version: ModelVersion) -> None:
        ModelVersion.objects.update(figure=figure)
        assert admin_client.get(action("figure", version)).status_code == 404

    def test_nothing_outside_is_by_its_whole_path(
        self, folder: Path, admin_client: Client, version: ModelVersion
    ) -> None:
        ModelVersion.objects.update(figure=str(folder.parent / "outside.png"))
        assert admin_client.get(action("figure", version)).status_code == 404

    def test_it_is_not_for_everybody(self, client_with: Callable[..., Client], version: ModelVersion) -> None:
        ModelVersion.objects.update(figure="figures/one.png")
        assert client_with("view_run").get(action("figure", version)).status_code == 403
        assert Client().get(action("figure", version)).status_code == 302

    def test_the_latest_backtests_is_shown_once_there_is_one(
        self, folder: Path, admin_client: Client, client_with: Callable[..., Client], version: ModelVersion
    ) -> None:
        address = reverse("admin:recommender_modelversion_backtest_figure")
        assert admin_client.get(address).status_code == 404
        assert address not in admin_client.get(action("compare", version)).content.decode()
        (folder / "figures" / "backtest.png").write_bytes(PNG)
        assert admin_client.get(address).getvalue() == PNG
        assert address in admin_client.get(action("compare", version)).content.decode()
        assert client_with("view_run").get(address).status_code == 403

    def test_a_drawn_model_is_shown_on_its_page(
        self, admin_client: Client, client_with: Callable[..., Client], version: ModelVersion
    ) -> None:
        page, drawing = action("change", version), action("drawing", version)
        assert drawing not in admin_client.get(page).content.decode()
        assert admin_client.get(drawing).status_code == 404
        ModelVersion.objects.update(drawing="figures/one.png")
        assert f'src="{drawing}"' in admin_client.get(page).content.decode()
        assert admin_client.get(drawing).getvalue() == PNG
        assert client_with("view_run").get(drawing).status_code == 403

    @pytest.mark.parametrize("drawing", ["../outside.png", "link.png", "secret-key"])
    def test_no_other_file_is_a_drawing(self, drawing: str, admin_client: Client, version: ModelVersion) -> None:
        ModelVersion.objects.update(drawing=drawing)
        assert admin_client.get(action("drawing", version)).status_code == 404


CURVES = {
    "roc": [[0, 0], [0.2, 0.8], [1, 1]],
    "precision_recall": [[0.5, 0.1], [1, 0.02]],
    "calibration": [[0.01, 0.02, 0.01, 0.03], [0.04, 0.03, None, None]],
    "gain": [[0, 0], [1, 1]],
    "lift": [4.0, 2.0, 1.0, 1.0, 1.0, 0.5, 0.25, 0.25, 0, 0],
}


class TestCurves:
    def test_those_of_a_training_are_drawn_side_by_side(self, admin_client: Client, version: ModelVersion) -> None:
        ModelVersion.objects.update(curves=CURVES)
        curves = admin_client.get(action("compare", version)).context["curves"]
        assert [chart.title for chart in curves.charts] == ["ROC", "Precision and recall", "Calibration", "Gain"]
        assert curves.legend == [(version, 1)]
        roc, precision_recall, calibration, _gain = curves.charts
        assert [points for _line, points in roc.lines] == ["0.00,100.00 20.00,20.00 100.00,0.00"]
        assert (precision_recall.x_top, precision_recall.y_top) == ("100 %", "100 %")
        assert (calibration.x_top, calibration.y_top) == ("4 %", "4 %")
        assert [points for _line, points in calibration.lines] == ["25.00,50.00 100.00,25.00"]
        assert curves.lifts[0][1][:2] == ["4.00", "2.00"]

    def test_a_version_that_has_none_has_a_page_and_a_comparison(
        self, admin_client: Client, version: ModelVersion
    ) -> None:
        for page in ("compare", "change"):
            answer = admin_client.get(action(page, version))
            assert answer.status_code == 200
            assert answer.context["curves"] is None

    def test_a_comparison_takes_as_many_queries_for_many_versions_as_for_few(
        self, admin_client: Client, version: ModelVersion
    ) -> None:
        def count_queries() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert admin_client.get(action("compare", version)).status_code == 200
            return len(queries)

        ModelVersion.objects.update(curves=CURVES, importance={"spend": 1.0})
        count_queries()
        few = count_queries()
        for number in range(8):
            other = ModelVersion.objects.get(pk=version.pk)
            other.pk, other.key = None, f"copy {number}"
            other.save()
        assert count_queries() == few


def test_a_comparison_tells_what_each_model_costs(admin_client: Client, version: ModelVersion) -> None:
    ModelVersion.objects.update(score_seconds=12.34, peak_memory=3 * 2**20)
    *_others, costs = admin_client.get(action("compare", version)).context["comparison"]
    assert costs.titles == ["Seconds to fit", "Seconds to score a million offers", "Memory"]
    assert [cell.value for cell in costs.rows[0][1]] == ["0.1", "12.3", "3.0\xa0MB"]
    ModelVersion.objects.update(score_seconds=None, peak_memory=None)
    *_others, costs = admin_client.get(action("compare", version)).context["comparison"]
    assert [(cell.value, cell.is_best) for cell in costs.rows[0][1]] == [("0.1", True), ("–", False), ("–", False)]


def test_the_admin_names_the_inputs_of_all_algorithms_as_the_model_layer_does() -> None:
    pytest.importorskip("torch", reason="make neural: without it one algorithm and its inputs are not there")
    inputs = {name for algorithm in ALGORITHMS.values() for name in algorithm.inputs.columns}
    assert set(input_labels.LABELS) == inputs
    assert {name: str(input_labels.LABELS[name]) for name in NAMES} == NAMES


class TestInputs:
    @pytest.fixture
    def run(self, db: None) -> Run:
        add_rows(1)
        run = Run.objects.get()
        learned = run.model_version.learned_inputs.create(kind="mail", campaign_count=4)
        Run.objects.update(learned_inputs=learned, state=Run.State.DRAFTED)
        RunInput.objects.create(
            run=run,
            name="times",
            index=0.3,
            usual=0.2,
            edges=[-1e-45, 0.0, 1234.5],
            learned_counts=[0, 75, 20, 5, 0],
            counts=[0, 2, 1, 1, 0],
        )
        RunInput.objects.create(
            run=run, name="clicks", index=5, usual=6, edges=[], learned_counts=[1, 0], counts=[1, 0]
        )
        return run

    def test_those_that_moved_are_drawn_first_with_their_shares_then_and_now(
        self, admin_client: Client, run: Run
    ) -> None:
        page = admin_client.get(action("change", run.model_version))
        card = page.context["inputs"]
        assert (card.verdict, card.variant) == ("1 input moved a lot", "danger")
        assert [(each.title, each.index, each.usual, str(each.verdict)) for each in card.drawn] == [
            ("Times its products were bought", "0.30", "0.20", "moved a lot"),
            ("Coupons clicked", "5.00", "6.00", "moved as campaigns differ"),
            ("Money spent, faded by age", "0.10", "0.20", "shifted"),
        ]
        columns = [drawn.column for drawn in card.drawn[0].chart.columns]
        assert [(column.label, column.shown, column.before_shown) for column in columns] == [
            ("0", "50.0 %", "75.0 %"),
            ("0 – 1,234", "25.0 %", "20.0 %"),
            ("above 1,234", "25.0 %", "5.0 %"),
        ]
        assert "with the 4 campaigns of kind “mail”" in card.explanation
        assert "train anew" in card.explanation
        shown = page.content.decode()
        assert '<a href=""' not in shown
        assert 'id="inputs"' in shown
        assert admin_client.get(card.list_url).context["cl"].result_count == 3
        assert admin_client.get(card.list_url, {"moved": "1"}).status_code == 200

    def test_the_champions_page_shows_them_too(self, admin_client: Client, run: Run) -> None:
        promote(model_version=run.model_version, reason="the first")
        champion = admin_client.get(reverse("admin:recommender_modelversion_explain_champion"))
        assert champion.context["inputs"].verdict == "1 input moved a lot"

    def test_a_run_leads_to_them(self, admin_client: Client, client_with: Callable[..., Client], run: Run) -> None:
        address = reverse("admin:recommender_run_change", args=[run.pk])
        page = admin_client.get(address)
        card = page.context["inputs"]
        assert (card.verdict, card.note) == ("1 input moved a lot", "Times its products were bought")
        assert card.version_url == f"{action('change', run.model_version)}#inputs"
        assert card.version_url in page.content.decode()
        assert client_with("view_run").get(address).context["inputs"] is None

    def test_what_was_not_recorded_is_not_claimed(self, admin_client: Client, version: ModelVersion) -> None:
        card = admin_client.get(action("change", version)).context["inputs"]
        assert (card.verdict, card.variant, card.drawn) == ("not recorded at training", "default", [])
        assert "was not recorded when this version was trained" in card.explanation
        version.learned_inputs.create(campaign_count=3)
        card = admin_client.get(action("change", version)).context["inputs"]
        assert (card.verdict, card.drawn) == ("not known yet", [])

    @pytest.mark.parametrize(
        ("edges", "bins"),
        [
            ([], ["all", "not a number"]),
            ([1.0, 2.0], ["up to 1", "1 – 2", "above 2", "not a number"]),
            ([4.9999995, 5.0], ["below 5", "5", "above 5", "not a number"]),
            ([0.00012345, 0.5], ["up to 0.000123", "0.000123 – 0.5", "above 0.5", "not a number"]),
        ],
    )
    def test_bins_are_told_in_words(self, edges: list[float], bins: list[str]) -> None:
        assert input_drift._bins(edges) == bins


def test_the_admin_names_the_groups_of_features_of_the_model_layer() -> None:
    assert list(feature_groups.LABELS) == list(GROUPS)


def test_what_matters_most_to_a_version_stands_on_its_page(admin_client: Client, version: ModelVersion) -> None:
    ModelVersion.objects.update(importance={"spend": 0.5, "brand": 1.0})
    weights = admin_client.get(action("change", version)).context["importance"]
    assert [(str(weight.title), weight.size, weight.width) for weight in weights] == [
        ("Own purchases of its brands", "1.00", "100.00"),
        ("What the shopper spends", "0.50", "50.00"),
    ]


class TestChampion:
    PAGE = "admin:recommender_modelversion_explain_champion"

    def test_without_one_there_is_nothing_to_explain(self, admin_client: Client, db: None) -> None:
        answer = admin_client.get(reverse(self.PAGE))
        assert answer["Location"] == reverse("admin:recommender_modelversion_changelist")

    def test_its_page_tells_why_and_who_was_it_before(self, admin_client: Client, version: ModelVersion) -> None:
        second = add_version(2, algorithm="decision_tree")
        promote(model_version=version, reason="the first")
        promote(model_version=second, reason="better by far")
        context = admin_client.get(reverse(self.PAGE)).context
        assert (context["champion"], context["promotion"].reason) == (second, "better by far")
        told = [(row["promotion"].model_version, row["promotion"].previous) for row in context["promotions"]]
        assert told == [(second, version), (version, None)]
        assert context["calibration"].explanation == "No campaign with a published run is over yet."

    def test_it_is_for_who_may_see_versions(self, client_with: Callable[..., Client], version: ModelVersion) -> None:
        promote(model_version=version, reason="the first")
        assert client_with("view_run").get(reverse(self.PAGE)).status_code == 403
        assert client_with("view_modelversion").get(reverse(self.PAGE)).status_code == 200
