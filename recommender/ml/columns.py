"""Every column name of the model layer, once.

A snapshot numbers shoppers, products, categories, coupons, campaigns and orders from 0 in the order of the shop's own
identifiers; the columns named after the thing alone (``shopper``) hold these numbers, the ``_id`` columns the
identifiers. So the same history gives the same numbers whatever database it came from.
"""

# numbers of things
SHOPPER = "shopper"
PRODUCT = "product"
CATEGORY = "category"
COUPON = "coupon"
CAMPAIGN = "campaign"
ORDER = "order"
DEVICE_PRODUCT = "device_product"

# the shop's identifiers
SHOPPER_ID = "shopper_id"
PRODUCT_ID = "product_id"
COUPON_ID = "coupon_id"
OFFER_ID = "offer_id"
CAMPAIGN_ID = "campaign_id"
STORE_ID = "store_id"
SELLER_ID = "seller_id"

# times, all UTC
JOINED_AT = "joined_at"
ORDERED_AT = "ordered_at"
REDEEMED_AT = "redeemed_at"
OCCURRED_AT = "occurred_at"
OFFERED_AT = "offered_at"
STARTS_AT = "starts_at"
ENDS_AT = "ends_at"
ACQUIRED_AT = "acquired_at"
RETIRED_AT = "retired_at"
RECEIVED_AT = "received_at"
SOLD_OUT_AT = "sold_out_at"
BEST_BEFORE = "best_before"

# facts
OPTED_OUT = "opted_out"
ATTRIBUTE = "attribute"
VALUE = "value"
NAME = "name"
TITLE = "title"
PATH = "path"
PARENT = "parent"
BRAND = "brand"
PRICE = "price"
COST = "cost"
RATING = "rating"
ACTIVE = "active"
CHANNEL = "channel"
QUANTITY = "quantity"
AMOUNT = "amount"
DISCOUNT = "discount"
COUPON_DISCOUNT = "coupon_discount"
DISCOUNT_TYPE = "discount_type"
DISCOUNT_VALUE = "discount_value"
MIN_SPEND = "min_spend"
MAX_DISCOUNT = "max_discount"
DISCOUNT_AMOUNT = "discount_amount"
WHOLE_SHOP = "whole_shop"
KIND = "kind"
BUDGET = "budget"
IS_CONTROL = "is_control"
RANK = "rank"
PART = "part"
PROJECT = "project"
POSITION = "position"
LIFE = "life"

# what evaluation writes
ALGORITHM = "algorithm"
SCORE = "score"
LABEL = "label"
SHARE = "share"
WEIGHT = "weight"
