"""The application for operators' machines: /metrics, /healthz, /readyz. No credentials.

/healthz: this process answers. /readyz: send mail here or elsewhere.
"""

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from soboo_mta import __version__
from soboo_mta.web.health import Readiness
from soboo_mta.web.metrics.exposition import Exposition


def monitoring(exposition: Exposition, readiness: Readiness) -> Starlette:
    """Return the application; it opens nothing."""

    async def metrics(_request: Request) -> Response:
        page = await exposition.page()
        return Response(page, headers={"content-type": CONTENT_TYPE_LATEST})

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    async def ready(_request: Request) -> Response:
        report = await readiness.report()
        checks = {
            name: {"ok": not reason, "reason": reason}
            for name, reason in report.reasons.items()
        }
        return JSONResponse(
            {"ready": report.is_ready, "checks": checks},
            status_code=200 if report.is_ready else 503,
        )

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/healthz", health),
            Route("/readyz", ready),
        ]
    )
