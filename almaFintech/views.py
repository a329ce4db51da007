"""The views that belong to no app."""

from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.urls import resolve
from django.views.decorators.csrf import csrf_exempt
from rest_framework.permissions import AllowAny
from rest_framework.routers import APIRootView

from almaFintech.filters import QueryMixin
from almaFintech.schema import RootSchema


class ApiRoot(QueryMixin, APIRootView):
    """The entry points of the API."""

    parameters = {"": ()}
    schema = RootSchema()
    authentication_classes = ()
    permission_classes = (AllowAny,)


@csrf_exempt
def no_such_path(request: HttpRequest) -> HttpResponse:
    """Answer 404 in JSON, or send a GET that lacks the trailing slash to the path that has it.

    Other methods are not sent there: clients drop the body on the way.
    """
    reads_without_slash = request.method in ("GET", "HEAD") and request.path_info[-1:] != "/"
    if reads_without_slash and resolve(f"{request.path_info}/").func is not no_such_path:
        return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))
    return JsonResponse({"detail": "Not found.", "code": "not_found"}, status=404)
