"""``striate filter IMAGE``: what kernels and detectors extract from a picture, and a lens undone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli._options import Json, write_result

if TYPE_CHECKING:
    from striate.work.sheet import Sheet

EXAMPLES = (
    "Examples: `striate filter cat.jpg --kernel sobel-x --kernel sobel-y` · `striate filter cat.jpg --gallery` · "
    '`striate filter cat.jpg --kernel "1/16 * 1 2 1; 2 4 2; 1 2 1" --plain` · `striate filter cat.jpg --detectors` · '
    "`striate filter blurred.jpg --deblur 4`"
)

KERNELS = "Kernels"
DETECTORS = "Detectors (extra `vision`)"
LENS = "A lens out of focus"
# Which options have a meaning beside which; anything else is refused rather than ignored.
FITTING = {
    "--grey": ("--kernel", "--gallery"),
    "--border": ("--kernel", "--gallery"),
    "--flip": ("--kernel", "--gallery"),
    "--display": ("--kernel", "--gallery"),
    "--sharp": ("--deblur",),
    "--noise": ("--deblur", "--blur"),
    "--size": ("--kernel", "--gallery", "--detector", "--detectors"),
    "--plain": ("--kernel", "--detector", "--deblur", "--blur"),
    "--output": ("--kernel", "--gallery", "--detector", "--detectors", "--deblur", "--blur"),
}
TASKS = ("--kernel", "--gallery", "--detector", "--detectors", "--deblur", "--blur", "--list")


def command(
    image: Annotated[
        str | None,
        typer.Argument(metavar="IMAGE", help="An image file, or - for standard input.", show_default=False),
    ] = None,
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            "--kernel",
            "-k",
            rich_help_panel=KERNELS,
            metavar="NAME|NUMBERS",
            help='A name that --list prints, or rows such as "0 -1 0; -1 5 -1; 0 -1 0". May be repeated.',
        ),
    ] = None,
    gallery: Annotated[bool, typer.Option("--gallery", rich_help_panel=KERNELS, help="All named kernels.")] = False,
    grey: Annotated[
        bool, typer.Option("--grey", rich_help_panel=KERNELS, help="Filter the brightness, not each colour by itself.")
    ] = False,
    border: Annotated[
        str | None,
        typer.Option(rich_help_panel=KERNELS, help="Beyond the picture: reflect, zeros or valid. Default: reflect."),
    ] = None,
    flip: Annotated[
        bool,
        typer.Option("--flip", rich_help_panel=KERNELS, help="True convolution: the kernel turned by 180 degrees."),
    ] = False,
    display: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=KERNELS,
            help="Values as shades: clip, signed, absolute, stretch or auto. Default: auto, by the sum of the weights.",
        ),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(rich_help_panel=DETECTORS, metavar="NAME", help="A name that --list prints. May be repeated."),
    ] = None,
    detectors: Annotated[
        bool, typer.Option("--detectors", rich_help_panel=DETECTORS, help="All detectors, on one picture.")
    ] = False,
    deblur: Annotated[
        float | None,
        typer.Option(rich_help_panel=LENS, metavar="RADIUS", help="Undo a lens disc of this radius in pixels."),
    ] = None,
    blur: Annotated[
        float | None,
        typer.Option(rich_help_panel=LENS, metavar="RADIUS", help="Take the picture out of focus first."),
    ] = None,
    sharp: Annotated[
        Path | None, typer.Option(rich_help_panel=LENS, help="The picture in focus, to measure the result by.")
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(rich_help_panel=LENS, help="Standard deviation of the noise in grey levels. Default: 1."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Reduce the picture to this longer side first. Default: to fit; 0: as it is."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Write the last result alone, in full size, without labels.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The PNG file to make. Default: a new one named after the image."),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Print all kernels and detectors, and what is not offered.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what kernels and classical detectors extract from a picture, or undo a lens out of focus."""
    typed = {
        "--kernel": kernel,
        "--gallery": gallery,
        "--grey": grey,
        "--border": border,
        "--flip": flip,
        "--display": display,
        "--detector": detector,
        "--detectors": detectors,
        "--deblur": deblur,
        "--blur": blur,
        "--sharp": sharp,
        "--noise": noise,
        "--size": size,
        "--plain": plain,
        "--output": output,
        "--list": list_,
    }
    # By identity: 0 is a value, and equals False.
    given = {flag: value for flag, value in typed.items() if value is not None and value is not False and value != []}
    _check(image, given)
    if list_:
        from striate.work.catalog import catalog, catalog_text

        if json:
            write_result(catalog())
        else:
            typer.echo(catalog_text())
        return
    from striate.work.sheet import new_path

    if output is not None:
        new_path(output)
    sheet = _make(image, given)
    path = sheet.save(output, plain=plain)
    if json:
        write_result({"picture": str(path)} | sheet.to_dict())
    else:
        typer.echo(f"{sheet.text()}\n{path}")


def _make(image: str | None, given: dict[str, Any]) -> Sheet:
    reduction = {"size": given["--size"] or None} if "--size" in given else {"size": None} if "--plain" in given else {}
    if "--deblur" in given or "--blur" in given:
        from striate.work.deblurring import lens_sheet

        chosen = {"blur_radius": given.get("--blur"), "radius": given.get("--deblur"), "sharp": given.get("--sharp")}
        return lens_sheet(image, **chosen, noise=given.get("--noise", 1.0))
    if "--detector" in given or "--detectors" in given:
        from striate.work.detectors import detector_sheet

        return detector_sheet(image, given.get("--detector"), **reduction)
    from striate.work.filtering import gallery

    return gallery(
        image,
        given.get("--kernel"),
        mode="grey" if "--grey" in given else "per-channel",
        border=given.get("--border", "reflect"),
        flip="--flip" in given,
        display=given.get("--display", "auto"),
        **reduction,
    )


def _check(image: str | None, given: dict[str, Any]) -> None:
    """Refuse what excludes each other or would have no effect."""
    from striate.errors import UsageError

    tasks = [flag for flag in TASKS if flag in given]
    if not tasks:
        raise UsageError(
            "filter: one of --kernel, --gallery, --detectors, --deblur or --list must be given. Try --gallery."
        )
    if len(tasks) > 1 and tasks != ["--deblur", "--blur"]:
        raise UsageError(f"filter: `{tasks[0]}` and `{tasks[1]}` exclude each other. Give one of them.")
    if "--sharp" in given and "--blur" in given:
        raise UsageError(
            "filter: `--sharp` and `--blur` exclude each other: what is blurred here is the sharp picture."
        )
    for flag, partners in FITTING.items():
        if flag in given and not set(partners) & set(tasks):
            raise UsageError(
                f"filter: `{flag}` must stand with {' or '.join(partners)}, got it with {tasks[0]}. Leave it out."
            )
    if "--plain" in given and len(given.get("--kernel") or given.get("--detector") or [0]) > 1:
        raise UsageError(f"filter: `--plain` must stand with one `{tasks[0]}`, got several. Leave out all but one.")
    if "--list" in given and image is not None:
        raise UsageError(f"filter: `--list` must stand alone, got the image {image!r}. Leave one of them out.")
    if "--list" not in given and image is None:
        raise UsageError(f"filter: `IMAGE` must be given with {tasks[0]}. Name an image file, or - for standard input.")
