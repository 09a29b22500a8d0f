from typing import Any

from django.db import migrations

#: About so many recommendations has a shopper, over the runs that are kept.
ROWS_OF_A_SHOPPER = 20


def tell_planner(apps: Any, schema_editor: Any) -> None:
    """Tell PostgreSQL how many shoppers there are to how many recommendations.

    The rows of a shopper lie together, of which ANALYZE's sample makes a few shoppers with very many rows each. Then a
    shopper's list would be looked for by coupon: by every one that there is.
    """
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            f"ALTER TABLE recommender_recommendation ALTER COLUMN shopper_id SET (n_distinct = {-1 / ROWS_OF_A_SHOPPER})"
        )
        schema_editor.execute("ANALYZE recommender_recommendation")


def leave_to_analyze(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE recommender_recommendation ALTER COLUMN shopper_id RESET (n_distinct)")


class Migration(migrations.Migration):
    dependencies = [("recommender", "0021_two_stages")]

    operations = [migrations.RunPython(tell_planner, leave_to_analyze)]
