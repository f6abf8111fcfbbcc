"""The page: files of this package, from memory, under a policy that lets it load nothing from anywhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import FastAPI, Request, Response

FOLDER = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FIRST = "index.html"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # asked for again each time, and answered 304 where it is the same
}


def install_page(app: FastAPI) -> None:
    """``/`` and the files beside it."""
    for file in sorted(FOLDER.iterdir()):
        if file.suffix in KINDS:
            _install(app, "/" if file.name == FIRST else f"/playground/{file.name}", file)


def _install(app: FastAPI, path: str, file: Path) -> None:
    content = file.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    @app.api_route(path, methods=["GET", "HEAD"], include_in_schema=False, name=file.name)
    async def static(request: Request) -> Response:
        same = request.headers.get("if-none-match") == tag
        body, status = (b"", 304) if same else (content, 200)
        return Response(body, status, {**HEADERS, "ETag": tag}, KINDS[file.suffix])
