"""An addon that answers `http://metrics.example/` with the healing proxy's metrics, as they are asked for."""

from healing.monitor.metrics.page import metrics_page
from mitmproxy import ctx, http


async def request(flow: http.HTTPFlow) -> None:
    """Answer it."""
    if flow.request.host == "metrics.example":
        metrics = ctx.master.addons.get("metrics")
        content_type, body = await metrics_page(metrics, flow.request.headers.get("accept", ""))
        flow.response = http.Response.make(200, body, {"content-type": content_type})
