"""What was learned, from what, and how good it is."""

import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _

from recommender.models.jobs import Job
from recommender.wording import SentenceField

#: The figure of the latest backtest, under the data directory.
BACKTEST_FIGURE = "figures/backtest.png"


class Snapshot(models.Model):
    """An immutable columnar copy of the tables, in the folder of the data directory that its fingerprint names."""

    fingerprint = models.CharField(_("fingerprint"), max_length=64, unique=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    history_until = models.DateTimeField(
        _("history until"), null=True, blank=True, help_text=_("When the last thing in it happened.")
    )
    row_counts = models.JSONField(_("rows"), default=dict)
    size = models.PositiveBigIntegerField(_("size"), default=0, help_text=_("Bytes."))
    files_deleted_at = models.DateTimeField(_("files deleted"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("snapshot")
        verbose_name_plural = _("snapshots")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.fingerprint[:12]


class ModelVersion(models.Model):
    """One algorithm, fitted once. The champion is the version that ``Shop.champion`` points to."""

    algorithm = models.CharField(_("algorithm"), max_length=64)
    snapshot = models.ForeignKey(
        Snapshot, verbose_name=_("snapshot"), on_delete=models.PROTECT, related_name="model_versions"
    )
    learned_until = models.DateTimeField(
        _("learned until"), help_text=_("Nothing dated at or after this moment was learned from.")
    )
    key = models.CharField(_("key"), max_length=64, unique=True, editable=False)
    configuration = models.JSONField(
        _("configuration"),
        default=dict,
        blank=True,
        encoder=DjangoJSONEncoder,
        help_text=_("Parameters that it was fitted with, where they are not the algorithm's defaults."),
    )
    parameters = models.JSONField(
        _("parameters"), default=dict, encoder=DjangoJSONEncoder, help_text=_("What was chosen or learned.")
    )
    library_versions = models.JSONField(_("library versions"), default=dict)
    artifact = models.CharField(_("artifact"), max_length=200, help_text=_("Its file under the data directory."))
    artifact_digest = models.CharField(_("artifact digest"), max_length=64)
    training_rows = models.PositiveBigIntegerField(_("training rows"))
    training_positives = models.PositiveBigIntegerField(_("redeemed among them"))
    fit_seconds = models.FloatField(_("seconds to fit"))
    score_seconds = models.FloatField(
        _("seconds to score a million offers"), null=True, help_text=_("On the validation period.")
    )
    peak_memory = models.PositiveBigIntegerField(
        _("memory"), null=True, help_text=_("Bytes held at most while it was fitted and scored for the comparison.")
    )
    threshold = models.FloatField(
        _("threshold"),
        help_text=_("Probability from which a pair counts as redeemed; chosen on the validation period."),
    )
    past_outcomes = models.JSONField(
        _("past outcomes"),
        default=list,
        help_text=_(
            "Of each past campaign of the validation period, scored as of its start: uses expected, uses counted, uses "
            "learned from, kind."
        ),
    )
    curves = models.JSONField(
        _("curves"),
        default=dict,
        help_text=_("Of the validation period: ROC, precision and recall, calibration, gain and lift, as points."),
    )
    importance = models.JSONField(
        _("importance"),
        default=dict,
        help_text=_("By group of features, by how much it moves the log-odds of scores on average."),
    )
    won = models.BooleanField(
        _("won its training"), default=False, help_text=_("Was the best of those that were compared with it.")
    )
    figure = models.CharField(
        _("figure"), max_length=200, blank=True, help_text=_("Its file under the data directory.")
    )
    drawing = models.CharField(
        _("drawing"),
        max_length=200,
        blank=True,
        help_text=_("The model itself drawn, where it can be: its file under the data directory."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    retired_at = models.DateTimeField(
        _("retired"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("It learned from a shopper who was erased. It serves only until another is champion."),
    )
    job = models.ForeignKey(
        Job, verbose_name=_("job"), null=True, blank=True, on_delete=models.SET_NULL, related_name="model_versions"
    )

    class Meta:
        verbose_name = _("model version")
        verbose_name_plural = _("model versions")
        ordering = ["-pk"]
        permissions = [("promote_modelversion", "Can make a model version the champion")]

    def __str__(self) -> str:
        return f"{self.algorithm} {self.pk}"

    @property
    def name(self) -> str:
        """The algorithm with the parameters of its own, as comparisons call it: ``decision_tree(max_depth=4)``."""
        return _name(self.algorithm, self.configuration)


class LearnedInputs(models.Model):
    """What the inputs of a model version were like in the campaigns that it learned from, or in those of one kind.

    Each of ``inputs`` is a name, edges, counts by bin and the index that is usual, as
    ``recommender.ml.input_drift.LearnedInput`` has them. Only runs read it, so it is kept away from what pages list.
    """

    model_version = models.ForeignKey(
        ModelVersion, verbose_name=_("model version"), on_delete=models.CASCADE, related_name="learned_inputs"
    )
    kind = models.CharField(
        _("kind"), max_length=64, blank=True, help_text=_("Of campaigns; empty where it is of all of them.")
    )
    campaign_count = models.PositiveIntegerField(_("campaigns"))
    inputs = models.JSONField(_("inputs"), default=list)

    class Meta:
        verbose_name = _("learned inputs")
        verbose_name_plural = _("learned inputs")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["model_version", "kind"], name="learned_inputs_kind_once"),
        ]

    def __str__(self) -> str:
        return f"{self.model_version} · {self.kind}" if self.kind else str(self.model_version)


class Evaluation(models.Model):
    """One figure of a model version, with its 95 % bootstrap interval over shoppers where it has one."""

    model_version = models.ForeignKey(
        ModelVersion, verbose_name=_("model version"), on_delete=models.CASCADE, related_name="evaluations"
    )
    metric = models.CharField(_("metric"), max_length=64)
    value = models.FloatField(_("value"), null=True)
    low = models.FloatField(_("low"), null=True)
    high = models.FloatField(_("high"), null=True)

    class Meta:
        verbose_name = _("evaluation figure")
        verbose_name_plural = _("evaluation figures")
        constraints = [
            models.UniqueConstraint(fields=["model_version", "metric"], name="evaluation_metric_once"),
        ]

    def __str__(self) -> str:
        return f"{self.metric} {self.value}"


class SearchTrial(models.Model):
    """One configuration that a search for the model scored on the validation period: the trail, and what a search that
    was broken off goes on from.

    Its figures are of the half of the shoppers that the search chooses by. The best of many trials looks better there
    than it is, and the more trials there are the more so; whether it is better is found out on the other half.
    """

    key = models.CharField(_("key"), max_length=64, unique=True, editable=False)
    algorithm = models.CharField(_("algorithm"), max_length=64)
    configuration = models.JSONField(
        _("configuration"),
        default=dict,
        blank=True,
        encoder=DjangoJSONEncoder,
        help_text=_("Its parameters, where they are not the algorithm's defaults."),
    )
    snapshot = models.ForeignKey(
        Snapshot, verbose_name=_("snapshot"), on_delete=models.CASCADE, related_name="search_trials"
    )
    learned_until = models.DateTimeField(
        _("learned until"), help_text=_("Nothing dated at or after this moment was used, and it ends the period.")
    )
    roc_auc = models.FloatField(_("ROC-AUC"), null=True)
    pr_auc = models.FloatField(_("PR-AUC"), null=True)
    ndcg_at_10 = models.FloatField(
        _("NDCG@10"),
        null=True,
        help_text=_(
            "The search chooses by it, on half of the shoppers. The best of many trials looks better here than it is; "
            "the other half decides whether it replaces the champion."
        ),
    )
    recall_at_10 = models.FloatField(_("Recall@10"), null=True)
    seconds = models.FloatField(_("seconds"), help_text=_("To fit and score it on the validation period."))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    job = models.ForeignKey(
        Job, verbose_name=_("job"), null=True, blank=True, on_delete=models.SET_NULL, related_name="search_trials"
    )

    class Meta:
        verbose_name = _("search trial")
        verbose_name_plural = _("search trials")
        ordering = ["-pk"]
        indexes = [models.Index(fields=["snapshot", "learned_until"], name="search_trial_data")]

    def __str__(self) -> str:
        return f"{self.algorithm} {self.pk}"

    @property
    def name(self) -> str:
        """The algorithm with the parameters of its own, as comparisons call it: ``decision_tree(max_depth=4)``."""
        return _name(self.algorithm, self.configuration)


class Promotion(models.Model):
    """A change of champion: from whom to whom, by whom and why."""

    model_version = models.ForeignKey(
        ModelVersion, verbose_name=_("model version"), on_delete=models.PROTECT, related_name="promotions"
    )
    previous = models.ForeignKey(
        ModelVersion,
        verbose_name=_("previous champion"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    promoted_at = models.DateTimeField(_("promoted"), auto_now_add=True)
    promoted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("promoted by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text=_("Empty where the gate decided."),
    )
    reason = SentenceField(_("reason"))

    class Meta:
        verbose_name = _("promotion")
        verbose_name_plural = _("promotions")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.model_version}: {self.reason}"


def _name(algorithm: str, configuration: Mapping[str, Any]) -> str:
    chosen = ", ".join(f"{name}={json.dumps(configuration[name])}" for name in sorted(configuration))
    return f"{algorithm}({chosen})" if chosen else algorithm
