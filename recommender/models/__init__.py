"""The nouns: what the shop knows, and what was learned and done with it."""

from recommender.models.access import ApiKey
from recommender.models.answers import Answer
from recommender.models.campaigns import Campaign, CampaignCoupon, CampaignSegment, CampaignShopper
from recommender.models.catalogue import CATEGORY_SEPARATOR, Category, Product
from recommender.models.coupons import Coupon, CouponTarget
from recommender.models.feedback import Event, Redemption
from recommender.models.jobs import Job
from recommender.models.learning import BACKTEST_FIGURE, Evaluation, ModelVersion, Promotion, SearchTrial, Snapshot
from recommender.models.orders import Order, OrderLine
from recommender.models.review import RunComment, RunCorrection, RunCoupon
from recommender.models.runs import Publication, Recommendation, Run, RunShard
from recommender.models.segments import Segment, SegmentCondition
from recommender.models.shop import Shop, User
from recommender.models.shoppers import Shopper
from recommender.models.summaries import Summary
from recommender.models.uploads import Upload

__all__ = [
    "BACKTEST_FIGURE",
    "CATEGORY_SEPARATOR",
    "Answer",
    "ApiKey",
    "Campaign",
    "CampaignCoupon",
    "CampaignSegment",
    "CampaignShopper",
    "Category",
    "Coupon",
    "CouponTarget",
    "Evaluation",
    "Event",
    "Job",
    "ModelVersion",
    "Order",
    "OrderLine",
    "Product",
    "Promotion",
    "Publication",
    "Recommendation",
    "Redemption",
    "Run",
    "RunComment",
    "RunCorrection",
    "RunCoupon",
    "RunShard",
    "SearchTrial",
    "Segment",
    "SegmentCondition",
    "Shop",
    "Shopper",
    "Snapshot",
    "Summary",
    "Upload",
    "User",
]
