"""Sentences that are stored, and read in another language than that of whoever caused them."""

import copy
import pickle
from datetime import UTC, date, datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import translation
from django.utils.translation import gettext_lazy

from recommender.admin.history import describe_entry
from recommender.ml.evaluation.bootstrap import Estimate
from recommender.ml.evaluation.gate import Finding, GateDecision
from recommender.models import Job
from recommender.sentences import Sentence, say
from recommender.wording import gettext, keep, ngettext, recall, renamed, sentence_of

CHINESE = "zh-hans"


def in_chinese(text: str) -> str:
    with translation.override(CHINESE):
        return recall(keep(text))


def test_a_sentence_is_a_string_in_the_language_of_whoever_says_it() -> None:
    said = gettext("The run is gone.")
    assert (said, str(said), f"{said}") == ("The run is gone.",) * 3
    assert isinstance(str(ValueError(said)), Sentence), "so that an error keeps it"
    with translation.override(CHINESE):
        assert gettext("The run is gone.") == "推荐批次已不存在。"


@pytest.mark.parametrize(
    ("said", "chinese"),
    [
        (lambda: gettext("The run is gone."), "推荐批次已不存在。"),
        (lambda: gettext("Reading %(name)s") % {"name": "100 %(s) {}.csv"}, "正在读取 100 %(s) {}.csv"),
        (lambda: say("Describing past campaigns"), "正在描述过往活动"),
        (
            lambda: say("Scoring past campaigns by %(algorithm)s", algorithm="popularity"),
            "正在用 popularity 为过往活动评分",
        ),
        (
            lambda: ngettext("%(count)d run is approved.", "%(count)d runs are approved.", 2) % {"count": 2},
            "已批准2个推荐批次。",
        ),
        (
            lambda: gettext("Interrupted: %(reason)s.") % {"reason": gettext("its worker gave no sign of life")},
            "已中断：执行进程无响应。",
        ),
        (
            lambda: (
                gettext("Run %(run)s cannot go live: %(reasons)s")
                % {
                    "run": 7,
                    "reasons": [
                        gettext("The campaign ended on %(day)s.") % {"day": date(2026, 3, 1)},
                        gettext("The run is gone."),
                    ],
                }
            ),
            "推荐批次7无法发布：活动已于2026年3月1日结束。 推荐批次已不存在。",
        ),
        (lambda: sentence_of(gettext_lazy("waiting")), "等待中"),
        (lambda: "orders.csv, line 3", "orders.csv, line 3"),
        (lambda: '{"say": 5}', '{"say": 5}'),
        (lambda: '{"say": ["%(x)s"], "with": {}} and so on', '{"say": ["%(x)s"], "with": {}} and so on'),
    ],
)
def test_what_was_said_is_read_in_the_language_of_the_reader(said, chinese: str) -> None:
    kept = said()
    assert recall(keep(kept)) == kept, "and in its own language as it was said"
    assert in_chinese(kept) == chinese


def test_moments_are_told_by_the_locale_and_the_clock_of_the_reader() -> None:
    said = gettext("The campaign ended on %(day)s.") % {"day": datetime(2026, 3, 1, 12, tzinfo=UTC)}
    assert said == "The campaign ended on March 1, 2026, noon."
    assert in_chinese(said).startswith("活动已于2026年3月1日 12:00")


def test_a_reason_of_the_gate_is_read_in_chinese_too() -> None:
    gain = Estimate(0.02, 0.01, 0.03)
    findings = (
        Finding("better_than_baseline", True, "roc_auc", "blend", "popularity", gain),
        Finding("not_below_champion", False, "roc_auc", "blend", "extra_trees", gain),
    )
    said = str(GateDecision("blend", False, findings))
    assert said == (
        "blend is better than popularity by roc_auc: gain +0.0200 (95 % interval +0.0100 to +0.0300); "
        "blend is below extra_trees by roc_auc: gain +0.0200 (95 % interval +0.0100 to +0.0300)"
    )
    assert in_chinese(said) == (
        "按 roc_auc 衡量，blend 优于 popularity：提升 +0.0200（95 % 区间 +0.0100 至 +0.0300）；"
        "按 roc_auc 衡量，blend 低于 extra_trees：提升 +0.0200（95 % 区间 +0.0100 至 +0.0300）"
    )


def test_a_copy_says_the_same() -> None:
    said = gettext("Reading %(name)s") % {"name": "orders.csv"}
    for copied in (copy.deepcopy([said])[0], pickle.loads(pickle.dumps(said))):
        assert (copied, in_chinese(copied)) == ("Reading orders.csv", "正在读取 orders.csv")


def test_a_name_is_replaced_in_the_facts() -> None:
    said = gettext("%(folder)s is not a folder. Expected the folder of a shop export.") % {"folder": "/tmp/“x”/é"}
    assert in_chinese(renamed(said, "/tmp/“x”/é", 'march"zip')).startswith('march"zip 不是文件夹。')
    assert renamed("in /tmp/x", "/tmp/x", "march") == "in march"


@pytest.mark.django_db
def test_fields_give_back_what_was_said_in_the_language_of_the_reader() -> None:
    line = f"2026-03-01 12:00:00Z {keep(gettext('The run is gone.'))}\n"
    made = Job.objects.create(kind="publish", key="publish:1", error=gettext("The run is gone."), log=line + "Trace\n")
    with translation.override(CHINESE):
        job = Job.objects.get()
        assert (job.error, job.log) == ("推荐批次已不存在。", "2026-03-01 12:00:00Z 推荐批次已不存在。\nTrace\n")
        job.save(update_fields=["error"])
    made.refresh_from_db()
    assert (made.error, made.message) == ("The run is gone.", "")
    Job.objects.update(message="plain")
    assert Job.objects.get(message="plain").message == "plain"


def test_history_is_told_in_the_language_of_the_reader() -> None:
    entry = LogEntry(change_message=keep(gettext("Brought in.")))
    assert [step.text for step in describe_entry(entry)] == ["Brought in."]
    with translation.override(CHINESE):
        assert [step.text for step in describe_entry(entry)] == ["已上传。"]
