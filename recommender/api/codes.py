"""``/api/v1/code-batches``: unique codes of a coupon, made in the background and fetched as a file."""

from typing import Any

from django.core.exceptions import ValidationError as InvalidFields
from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.fields import IdentifierField, StringField
from recommender.api.once import IDEMPOTENCY_KEY, WriteView
from recommender.api.problems import Conflict
from recommender.api.refusals import as_problem, in_words
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.jobs import start_job
from recommender.models import CodeBatch, Job, Scope
from recommender.models.codes import CODES_AT_MOST, LEAST_LENGTH, MOST_LENGTH
from recommender.services.checkout.codes import add_batch, attach_job, export_codes, find_batch
from recommender.services.checkout.refusals import UnknownThing

FILE = "text/csv"


class PrefixField(StringField, serializers.RegexField):
    """What codes begin with."""


@extend_schema_serializer(component_name="CodeBatch")
class CodeBatchInput(serializers.Serializer):
    coupon_id = IdentifierField()
    count = serializers.IntegerField(min_value=1, max_value=CODES_AT_MOST)
    prefix = PrefixField(
        r"^[A-Za-z0-9]{0,16}\Z", required=False, allow_blank=True, default="", help_text="What all codes begin with."
    )
    length = serializers.IntegerField(
        min_value=LEAST_LENGTH, max_value=MOST_LENGTH, default=12, help_text="Random characters, of 32 values each."
    )


@extend_schema_serializer(component_name="CodeBatch")
class CodeBatchOutput(serializers.Serializer):
    batch_id = serializers.IntegerField()
    coupon_id = serializers.CharField()
    count = serializers.IntegerField()
    made = serializers.IntegerField(help_text="When it is the count, the codes can be fetched.")
    state = serializers.ChoiceField(choices=Job.State.choices, help_text="Of the work that makes the codes.")
    created_at = serializers.DateTimeField()


class CodeBatchesView(WriteView):
    scope = Scope.CODES

    @extend_schema(
        operation_id="make_codes",
        summary="Make unique codes of a coupon",
        description="They are made in the background. From then on the coupon is used by one of its codes only.",
        parameters=[IDEMPOTENCY_KEY],
        request=CodeBatchInput,
        responses={202: CodeBatchOutput, **problems(400, 403, 404, 422)},
    )
    def post(self, request: Request) -> HttpResponse:
        posted = CodeBatchInput(data=request.data)
        posted.is_valid(raise_exception=True)

        def work() -> Response:
            try:
                batch = add_batch(**posted.validated_data)
            except InvalidFields as error:
                raise ValidationError(error.message_dict) from error
            job = start_job(kind=Job.Kind.CODES, key=f"codes {batch.pk}", arguments={"batch": batch.pk})
            attach_job(batch=batch, job=job)
            return Response(_describe(batch), status=status.HTTP_202_ACCEPTED)

        return self.once(request, work)


class CodeBatchView(ApiView):
    scope = Scope.CODES

    @extend_schema(
        operation_id="read_code_batch",
        summary="How far the codes are",
        responses={200: CodeBatchOutput, **problems(403, 404)},
    )
    def get(self, request: Request, batch_id: int) -> Response:
        return Response(_describe(_find(batch_id)))


class CodesFileView(ApiView):
    scope = Scope.CODES

    @extend_schema(
        operation_id="export_codes",
        summary="The codes of a batch",
        description="A CSV file with the columns `code` and `used` (0 or 1). 409 until all of them are made.",
        responses={(200, FILE): OpenApiTypes.STR, **problems(403, 404, 409)},
    )
    def get(self, request: Request, batch_id: int) -> StreamingHttpResponse:
        batch = _find(batch_id)
        if not batch.is_complete:
            raise Conflict(
                in_words("codes_not_made", {"made": batch.made, "count": batch.count}), code="codes_not_made"
            )
        answer = StreamingHttpResponse(export_codes(batch=batch), content_type=f"{FILE}; charset=utf-8")
        answer.headers["Content-Disposition"] = f'attachment; filename="codes-{batch.pk}.csv"'
        return answer


def _find(batch_id: int) -> CodeBatch:
    try:
        return find_batch(batch_id=batch_id)
    except UnknownThing as error:
        raise as_problem(error) from error


def _describe(batch: CodeBatch) -> dict[str, Any]:
    return {
        "batch_id": batch.pk,
        "coupon_id": batch.coupon.coupon_id,
        "count": batch.count,
        "made": batch.made,
        "state": batch.state,
        "created_at": batch.created_at,
    }
