"""The nouns: what the shop knows, and what was learned and done with it."""

from recommender.models.access import ApiKey, Scope, TokenSigner
from recommender.models.answers import Answer
from recommender.models.campaigns import Campaign, CampaignCoupon, CampaignSegment, CampaignShopper
from recommender.models.catalogue import CATEGORY_SEPARATOR, Category, Product
from recommender.models.checkout import IdempotencyRecord, Reservation, ReservationCoupon
from recommender.models.codes import Code, CodeBatch
from recommender.models.counters import CampaignCounter, CouponCounter, ShopperCounter
from recommender.models.coupons import Coupon, CouponTarget
from recommender.models.devices import Device, DevicePart
from recommender.models.erasures import Erasure
from recommender.models.experiments import Experiment, ExperimentArm, ExperimentExposure
from recommender.models.feedback import Event, Redemption
from recommender.models.groups import Companion, GroupBuy, GroupBuyMember, GroupInvitation, GroupModel
from recommender.models.jobs import Job
from recommender.models.learning import (
    BACKTEST_FIGURE,
    Evaluation,
    LearnedInputs,
    ModelVersion,
    Promotion,
    SearchTrial,
    Snapshot,
)
from recommender.models.orders import Order, OrderLine
from recommender.models.projects import ProjectStage
from recommender.models.review import RunComment, RunCorrection, RunCorrectionShopper, RunCoupon, RunInput
from recommender.models.runs import Publication, Recommendation, Run, RunShard
from recommender.models.sale_events import SaleEvent, SaleEventCounter, SaleEventHour
from recommender.models.segments import Segment, SegmentCondition
from recommender.models.sellers import Seller
from recommender.models.shop import GROUP_PLACE, Shop, User
from recommender.models.shoppers import Shopper
from recommender.models.stock import Batch
from recommender.models.summaries import Summary
from recommender.models.uploads import Upload
from recommender.models.webhooks import BudgetNotice, WebhookDelivery, WebhookEndpoint, WebhookEvent

__all__ = [
    "BACKTEST_FIGURE",
    "CATEGORY_SEPARATOR",
    "GROUP_PLACE",
    "Answer",
    "ApiKey",
    "Batch",
    "BudgetNotice",
    "Campaign",
    "CampaignCounter",
    "CampaignCoupon",
    "CampaignSegment",
    "CampaignShopper",
    "Category",
    "Code",
    "CodeBatch",
    "Companion",
    "Coupon",
    "CouponCounter",
    "CouponTarget",
    "Device",
    "DevicePart",
    "Erasure",
    "Evaluation",
    "Event",
    "Experiment",
    "ExperimentArm",
    "ExperimentExposure",
    "GroupBuy",
    "GroupBuyMember",
    "GroupInvitation",
    "GroupModel",
    "IdempotencyRecord",
    "Job",
    "LearnedInputs",
    "ModelVersion",
    "Order",
    "OrderLine",
    "Product",
    "ProjectStage",
    "Promotion",
    "Publication",
    "Recommendation",
    "Redemption",
    "Reservation",
    "ReservationCoupon",
    "Run",
    "RunComment",
    "RunCorrection",
    "RunCorrectionShopper",
    "RunCoupon",
    "RunInput",
    "RunShard",
    "SaleEvent",
    "SaleEventCounter",
    "SaleEventHour",
    "Scope",
    "SearchTrial",
    "Segment",
    "SegmentCondition",
    "Seller",
    "Shop",
    "Shopper",
    "ShopperCounter",
    "Snapshot",
    "Summary",
    "TokenSigner",
    "Upload",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
]
