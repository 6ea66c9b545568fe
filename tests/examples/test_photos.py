"""The photo example: what is done to one picture, the sheet, the mail, the mailbox, the output folder."""

from __future__ import annotations

import email
import os
import smtplib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageCms

from examples.photos.camera import BROKEN, NAMES, break_file, take_photos
from examples.photos.demo import UnusableFolder, find_photos, main
from examples.photos.mailbox import serve_mailbox
from examples.photos.output import MARKER, Run, new_run, remove_old_runs, write_whole
from examples.photos.pictures import SIZES, BrokenPhoto, develop, dominant_colours, read_gallery, read_photo
from examples.photos.sheet import draw_sheet

RED, BLUE = (220, 30, 30), (30, 40, 200)


def quiet(percent: float, what: str) -> None:
    """For those who do not care how far it has come."""


def halves(size: tuple[int, int] = (400, 300)) -> Image.Image:
    """Red above, blue below."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (0, size[1] // 2, *size))
    return picture


def near(seen: object, expected: tuple[int, ...], by: int = 12) -> bool:
    assert isinstance(seen, tuple)
    return all(abs(a - b) <= by for a, b in zip(seen[:3], expected, strict=True))


# --- one photo ---


def test_a_photo_becomes_three_upright_thumbnails_and_a_description(tmp_path: Path) -> None:
    """Portrait photos are stored lying down; the thumbnails stand, and carry no EXIF (with its places and times) on."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Kestrel\0"
    exif[ExifTags.Base.Model] = "K12"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2026:05:01 06:00:00"
    halves((1500, 2000)).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=exif)
    told: list[float] = []
    photo = develop(tmp_path / "a.jpg", tmp_path / "gallery", lambda percent, what: told.append(percent))
    assert (photo.width, photo.height) == (1500, 2000)
    assert (photo.camera, photo.taken) == ("Kestrel K12", "2026:05:01 06:00:00")
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 100)
    for name, side in SIZES.items():
        with Image.open(tmp_path / "gallery" / "a.jpg" / f"{name}.webp") as thumbnail:
            assert thumbnail.format == "WEBP"
            assert thumbnail.size == (side * 3 // 4, side)
            assert near(thumbnail.getpixel((5, 5)), RED)
            assert near(thumbnail.getpixel((5, thumbnail.height - 5)), BLUE)
            assert not thumbnail.getexif()
    assert [(found, folder.name) for found, folder in read_gallery(tmp_path / "gallery")] == [(photo, "a.jpg")]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_every_orientation_is_undone(tmp_path: Path, orientation: int, suffix: str) -> None:
    undone = Image.Exif()
    undone[ExifTags.Base.Orientation] = orientation
    laid = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}  # fmt: skip
    picture = halves((120, 80))
    picture.paste((255, 255, 255), (0, 0, 30, 20))
    stored = picture.transpose(laid[orientation]) if orientation in laid else picture
    path = tmp_path / f"photo.{suffix}"
    stored.save(path, exif=undone, quality=95)
    seen, size, _ = read_photo(path)
    assert size == seen.size == (120, 80)
    assert near(seen.getpixel((8, 8)), (255, 255, 255))
    assert near(seen.getpixel((110, 8)), RED, 30)
    assert near(seen.getpixel((8, 70)), BLUE, 30)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("cmyk.jpg", lambda picture: picture.convert("CMYK")),
        ("palette.png", lambda picture: picture.quantize(8)),
        ("rgba.PNG", lambda picture: picture.convert("RGBA")),
    ],
)
def test_other_modes_keep_their_colours(tmp_path: Path, name: str, make: Callable[[Image.Image], Image.Image]) -> None:
    make(halves()).save(tmp_path / name)
    photo = develop(tmp_path / name, tmp_path / "gallery", quiet)
    colours = [tuple(bytes.fromhex(colour[1:])) for colour in photo.colours]
    assert any(near(colour, RED) for colour in colours)
    assert any(near(colour, BLUE) for colour in colours)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
def test_grey_pictures_stay_as_bright_as_they_are(tmp_path: Path, mode: str) -> None:
    """16 bits too: cut off at 255 they would all be white."""
    grey = Image.new("L", (64, 64), 255 if mode == "1" else 96)
    if mode == "I;16":
        grey = Image.frombytes("I;16", (64, 64), (96 * 257).to_bytes(2, "little") * 64 * 64)
    (grey if mode == "I;16" else grey.convert(mode)).save(tmp_path / "grey.png")
    seen, _, _ = read_photo(tmp_path / "grey.png")
    assert seen.mode in ("RGB", "RGBA")
    assert near(seen.getpixel((3, 3)), (255,) * 3 if mode == "1" else (96,) * 3, 2)


def test_transparent_parts_stay_transparent_and_have_no_colour(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (200, 100), (0, 255, 0, 0))
    picture.paste((*RED, 255), (0, 0, 60, 100))
    picture.save(tmp_path / "logo.png")
    photo = develop(tmp_path / "logo.png", tmp_path / "gallery", quiet)
    assert len(photo.colours) == 1
    assert near(tuple(bytes.fromhex(photo.colours[0][1:])), RED)
    with Image.open(tmp_path / "gallery" / "logo.png" / "small.webp") as thumbnail:
        corner = thumbnail.getpixel((190, 50))
        assert isinstance(corner, tuple)
        assert corner[3] == 0
    assert dominant_colours(Image.new("RGBA", (4, 4))) == ()


def test_a_colour_profile_is_applied(tmp_path: Path) -> None:
    """A damaged one is passed over: the picture itself is fine."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    halves().save(tmp_path / "tagged.jpg", icc_profile=srgb, quality=95)
    halves().save(tmp_path / "damaged.jpg", icc_profile=b"not a profile", quality=95)
    for name in ("tagged.jpg", "damaged.jpg"):
        assert near(read_photo(tmp_path / name)[0].getpixel((5, 5)), RED)


@pytest.mark.parametrize("size", [(1, 1), (1, 9000), (9000, 1), (5000, 7), (3, 2)])
def test_odd_sizes_get_thumbnails_too(tmp_path: Path, size: tuple[int, int]) -> None:
    """At least a pixel wide, never blown up."""
    for suffix in ("png", "jpg"):
        Image.new("RGB", size, RED).save(tmp_path / f"odd.{suffix}")
        photo = develop(tmp_path / f"odd.{suffix}", tmp_path / "gallery", quiet)
        assert (photo.width, photo.height) == size
        with Image.open(tmp_path / "gallery" / f"odd.{suffix}" / "small.webp") as thumbnail:
            assert max(thumbnail.size) == min(max(size), SIZES["small"])
            assert min(thumbnail.size) >= 1


def test_photos_that_differ_only_in_their_suffix_do_not_meet(tmp_path: Path) -> None:
    for name, colour in (("a.jpg", RED), ("a.png", BLUE), ("Größe 写真.JPG", RED)):
        Image.new("RGB", (40, 30), colour).save(tmp_path / name)
        develop(tmp_path / name, tmp_path / "gallery", quiet)
    assert {photo.name for photo, _ in read_gallery(tmp_path / "gallery")} == {"a.jpg", "a.png", "Größe 写真.JPG"}


def test_broken_files_are_told_from_a_disk_in_trouble(tmp_path: Path) -> None:
    """The first are never tried again, the second are."""
    halves((640, 480)).save(tmp_path / "cut.jpg")
    break_file(tmp_path / "cut.jpg")
    halves((640, 480)).save(tmp_path / "cut.png")
    break_file(tmp_path / "cut.png")
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.jpg").touch()
    for name, why in [("cut.jpg", "truncated"), ("cut.png", ""), ("text.jpg", "not a JPEG"), ("empty.jpg", "empty")]:
        with pytest.raises(BrokenPhoto, match=f"^{name} is .*{why}"):
            develop(tmp_path / name, tmp_path / "gallery", quiet)
    with pytest.raises(FileNotFoundError):
        develop(tmp_path / "gone.jpg", tmp_path / "gallery", quiet)
    assert not (tmp_path / "gallery").exists()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_photo(tmp_path: Path) -> None:
    for number, exif in enumerate(
        [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
    ):
        path = tmp_path / f"{number}.jpg"
        halves().save(path, exif=exif)
        assert read_photo(path)[1:] == ((400, 300), ("", ""))


def test_doing_it_again_replaces_what_was_there(tmp_path: Path) -> None:
    """A job can run twice; no scratch files stay behind."""
    halves().save(tmp_path / "a.jpg")
    once = develop(tmp_path / "a.jpg", tmp_path / "gallery", quiet)
    assert develop(tmp_path / "a.jpg", tmp_path / "gallery", quiet) == once
    names = {path.name for path in (tmp_path / "gallery" / "a.jpg").iterdir()}
    assert names == {"large.webp", "medium.webp", "small.webp", "photo.json"}


# --- camera ---


def test_the_camera_takes_the_same_pictures_for_the_same_seed(tmp_path: Path) -> None:
    first = take_photos(tmp_path / "first", 5, (320, 240))
    second = take_photos(tmp_path / "second", 5, (320, 240))
    assert [path.name for path in first] == [*NAMES, BROKEN]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    sizes = set()
    for path in first[:-1]:
        _, size, (camera, taken) = read_photo(path)
        sizes.add(size)
        assert camera
        assert taken.startswith("2026:")
    assert sizes == {(320, 240), (240, 320)}
    with pytest.raises(BrokenPhoto):
        read_photo(first[-1])


# --- contact sheet ---


def test_the_sheet_has_a_page_for_every_fifteen_photos(tmp_path: Path) -> None:
    """Long names, and letters that no font here has, are no trouble; a second sheet replaces the first."""
    names = [f"{number} Größe 写真 {'very ' * 30}long.jpg" for number in range(16)]
    for name in names:
        halves((60, 40)).save(tmp_path / name)
        develop(tmp_path / name, tmp_path / "gallery", quiet)
    sheet = tmp_path / "sheet.pdf"
    for _ in range(2):
        assert draw_sheet(read_gallery(tmp_path / "gallery"), sheet, "Größe", quiet) == 2
    document = sheet.read_bytes()
    assert document.startswith(b"%PDF")
    assert b"/Count 2" in document
    assert document.rstrip().endswith(b"%%EOF")
    assert {path.name for path in tmp_path.iterdir()} == {*names, "gallery", "sheet.pdf"}


# --- mailbox ---


def test_the_mailbox_keeps_what_it_takes_and_turns_away_at_random(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.com", "jürgen@example.com", "Größe"
    mail.set_content("first\n.\n.last\n")
    answers = []
    with serve_mailbox(tmp_path, refusals=0.5, seed=1) as mailbox:
        for _ in range(12):
            with smtplib.SMTP(mailbox.host, mailbox.port, local_hostname="localhost") as server:
                try:
                    server.send_message(mail)
                    answers.append(250)
                except smtplib.SMTPDataError as refusal:
                    answers.append(refusal.smtp_code)
    assert mailbox.refused == answers.count(451) > 0
    assert len(mailbox.kept) == answers.count(250) > 0
    kept = email.message_from_bytes(mailbox.kept[0].read_bytes(), policy=policy.default)
    assert (kept["To"], kept["Subject"]) == ("jürgen@example.com", "Größe")
    assert kept.get_content().splitlines() == ["first", ".", ".last"]
    with pytest.raises(OSError):
        smtplib.SMTP(mailbox.host, mailbox.port)


# --- output folder ---


def test_runs_have_folders_of_their_own_and_urls_that_survive_odd_paths(tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, 10, 0, 0)
    names = [new_run(tmp_path / "out", now).folder.name for _ in range(3)]
    assert names == ["2026-11-22_10-00-00", "2026-11-22_10-00-00_2", "2026-11-22_10-00-00_3"]
    assert Run(Path("/a b/50%?#/é")).url == "sqlite:////a%20b/50%25%3F%23/%C3%A9/jobs.db"


def test_cleaning_takes_only_runs_that_nobody_touches_any_more(tmp_path: Path) -> None:
    """Whatever else lies in the output folder stays, however old."""
    now = datetime.now(UTC)
    long_ago = (now - timedelta(days=8)).timestamp()
    for name, marked, in_use in [("old", True, False), ("used", True, True), ("foreign", False, False)]:
        folder = tmp_path / name
        folder.mkdir()
        paths = [folder / "jobs.db", *([folder / MARKER] if marked else [])]
        for path in paths:
            path.touch()
            os.utime(path, (long_ago, long_ago))
        if in_use:
            (folder / "jobs.db").touch()
    assert remove_old_runs(tmp_path, timedelta(days=7), now) == ["old"]
    assert {path.name for path in tmp_path.iterdir()} == {"used", "foreign"}
    assert remove_old_runs(tmp_path / "nowhere", timedelta(days=7), now) == []


def test_a_file_is_never_half_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "a", fail)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


# --- the user's folder ---


def test_photos_are_found_by_suffix_in_any_case(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpeg", "c.PNG", "notes.txt", "._b.JPG"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in find_photos(tmp_path)] == ["a.jpeg", "b.JPG", "c.PNG"]


def test_a_folder_without_photos_is_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    for name, why in [("nowhere", "does not exist"), ("texts/a.txt", "is not a folder"), ("empty", "no file"),
                      ("texts", "none of its 1 files")]:  # fmt: skip
        with pytest.raises(UnusableFolder, match=why):
            find_photos(tmp_path / name)
        assert main([str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
        assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
