"""What clients send, strictly read: an unknown field, or one that this server can't honour, is an error."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from ...errors import ConfigError
from ...limits import check_text
from ..policy import Policy
from ..requests import STEP, Ask
from .errors import Invalid

FILES = {"image": "image", "image[]": "image", "mask": "mask"}
SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
EXACT = 2**53 - 1  # every reader of JSON takes whole numbers up to here as they are
SIZES: Any = {"pattern": f"^(auto|{SIZE.pattern})?$"}  # said to clients; checked where the answer is clearer
Name = Annotated[str, Field(max_length=512)]


class Body(BaseModel):
    """Of any request."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Name | None = Field(None, description="The one that is served; see /v1/models.")


class Generation(Body):
    """A request for pictures. ``null`` is as if the field were not there."""

    prompt: str = Field(min_length=1)
    n: int | None = Field(None, ge=1, le=10)
    size: Annotated[str, Field(max_length=16, json_schema_extra=SIZES)] | None = Field(
        None, description='"auto", or as in "512x768"; sides are multiples of 8.'
    )
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: int | None = Field(None, ge=0, le=100, description="Quality of JPEG and WebP.")
    moderation: Literal["auto", "low"] | None = Field(None, description="Has no effect: the policy decides.")
    quality: Literal["auto", "standard"] | None = None
    background: Literal["auto", "opaque"] | None = None
    stream: Literal[False] | None = None
    user: Name | None = None
    safety_identifier: Name | None = Field(None, description="Its hash goes into the audit log.")
    seed: int | None = Field(None, ge=0, le=EXACT, description="Of the first picture; the next ones follow.")
    steps: int | None = Field(None, ge=1, description="Denoising steps.")
    guidance_scale: float | None = Field(None, ge=0, le=1000)
    negative_prompt: str | None = None


class Edit(Generation):
    """A request for pictures that begin with another one."""

    strength: float | None = Field(None, gt=0, le=1, description="How far from the image; 0.8 unless given.")


class TextPart(BaseModel):
    """A text among things to look at."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class Url(BaseModel):
    """Where a picture is: in the URL itself."""

    model_config = ConfigDict(extra="forbid")
    url: str = Field(
        description="data:image/…;base64,…; no other URL is fetched.",
        json_schema_extra={"pattern": "^data:image/[^,]*;base64,"},
    )


class ImagePart(BaseModel):
    """A picture among things to look at."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["image_url"]
    image_url: Url


class Question(Body):
    """Texts, each by itself; or parts, looked at together."""

    input: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=32)]
        | Annotated[list[TextPart | ImagePart], Field(min_length=1, max_length=32)]
    )


def check_name(name: str | None, served: str) -> None:
    """Raise for another model than the one that is served."""
    if name not in (None, served):
        raise Invalid(f"there is no model {name!r}; {served!r} is served.", "model", 404, "model_not_found")


def check_prompt(text: str, policy: Policy, param: str) -> str:
    """The text, or an error where it is too long or no Unicode."""
    most = policy.limits.prompt_characters
    if len(text) > most:
        raise Invalid(f"{param} has {len(text)} characters; at most {most} are read.", param)
    try:
        check_text(text)
    except ConfigError as error:
        raise Invalid(f"{param} is no Unicode text.", param) from error
    return text


def ask_of(
    body: Generation,
    policy: Policy,
    native: int,
    *,
    key: str,
    id: str,
    image: Image.Image | None = None,
    mask: Image.Image | None = None,
) -> Ask:
    """The request for the service; ``native`` is the model's own size.

    Raises:
        Invalid: it asks for more than the policy allows, or for what can't be drawn.
    """
    sides = policy.limits.sides_of(native)
    size = _size(body.size, image.size if image else (native, native), sides)
    steps, strength = body.steps or policy.steps, getattr(body, "strength", None) or 0.8
    _at_most(policy.limits.steps, steps, "steps")
    _at_most(policy.limits.pictures, body.n or 1, "n")
    if image and int(steps * strength) < 1:
        raise Invalid(f"strength {strength:g} of {steps} steps is less than one step.", "strength")
    user = body.safety_identifier or body.user
    return Ask(
        check_prompt(body.prompt, policy, "prompt"),
        *size,
        seed=secrets.randbelow(2**32) if body.seed is None else body.seed,
        steps=steps,
        guidance_scale=policy.guidance_scale if body.guidance_scale is None else body.guidance_scale,
        count=body.n or 1,
        negative=check_prompt(body.negative_prompt or "", policy, "negative_prompt"),
        image=image and image.resize(size, Image.Resampling.LANCZOS),
        mask=mask and mask.resize(size, Image.Resampling.NEAREST),
        strength=strength,
        key=key,
        user=hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:16] if user else "",
        id=id,
    )


def _size(asked: str | None, own: tuple[int, int], sides: tuple[int, int]) -> tuple[int, int]:
    low, high = sides
    if asked in (None, "", "auto"):
        size = (own[0] // STEP * STEP, own[1] // STEP * STEP)
    elif found := SIZE.fullmatch(str(asked)):
        size = (int(found[1]), int(found[2]))
    else:
        raise Invalid(f"size is {asked!r}; give 'auto' or WIDTHxHEIGHT, as in 512x768.", "size")
    if any(side % STEP or not low <= side <= high for side in size):
        raise Invalid(
            f"size is {size[0]}x{size[1]}; sides are multiples of {STEP} from {low} to {high} pixels.", "size"
        )
    return size


def _at_most(most: int, value: int, param: str) -> None:
    if value > most:
        raise Invalid(f"{param} is {value}; at most {most} are allowed.", param)


def form_schema() -> dict[str, Any]:
    """What /v1/images/edits takes, for OpenAPI: the fields of ``Edit``, and files."""
    schema = Edit.model_json_schema()
    file = {"type": "string", "format": "binary"}
    schema["properties"] = {name: _in_form(field) for name, field in schema["properties"].items()}
    schema["properties"] |= {
        "image": {**file, "description": "PNG, JPEG or WebP; its own size unless size says another."},
        "mask": {**file, "description": "Transparent where the image is to be drawn anew; as large as the image."},
    }
    schema["required"] = ["image", "prompt"]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _in_form(field: dict[str, Any]) -> dict[str, Any]:
    """A form has no null: what is not meant is left out."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    about = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    return {**about, **kinds[0]} if kinds else field


async def read_form(request: Request) -> tuple[Edit, dict[str, bytes]]:
    """The fields, and the bytes of "image" and perhaps "mask".

    Raises:
        Invalid: no form, no image, several images, or a field twice.
        RequestValidationError: a field that makes no sense.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Invalid("send a form, multipart/form-data.", None)
    fields: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    try:
        async with request.form(max_files=4, max_fields=32) as form:
            for name, value in form.multi_items():
                into: dict[str, Any] = files if name in FILES else fields
                if isinstance(value, UploadFile) is not (name in FILES):
                    raise Invalid(f"{name[:64]} is{'' if name in FILES else ' not'} to be a file.", name[:64])
                if FILES.get(name, name) in into:
                    raise Invalid(f"{name[:64]} is given twice; one is taken.", name[:64])
                into[FILES.get(name, name)] = await value.read() if isinstance(value, UploadFile) else value
    except HTTPException as error:
        raise Invalid(f"the form can't be read: {error.detail}", None) from error
    if "image" not in files:
        raise Invalid("image is missing.", "image")
    try:
        return Edit.model_validate({**fields, **_off(fields)}), files
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from error


def _off(fields: dict[str, Any]) -> dict[str, Any]:
    """A form has texts only: "false" is what a client means who does not want a stream."""
    return {"stream": False} if fields.get("stream") in ("false", "False") else {}
