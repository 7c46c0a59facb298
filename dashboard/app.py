"""The dashboard: streamlit run dashboard/app.py [-- --results DIR ...].

This is the server; the pages begin in main.py.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HERE = Path(__file__).parent


def _inline_scripts() -> str:
    """Digests of the scripts that stand in Streamlit's own page."""
    page = (Path(st.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


HEADERS = {
    # nothing is asked of another host, no script runs that is not Streamlit's own, and no other site shows these pages
    "content-security-policy": "default-src 'self' data: blob:; "
    f"script-src 'self' 'wasm-unsafe-eval' {_inline_scripts()}; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class SafeHeaders:
    """Sends the headers with every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                others = [
                    pair for pair in message.get("headers", []) if pair[0].decode().lower() not in HEADERS
                ]
                message = {**message, "headers": [*others, *ours]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[dict[str, Any]]:
    """Answer once the first store is read: who answers before makes the first page wait, and reads it all the slower."""
    from parts.stores import open_shelf, stores_given

    import harness.charts  # noqa: F401 - plotly takes long

    reading = asyncio.to_thread(open_shelf, stores_given()[0])
    await asyncio.gather(reading, return_exceptions=True)  # what cannot be read, the page says
    yield {}


sys.path.insert(0, str(HERE))
app = st.App(HERE / "main.py", lifespan=lifespan, middleware=[Middleware(SafeHeaders)])
